//! Writes down when keys were last used.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{service::key_uses::KeyUses, store::Store};

/// How often. The contract states how exact that makes it.
const EVERY: Duration = Duration::from_secs(30);

/// Keeps the column `last_used_at`.
pub struct KeyUseKeeper {
    /// The database.
    pub store: Store,
    /// What is to be written.
    pub uses: KeyUses,
}

impl KeyUseKeeper {
    /// Works until `shutdown`, and once more then.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            let ends = tokio::select! {
                () = shutdown.cancelled() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            self.write().await;
            if ends {
                return;
            }
        }
    }

    /// Writes what was noted. What cannot be written is forgotten: keys that are used are used again.
    async fn write(&self) {
        let uses = self.uses.take();
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.store.note_key_uses(&uses).await {
            warn!(%error, "cannot write when keys were last used");
        }
    }
}
