//! Forwards logs to destinations. Each stream is leased, so that one replica sends; on it the stream is
//! a task of its own (`runner`), so that no destination holds up another.

mod attempt;
mod backoff;
mod batch;
mod progress;
mod runner;
mod turns;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::{progress::ProgressWriter, runner::Runner, turns::Turns};
use crate::{
    domain::{
        clock::Clock,
        log_stream::{LogStreamKey, LogStreamState},
    },
    service::{log_streams::LogStreams, watch::Hub},
    store::{FailedDelivery, Store, StoreError, StoredLogStream},
    telemetry::Telemetry,
};

/// How often leases are looked after and free streams taken.
const TICK: Duration = Duration::from_secs(1);
/// How long a lease lasts, in seconds; and how often it is renewed. One that is not given back is free
/// this long after its replica died.
const LEASE_SECONDS: i64 = 20;
const RENEW: Duration = Duration::from_secs(5);
/// Streams that are taken at once, so that replicas that start together share them.
const TAKEN_AT_ONCE: u64 = 64;
/// How long a batch that is under way may take when its stream must stop.
const GRACE: Duration = Duration::from_secs(2);
/// How long a stream rests after a defect of this program.
const AFTER_DEFECT: Duration = Duration::from_mins(1);
/// Streams whose secrets are looked at together.
const RESEALED_AT_ONCE: u64 = 100;

/// Forwards the logs whose streams it can lease.
pub struct Forwarder {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What tells that a log grew.
    pub hub: Hub,
    /// The streams, as callers manage them.
    pub streams: LogStreams,
    /// Who measures.
    pub telemetry: Telemetry,
    /// Unique among replicas and starts.
    pub owner: String,
    /// How many batches may be on their way at once.
    pub deliveries: usize,
}

/// A stream that is forwarded here.
struct Running {
    /// What its task works with.
    revision: u64,
    /// Asks the task to end.
    stop: CancellationToken,
    task: AbortHandle,
    /// When it was asked to end.
    asked_at: Option<Instant>,
}

/// The streams that are forwarded here.
struct Streams {
    running: HashMap<LogStreamKey, Running>,
    tasks: JoinSet<()>,
    renewed_at: Instant,
    /// Those that this program cannot read, of which it was told.
    unreadable: HashSet<LogStreamKey>,
}

impl Forwarder {
    /// Works until `shutdown`, then gives its leases back.
    pub async fn run(self, shutdown: CancellationToken) {
        let forwarder = Arc::new(self);
        let writer = ProgressWriter::start(forwarder.store.clone(), forwarder.owner.clone());
        let turns = Turns::new(forwarder.deliveries);
        let mut streams = Streams {
            running: HashMap::new(),
            tasks: JoinSet::new(),
            renewed_at: Instant::now(),
            unreadable: HashSet::new(),
        };
        forwarder.reseal().await;
        let mut reachable = true;
        while !shutdown.is_cancelled() {
            let looked = forwarder.look(&mut streams, &writer, &turns).await;
            if let Err(error) = &looked
                && reachable
            {
                tracing::warn!(%error, "cannot look after log streams");
            }
            reachable = looked.is_ok();
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = forwarder.streams.changed() => {}
                Some(ended) = streams.tasks.join_next_with_id() => {
                    let mut ended = Some(ended);
                    while let Some(one) = ended {
                        forwarder.has_ended(&mut streams, one).await;
                        ended = streams.tasks.try_join_next_with_id();
                    }
                }
                () = tokio::time::sleep(TICK) => {}
            }
        }
        forwarder.end(streams, &writer).await;
    }

    /// Keeps what is held, ends what is not, and takes what is free.
    async fn look(
        self: &Arc<Self>,
        streams: &mut Streams,
        writer: &ProgressWriter,
        turns: &Turns,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let until = now.plus_seconds(LEASE_SECONDS);
        if !streams.running.is_empty() && streams.renewed_at.elapsed() >= RENEW {
            self.store.renew_log_streams(&self.owner, now, until).await?;
            streams.renewed_at = Instant::now();
        }
        let held = self.store.held_log_streams(&self.owner, now).await?;
        // Leased and never started, or ended and not given back, because the database failed in between.
        for held in held.iter().filter(|held| !streams.running.contains_key(&held.key)) {
            self.store.release_log_streams(&self.owner, Some(&held.key)).await?;
        }
        let held: HashMap<_, _> = held.iter().map(|held| (&held.key, held)).collect();
        for (key, running) in &mut streams.running {
            let goes_on = held
                .get(key)
                .is_some_and(|held| held.is_running && held.revision == running.revision);
            if !goes_on {
                running.end();
            }
        }
        let leased = self.store.lease_log_streams(&self.owner, now, until, TAKEN_AT_ONCE).await?;
        for key in leased.unreadable {
            if streams.unreadable.insert(key.clone()) {
                tracing::error!(stream = %key.id, "this version cannot read a log stream");
            }
        }
        for stored in leased.streams {
            // One that was lost and is free again begins once the task from before has ended.
            if !streams.running.contains_key(&stored.stream.key()) {
                self.start(streams, stored, writer, turns);
            }
        }
        Ok(())
    }

    fn start(
        self: &Arc<Self>,
        streams: &mut Streams,
        stored: StoredLogStream,
        writer: &ProgressWriter,
        turns: &Turns,
    ) {
        let (key, revision) = (stored.stream.key(), stored.stream.revision);
        let stop = CancellationToken::new();
        let runner = Runner::new(self.clone(), stored, writer.clone(), turns.clone(), stop.clone());
        let task = streams.tasks.spawn(runner.run());
        streams.running.insert(key, Running { revision, stop, task, asked_at: None });
    }

    /// Gives back the lease of a stream whose task ended, so that it begins anew if it is to.
    async fn has_ended(&self, streams: &mut Streams, ended: Result<(Id, ()), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        let found = streams.running.iter().find(|(_, running)| running.task.id() == id);
        let Some((key, revision)) = found.map(|(key, running)| (key.clone(), running.revision))
        else {
            return;
        };
        streams.running.remove(&key);
        let mut noted = Ok(());
        if ended.is_err_and(|error| error.is_panic()) {
            tracing::error!(stream = %key.id, "a log stream failed because of a defect");
            let at = self.clock.now();
            let failed = FailedDelivery {
                key: key.clone(),
                revision,
                state: LogStreamState::Error,
                error: "internal error".to_owned(),
                consecutive_failures: 1,
                at,
                next_attempt_at: at.plus(AFTER_DEFECT),
            };
            noted = self.store.note_failed_delivery(&self.owner, &failed).await.map(|_| ());
        }
        let released = self.store.release_log_streams(&self.owner, Some(&key)).await;
        if let Err(error) = noted.and(released) {
            tracing::warn!(stream = %key.id, %error, "cannot give a log stream back");
        }
    }

    /// Ends everything, waiting a moment for what is under way.
    async fn end(&self, mut streams: Streams, writer: &ProgressWriter) {
        for running in streams.running.values_mut() {
            running.end();
        }
        let ended = async { while streams.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            streams.tasks.abort_all();
        }
        writer.flush().await;
        if let Err(error) = self.store.release_log_streams(&self.owner, None).await {
            tracing::warn!(%error, "cannot give the log streams back");
        }
    }

    /// Encrypts with the current key what an earlier one encrypted.
    async fn reseal(&self) {
        let mut after = String::new();
        loop {
            let sealed = match self.store.sealed_log_streams(&after, RESEALED_AT_ONCE).await {
                Ok(sealed) => sealed,
                Err(error) => {
                    tracing::warn!(%error, "cannot look through the secrets of log streams");
                    return;
                }
            };
            let Some((last, _)) = sealed.last() else { return };
            after = last.id.to_string();
            for (key, old) in sealed {
                let Some(new) = self.streams.credentials().resealed(key.id.as_str(), &old) else {
                    continue;
                };
                match self.store.reseal_log_stream(&key, &old, new).await {
                    Ok(_) => tracing::info!(stream = %key.id, "encrypted anew"),
                    Err(error) => {
                        tracing::warn!(stream = %key.id, %error, "cannot encrypt anew");
                    }
                }
            }
        }
    }
}

impl Running {
    /// Asks the task to end, and ends it if it was asked long ago.
    fn end(&mut self) {
        self.stop.cancel();
        let asked_at = *self.asked_at.get_or_insert_with(Instant::now);
        if asked_at.elapsed() >= GRACE {
            self.task.abort();
        }
    }
}
