//! The history of checkpoints: one for each log and minute in which it changed, and the newest always.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::{
    domain::{clock::Clock, timestamp::Timestamp},
    service::signer::CheckpointSigner,
    store::{GrownLog, Store, StoreError, StoredCheckpoint},
};

/// How often.
const EVERY: Duration = Duration::from_mins(1);
/// Logs that one step looks at.
const STEP: u64 = 200;
/// A head bears the time at which its batch was begun. One that is older than this when it becomes
/// visible, or on another replica's clock, is found after the next start.
const SLACK_SECONDS: i64 = 300;

/// Signs the heads of logs for the history. Cheap to clone.
#[derive(Clone)]
pub struct CheckpointKeeper {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who signs.
    pub signer: CheckpointSigner,
}

impl CheckpointKeeper {
    /// Works until `shutdown`. The first round looks at all logs: the process before may have ended
    /// without its last one.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut since = Timestamp::from_micros(0);
        loop {
            let now = self.clock.now();
            tokio::select! {
                () = shutdown.cancelled() => return,
                done = self.round(since) => if done.is_ok() {
                    since = now.plus_seconds(-SLACK_SECONDS);
                },
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// The last round, after the last event was written.
    pub async fn finish(self) {
        let since = self.clock.now().plus_seconds(-SLACK_SECONDS);
        // What failed was told, and is done after the next start.
        _ = self.round(since).await;
    }

    /// Signs, for the present minute, each log whose head moved at or after `since` and beyond its
    /// newest checkpoint. Memory does not depend on how many they are.
    pub async fn round(&self, since: Timestamp) -> Result<(), StoreError> {
        let signed = self.sign_all(since).await;
        match &signed {
            Ok(0) => {}
            Ok(signed) => debug!(signed, "checkpoints added to the history"),
            Err(error) => warn!(%error, "cannot add to the history of checkpoints"),
        }
        signed.map(|_| ())
    }

    async fn sign_all(&self, since: Timestamp) -> Result<usize, StoreError> {
        let (mut after, mut signed) = (None, 0);
        loop {
            let logs = self.store.grown_logs(after.as_ref(), since, STEP).await?;
            let Some(last) = logs.last() else { return Ok(signed) };
            let is_last = (logs.len() as u64) < STEP;
            after = Some(last.organization.clone());
            let now = self.clock.now();
            let checkpoints: Vec<_> =
                logs.into_iter().filter_map(|log| self.signed(log, now)).collect();
            signed += checkpoints.len();
            self.store.put_checkpoints(checkpoints).await?;
            if is_last {
                return Ok(signed);
            }
        }
    }

    /// The checkpoint of a log. `None`, and an error in the log, where its head was tampered with:
    /// that must not keep the others from being signed.
    fn signed(&self, log: GrownLog, created_at: Timestamp) -> Option<StoredCheckpoint> {
        let GrownLog { organization, head } = log;
        let (size, root) = match head {
            Ok(head) => (head.size(), head.root()),
            Err(error) => {
                error!(%organization, %error, "a log has no head that can be signed");
                return None;
            }
        };
        match self.signer.sign(&organization, size, root) {
            Ok(note) => Some(StoredCheckpoint { organization, size, root, note, created_at }),
            Err(error) => {
                error!(%organization, %error, "cannot sign a checkpoint");
                None
            }
        }
    }
}
