//! What goes on beside a server, and what is left to do when it ends.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use super::PROBE;
use crate::{
    service::Services, store::Store, transport::router::Readiness,
    worker::checkpoints::CheckpointKeeper,
};

// After the 20 s that calls have to end, all of these and the last of the telemetry (`Telemetry::shutdown`) fit
// into 10 s.
/// How long the workers may take to end.
const WORKERS_END: Duration = Duration::from_millis(2_500);
/// How long the lanes may take after that to write what was taken.
const LANES_END: Duration = Duration::from_millis(2_500);
/// How long the last checkpoints may take.
const CHECKPOINTS_END: Duration = Duration::from_millis(1_500);
/// How long the database may take to close.
const DATABASE_CLOSE: Duration = Duration::from_millis(1_500);

/// Keeps health in step with the database.
pub async fn probe_database(store: Store, readiness: Readiness, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(PROBE) => {}
        }
        let answers = store.ping().await;
        // A shutdown that began meanwhile has the last word.
        if shutdown.is_cancelled() {
            return;
        }
        if answers.is_ok() != readiness.is_ready() {
            match &answers {
                Ok(()) => info!("the database is back"),
                Err(error) => error!(%error, "the database is away"),
            }
            readiness.set(answers.is_ok()).await;
        }
    }
}

/// Waits for the workers, whose last records are events too; sees the last events written; then signs the
/// logs that grew, if `checkpoints` are kept.
pub async fn end_writing(
    services: &Services,
    workers: &TaskTracker,
    checkpoints: Option<CheckpointKeeper>,
) {
    workers.close();
    if timeout(WORKERS_END, workers.wait()).await.is_err() {
        warn!("workers did not end in time");
    }
    // Events whose callers went away are still written.
    if timeout(LANES_END, services.drain()).await.is_err() {
        warn!("the lanes did not end in time");
    }
    if let Some(checkpoints) = checkpoints
        && timeout(CHECKPOINTS_END, checkpoints.finish()).await.is_err()
    {
        warn!("the last checkpoints were not kept in time; they are after the next start");
    }
}

pub async fn close_database(store: Store) {
    match timeout(DATABASE_CLOSE, store.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "the database did not close"),
        // A statement hangs; it goes when the process goes.
        Err(_) => warn!("the database did not close in time"),
    }
}
