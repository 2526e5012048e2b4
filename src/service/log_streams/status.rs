//! Following how a log stream is doing.

use std::time::Duration;

use async_stream::try_stream;
use futures::Stream;
use tokio::time::Instant;

use super::{Error, LogStreams, Result};
use crate::{
    domain::{
        caller::Caller, log_stream::LogStreamStatus, permissions::Operation, timestamp::Timestamp,
    },
    service::auth::Credential,
};

/// How often a stream is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long nothing is told if nothing changes. The contract states it.
const SILENCE: Duration = Duration::from_secs(12);
/// From which part of a destination's age limit on there is a warning.
const NEARLY_TOO_OLD: f64 = 0.75;

/// How a log stream is doing, and how fast.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusView {
    /// The status.
    pub status: LogStreamStatus,
    /// How long ago the oldest event was received that is still to be delivered, in seconds.
    pub lag_seconds: f64,
    /// Events taken a second since the view before.
    pub events_per_second: f64,
    /// Bytes taken a second since the view before.
    pub bytes_per_second: f64,
    /// What may become a problem.
    pub warnings: Vec<String>,
}

impl LogStreams {
    /// How a log stream is doing now.
    pub async fn status(&self, caller: &Caller, id: &str) -> Result<StatusView> {
        let status = self.look(caller, id).await?;
        Ok(self.view(status, None))
    }

    /// Follows a log stream until it is gone, the key is revoked, or the service shuts down.
    pub fn watch(
        &self,
        credential: Credential,
        caller: Caller,
        id: String,
    ) -> impl Stream<Item = Result<StatusView>> + use<> {
        let streams = self.clone();
        try_stream! {
            let first = streams.look(&caller, &id).await?;
            let (mut seen, mut told_at) = ((first.clone(), Instant::now()), Instant::now());
            yield streams.view(first, None);
            loop {
                let stops = streams.shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await;
                stops.ok_or(Error::Unavailable("shutting down; call again"))?;
                let caller = caller.with_grant(streams.auth.authenticate(credential).await?);
                let status = streams.look(&caller, &id).await?;
                if status == seen.0 && told_at.elapsed() < SILENCE {
                    continue;
                }
                let view = streams.view(status.clone(), Some((&seen.0, seen.1.elapsed())));
                (seen, told_at) = ((status, Instant::now()), Instant::now());
                yield view;
            }
        }
    }

    async fn look(&self, caller: &Caller, id: &str) -> Result<LogStreamStatus> {
        let stream = self.find(caller, Operation::GetLogStreamStatus, id).await?.stream;
        Ok(self.store.log_stream_status(stream).await?)
    }

    fn view(
        &self,
        status: LogStreamStatus,
        before: Option<(&LogStreamStatus, Duration)>,
    ) -> StatusView {
        let lag = status.oldest_waiting.map_or(0.0, |since| seconds(since, self.clock.now()));
        let rate = |count: fn(&LogStreamStatus) -> u64| {
            before.map_or(0.0, |(earlier, elapsed)| {
                let more = count(&status).saturating_sub(count(earlier));
                as_float(more) / elapsed.as_secs_f64()
            })
        };
        let events_per_second = rate(|status| status.stream.progress.delivered_events);
        let bytes_per_second = rate(|status| status.stream.progress.delivered_bytes);
        let warnings = warnings(&status, lag);
        StatusView { status, lag_seconds: lag, events_per_second, bytes_per_second, warnings }
    }
}

fn warnings(status: &LogStreamStatus, lag: f64) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(most) = status.stream.destination.max_age()
        && lag > most.as_secs_f64() * NEARLY_TOO_OLD
    {
        warnings.push(format!(
            "the oldest event that waits is {:.1} hours old; {} takes none that is dated more than \
             {} hours back: those are sent with the time of delivery, and their own time in a field",
            lag / 3_600.0,
            status.stream.destination.kind(),
            most.as_secs() / 3_600,
        ));
    }
    if status.dead_letters > 0 {
        warnings.push(format!(
            "{} events were not taken; ListDeadLetters tells why",
            status.dead_letters
        ));
    }
    warnings
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    const MICROS: f64 = 1_000_000.0;
    as_float(u64::try_from(to.micros() - from.micros()).unwrap_or_default()) / MICROS
}

/// Exact to 2^53, which is more than a rate or a lag needs.
#[expect(clippy::cast_precision_loss, reason = "a rate or a lag, for people")]
const fn as_float(count: u64) -> f64 {
    count as f64
}
