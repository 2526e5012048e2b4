//! Forwarding one log: read, send, note, and after a failure wait and try again, until told to stop.

mod redrive;

use std::{pin::pin, sync::Arc, time::Duration};

use opentelemetry::KeyValue;
use rand::rng;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Forwarder,
    attempt::{Attempt, Learned},
    backoff,
    batch::{self, Batch},
    progress::ProgressWriter,
    turns::{Turn, Turns},
};
use crate::{
    domain::log_stream::{LogStreamKey, LogStreamState},
    forward::{BatchLimits, Failure, FailureKind, Sink, http::within_trace},
    service::{log_streams::event_of, system_log::SystemEvent, watch::Follower},
    store::{FailedDelivery, StoreError, StoredLogStream},
    telemetry::{StreamGauge, Telemetry, weakly},
};

/// How long to wait after the database failed.
const REST: Duration = Duration::from_secs(1);
/// How long a destination may keep a turn with a small batch: one that hangs must not keep others waiting.
const SLOW: Duration = Duration::from_secs(2);

/// Why forwarding stopped for now.
enum Pause {
    /// The destination did not take something.
    Refused(Failure),
    /// The database failed.
    Database(StoreError),
    /// It is over.
    Stop,
}

impl From<StoreError> for Pause {
    fn from(error: StoreError) -> Self {
        Self::Database(error)
    }
}

impl From<Failure> for Pause {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// One stream that is forwarded.
pub(super) struct Runner {
    forwarder: Arc<Forwarder>,
    stored: StoredLogStream,
    key: LogStreamKey,
    writer: ProgressWriter,
    turns: Turns,
    /// Cancelled when it is to end, or is another worker's.
    stop: CancellationToken,
    learned: Learned,
    state: LogStreamState,
    failures: u32,
    /// Whether the destination kept its last batch for long.
    is_slow: bool,
    /// Where a batch ended that was not taken: it is sent again as it was, since destinations know a
    /// repetition by its content.
    retried_until: Option<u64>,
    /// Whether there may be dead letters to be sent again.
    redrives: bool,
    /// Whether the last of them failed in a way that may pass.
    redrive_failed: bool,
    /// What it tells of itself.
    gauge: Arc<StreamGauge>,
    /// The dead letter that last failed in a way that may pass, and how often in a row.
    stuck: (u64, u32),
}

/// What a stream is forwarded with.
struct Open {
    follower: Arc<Follower>,
    sink: Arc<dyn Sink>,
}

impl Runner {
    pub(super) fn new(
        forwarder: Arc<Forwarder>,
        stored: StoredLogStream,
        writer: ProgressWriter,
        turns: Turns,
        stop: CancellationToken,
    ) -> Self {
        let stream = &stored.stream;
        let learned = Learned { next: stream.progress.next_sequence, ..Default::default() };
        let (key, state) = (stream.key(), stream.state);
        let failures = stream.progress.consecutive_failures;
        let metrics = &forwarder.telemetry.metrics;
        let gauge = metrics.stream(stream.destination.kind(), state.as_str());
        Self {
            forwarder,
            stored,
            key,
            writer,
            turns,
            stop,
            learned,
            state,
            failures,
            is_slow: false,
            retried_until: None,
            redrives: true,
            redrive_failed: false,
            gauge,
            stuck: (0, 0),
        }
    }

    /// Forwards until it is to end. What was delivered is noted when it returns.
    pub(super) async fn run(mut self) {
        if let Some(at) = self.stored.stream.progress.next_attempt_at {
            let micros = at.micros() - self.forwarder.clock.now().micros();
            let wait = Duration::from_micros(u64::try_from(micros).unwrap_or_default());
            self.sleep(wait).await;
        }
        let mut open = None;
        while !self.stop.is_cancelled() {
            let wait = match self.work(&mut open).await {
                Pause::Stop => break,
                Pause::Refused(failure) => self.failed(failure).await,
                Pause::Database(error) => {
                    tracing::warn!(stream = %self.key.id, %error, "a log stream waits");
                    REST
                }
            };
            self.sleep(wait).await;
        }
        self.writer.flush().await;
    }

    async fn sleep(&self, wait: Duration) {
        self.stop.run_until_cancelled(tokio::time::sleep(wait)).await;
    }

    /// Forwards until something is in the way.
    async fn work(&mut self, open: &mut Option<Open>) -> Pause {
        if open.is_none() {
            match self.open().await {
                Ok(opened) => *open = Some(opened),
                Err(pause) => return pause,
            }
        }
        let Some(open) = open else { return Pause::Stop };
        match self.forward(open).await {
            Ok(()) => Pause::Stop,
            Err(pause) => pause,
        }
    }

    async fn open(&self) -> Result<Open, Pause> {
        let credentials = self.forwarder.streams.credentials();
        let stream = &self.stored.stream;
        let secrets = credentials.open(&self.stored).map_err(Failure::invalid)?;
        let sink = credentials.sink(stream, &secrets).map_err(Failure::invalid)?;
        let follower = Follower::join(&self.forwarder.hub, stream.tenant()).await?;
        let follower = Arc::new(follower);
        self.gauge.follows(weakly(&follower, Follower::size));
        self.gauge.delivered(self.learned.next);
        Ok(Open { follower, sink })
    }

    /// Sends what there is, and then what comes. Returns when it is to end.
    async fn forward(&mut self, open: &Open) -> Result<(), Pause> {
        let (follower, sink) = (&*open.follower, &*open.sink);
        let mut prepared: Option<(Turn, Batch)> = None;
        while !self.stop.is_cancelled() {
            // After one that failed the log has its turn: letters may fail for days.
            let rests = std::mem::take(&mut self.redrive_failed);
            if self.redrives && !(rests && follower.size() > self.learned.next) {
                // It needs turns of its own.
                prepared = None;
                let redriven = self.redrive(follower, sink).await;
                self.redrive_failed = redriven.is_err();
                self.redrives = redriven?;
                if self.redrives && follower.size() <= self.learned.next {
                    continue;
                }
            }
            let (turn, batch) = if let Some(ready) = prepared.take() {
                ready
            } else {
                let waited = self.wait_for_events(follower, sink.limits());
                if self.stop.clone().run_until_cancelled(waited).await.is_none() {
                    return Ok(());
                }
                let turn = self.turns.take(self.is_in_trouble()).await;
                let range = self.learned.next..self.retried_until.unwrap_or(u64::MAX);
                let now = self.forwarder.clock.now();
                (turn, batch::read(follower, sink, self.limits(sink), range, now).await?)
            };
            self.retried_until = Some(batch.next);
            let following = self.send_and_prepare(open, batch, turn).await?;
            self.retried_until = None;
            // Who waits for a turn comes first; what was read is then read again.
            if let (Some(batch), Some(turn)) = (following, self.turns.try_take()) {
                prepared = Some((turn, batch?));
            }
        }
        Ok(())
    }

    /// Whether it waits for a turn apart from those that are well.
    const fn is_in_trouble(&self) -> bool {
        self.failures > 0 || self.is_slow
    }

    /// Sends a batch, and reads the next one meanwhile if there is more, on another processor if one is
    /// free.
    async fn send_and_prepare(
        &mut self,
        open: &Open,
        batch: Batch,
        turn: Turn,
    ) -> Result<Option<Result<Batch, StoreError>>, Failure> {
        let is_small = batch.is_small();
        let following = batch.is_full.then(|| {
            let (follower, sink) = (open.follower.clone(), open.sink.clone());
            let (limits, range) = (self.limits(&*sink), batch.next..u64::MAX);
            let now = self.forwarder.clock.now();
            AbortOnDropHandle::new(tokio::spawn(async move {
                batch::read(&follower, &*sink, limits, range, now).await
            }))
        });
        let following = async {
            // If it failed it is read again.
            match following {
                Some(following) => following.await.ok(),
                None => None,
            }
        };
        let sink = &*open.sink;
        let began = Instant::now();
        let (sent, following) = {
            let mut work = pin!(async { tokio::join!(self.send(sink, batch), following) });
            tokio::select! {
                done = &mut work => done,
                () = tokio::time::sleep(SLOW) => {
                    let kept = (!is_small).then_some(turn);
                    let done = work.await;
                    drop(kept);
                    done
                }
            }
        };
        self.is_slow = began.elapsed() >= SLOW;
        self.tell_of_success().await;
        sent.map(|()| following)
    }

    async fn send(&mut self, sink: &dyn Sink, batch: Batch) -> Result<(), Failure> {
        let Telemetry { metrics, tracer, .. } = &self.forwarder.telemetry;
        let destination = self.stored.stream.destination.kind();
        let mut span = tracer.root("forward batch");
        span.set(KeyValue::new("audit_logs.destination", destination));
        if let Some(first) = batch.events.first() {
            self.gauge.waits(self.learned.next, first.created_at.micros());
        }
        let mut attempt = Attempt {
            sink,
            clock: &*self.forwarder.clock,
            writer: &self.writer,
            key: &self.key,
            generation: self.stored.stream.generation,
            lost: &self.stop,
            learned: &mut self.learned,
            destination,
            metrics,
        };
        let result = within_trace(span.traceparent(), attempt.deliver(batch)).await;
        match &result {
            Ok(()) => self.gauge.delivered(self.learned.next),
            Err(failure) => {
                metrics.delivery_failed(destination, failure.kind.as_str());
                span.fail();
            }
        }
        result
    }

    /// Waits for an event, and then a moment for as many as fill a batch, unless it is one that is sent
    /// again.
    async fn wait_for_events(&self, follower: &Follower, limits: BatchLimits) {
        follower.grown_beyond(self.learned.next).await;
        if self.retried_until.is_none() {
            let last = self.learned.next + limits.events.saturating_sub(1) as u64;
            // Whether they came or not.
            let _ = tokio::time::timeout(limits.linger, follower.grown_beyond(last)).await;
        }
    }

    fn limits(&self, sink: &dyn Sink) -> BatchLimits {
        let limits = sink.limits();
        let most = self.learned.most_bytes.unwrap_or(limits.bytes);
        BatchLimits { bytes: limits.bytes.min(most), ..limits }
    }

    /// After a part was taken: the stream is well again.
    async fn tell_of_success(&mut self) {
        if !std::mem::take(&mut self.learned.is_well) {
            return;
        }
        self.failures = 0;
        self.becomes(LogStreamState::Active, None).await;
    }

    /// Notes that a try failed; returns how long to wait.
    async fn failed(&mut self, failure: Failure) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = backoff::wait(&failure.kind, self.failures, &mut rng());
        let state = match failure.kind {
            FailureKind::Invalid => LogStreamState::Invalid,
            _ => LogStreamState::Error,
        };
        // What was delivered before is noted before: a success makes the stream ACTIVE.
        self.writer.flush().await;
        if self.stop.is_cancelled() {
            return wait;
        }
        let at = self.forwarder.clock.now();
        let failed = FailedDelivery {
            key: self.key.clone(),
            revision: self.stored.stream.revision,
            state,
            error: failure.message.clone(),
            consecutive_failures: self.failures,
            at,
            next_attempt_at: at.plus(wait),
        };
        match self.forwarder.store.note_failed_delivery(&self.forwarder.owner, &failed).await {
            Ok(true) => self.becomes(state, failure.http_status).await,
            Ok(false) => self.stop.cancel(),
            Err(error) => tracing::warn!(stream = %self.key.id, %error, "cannot note a failure"),
        }
        wait
    }

    /// Records it if the state is another one. Not what the destination said: it may have repeated
    /// events.
    async fn becomes(&mut self, state: LogStreamState, http_status: Option<u16>) {
        let before = std::mem::replace(&mut self.state, state);
        if before == state {
            return;
        }
        let (from, to) = (before.as_str(), state.as_str());
        self.gauge.becomes(to);
        tracing::info!(stream = %self.key.id, from, to, http_status, "a log stream changed its state");
        let stream = &self.stored.stream;
        let environment = stream.environment_id.clone();
        let event = SystemEvent::by_service(environment, "log_stream.state_changed");
        let mut event = event_of(stream, event).with("from", from).with("to", to);
        if let Some(status) = http_status {
            event = event.with("http_status", status);
        }
        self.forwarder.streams.system_log().record(event).await;
    }
}
