//! Who calls: from the credential of a request to what it grants.

use std::{sync::Arc, time::Duration};

use super::{
    error::{Error, Result},
    remembered::Remembered,
};
use crate::{
    domain::{api_key::KeyValue, caller::Grant},
    store::Store,
};

/// How long an accepted key is remembered. A key that another replica revoked works this long.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Most keys that are remembered.
const KEYS: usize = 10_000;

/// What a caller shows, as a hash: what may be kept for as long as a stream lasts.
#[derive(Clone, Copy)]
pub struct Credential([u8; 32]);

impl Credential {
    /// Reads the value of an `authorization` header.
    pub fn of(authorization: Option<&str>) -> Result<Self> {
        let authorization = authorization.map(str::trim).filter(|value| !value.is_empty());
        let (scheme, value) =
            authorization.ok_or(Error::KeyMissing)?.split_once(' ').ok_or(Error::KeyRefused)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Error::KeyMissing);
        }
        // The lookup is by a hash of the value: what an attacker learns from its timing is about
        // hashes, not about values.
        Ok(Self(KeyValue::hash_of(value.trim())))
    }
}

/// Recognizes callers by their API keys.
#[derive(Clone)]
pub struct Authenticator {
    store: Store,
    accepted: Remembered<[u8; 32], Arc<Grant>>,
}

impl Authenticator {
    /// Keys are looked up in `store`.
    pub fn new(store: Store) -> Self {
        Self { store, accepted: Remembered::new(KEYS, REMEMBERED) }
    }

    /// Recognizes the caller, now.
    pub async fn authenticate(&self, credential: Credential) -> Result<Arc<Grant>> {
        let Credential(hash) = credential;
        if let Some(grant) = self.accepted.get(&hash) {
            return Ok(grant);
        }
        let begun = self.accepted.begin();
        let key = self.store.find_api_key(hash).await?;
        let key = key.filter(|key| key.revoked_at.is_none()).ok_or(Error::KeyRefused)?;
        let grant = Arc::new(Grant {
            key_id: key.id,
            environment: key.environment_id,
            scopes: key.scopes,
            organizations: key.organization_ids,
        });
        self.accepted.insert(begun, hash, grant.clone());
        Ok(grant)
    }

    /// Forgets all remembered keys, so that a revocation counts at once.
    pub fn forget(&self) {
        self.accepted.forget();
    }
}
