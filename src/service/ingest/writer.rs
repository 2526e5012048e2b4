//! From the decisions of the lanes to the acknowledgements of a stream.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Acknowledgement, window::Held};
use crate::{
    domain::limits,
    service::{
        error::{Error, Result},
        events::{Events, Wants},
        lanes::{Lanes, Undecided},
    },
};

/// How long a client may leave acknowledgements lying.
const PATIENCE: Duration = Duration::from_mins(1);
/// Acknowledgements that are there are told together, up to so many and those of one more part.
const TOGETHER: usize = limits::BATCH_EVENTS;

/// Items whose fate is known or will be.
pub struct Part {
    /// It.
    pub fate: Fate,
    /// Given back when they are acknowledged.
    pub held: Arc<Option<Held>>,
}

/// What becomes of items.
pub enum Fate {
    /// Something is wrong with them.
    Refused(Vec<Acknowledgement>),
    /// They will be written.
    Queued {
        /// The items.
        numbers: Vec<u64>,
        /// What their callers want back, one for each.
        wants: Vec<Result<Wants>>,
        /// Where the answer comes from.
        undecided: Undecided,
    },
}

/// What is to be told.
#[derive(Default)]
struct Decided {
    acknowledgements: Vec<Acknowledgement>,
    /// Why items that are not among these were not recorded, or may not have been.
    failure: Option<Error>,
    held: Vec<Arc<Option<Held>>>,
}

/// Writes the acknowledgements of one stream.
pub struct Writer {
    events: Events,
    lanes: Lanes,
    sink: mpsc::Sender<Vec<Acknowledgement>>,
    stop: CancellationToken,
}

impl Writer {
    /// Tells `sink`; cancels `stop` when nothing more must be read.
    pub const fn new(
        events: Events,
        lanes: Lanes,
        sink: mpsc::Sender<Vec<Acknowledgement>>,
        stop: CancellationToken,
    ) -> Self {
        Self { events, lanes, sink, stop }
    }

    /// Works until everything that was taken is acknowledged, or nobody listens. Fails with the first
    /// failure that is not about an item.
    pub async fn run(self, mut parts: mpsc::UnboundedReceiver<Part>) -> Result<()> {
        let _stop = self.stop.clone().drop_guard();
        let mut open = FuturesUnordered::new();
        let (mut failure, mut is_read) = (None, false);
        while !(is_read && open.is_empty()) {
            let mut decided = tokio::select! {
                part = parts.recv(), if !is_read => {
                    is_read = part.is_none();
                    open.extend(part.map(|part| self.decide(part)));
                    continue;
                }
                Some(decided) = open.next() => decided,
                () = self.sink.closed() => break,
            };
            while decided.acknowledgements.len() < TOGETHER
                && let Some(Some(more)) = open.next().now_or_never()
            {
                decided.add(more);
            }
            if let Some(error) = decided.failure.take() {
                self.stop.cancel();
                failure.get_or_insert(error);
            }
            self.tell(decided).await?;
        }
        failure.map_or(Ok(()), Err)
    }

    async fn tell(&self, decided: Decided) -> Result<()> {
        if decided.acknowledgements.is_empty() {
            return Ok(());
        }
        let sent = timeout(PATIENCE, self.sink.send(decided.acknowledgements)).await;
        // A client that is gone is noticed by whoever calls.
        sent.map(drop).map_err(|_| Error::AcknowledgementsNotRead(PATIENCE.as_secs()))
    }

    async fn decide(&self, part: Part) -> Decided {
        let held = vec![part.held];
        let (numbers, wants, undecided) = match part.fate {
            Fate::Refused(acknowledgements) => {
                return Decided { acknowledgements, failure: None, held };
            }
            Fate::Queued { numbers, wants, undecided } => (numbers, wants, undecided),
        };
        let places = self.lanes.decided(undecided).await;
        let results = match self.events.results(wants, places).await {
            Ok(results) => results,
            Err(failure) => return Decided { failure: Some(failure), held, ..Decided::default() },
        };
        let mut decided = Decided { held, ..Decided::default() };
        for (number, result) in numbers.into_iter().zip(results) {
            match result {
                Err(error) if error.is_temporary() => {
                    decided.failure.get_or_insert(error);
                }
                result => decided.acknowledgements.push(Acknowledgement { number, result }),
            }
        }
        decided
    }
}

impl Decided {
    fn add(&mut self, more: Self) {
        self.acknowledgements.extend(more.acknowledgements);
        self.held.extend(more.held);
        self.failure = self.failure.take().or(more.failure);
    }
}
