//! When keys were last used: noted in memory where a key is looked up, and written now and then by
//! `worker::key_uses`, so that no call costs a write.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::domain::{clock::Clock, ids::ApiKeyId, timestamp::Timestamp};

/// The uses that were not written yet: at most one for each key that there is. Cheap to clone.
#[derive(Clone)]
pub struct KeyUses {
    clock: Arc<dyn Clock>,
    noted: Arc<Mutex<HashMap<ApiKeyId, Timestamp>>>,
}

impl KeyUses {
    /// Nothing was used yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, noted: Arc::default() }
    }

    /// The key is used now.
    pub(super) fn note(&self, key: &ApiKeyId) {
        let now = self.clock.now();
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), now);
    }

    /// Takes what was noted since the last time.
    pub fn take(&self) -> Vec<(ApiKeyId, Timestamp)> {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
            .into_iter()
            .collect()
    }
}
