//! From the messages of a stream to the queues of the lanes.

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use futures::{FutureExt, Stream, StreamExt};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    Acknowledgement, Ingest, Message, NumberedEvent,
    window::{Held, Window},
    writer::{Fate, Part},
};
use crate::{
    domain::{
        caller::Caller,
        limits,
        violation::{Reason, Violations},
    },
    service::{
        auth::Credential,
        error::{Error, Result},
        events::Wants,
    },
    store::PreparedEvent,
};

/// How often the key is looked at again. What was found is remembered for some seconds beside that.
const LOOK: Duration = Duration::from_secs(2);
/// Messages that are there are taken together up to so many items, so that many small messages cost
/// little more than a large one.
const CHUNK_ITEMS: usize = limits::BATCH_EVENTS;
/// Likewise, in bytes.
const CHUNK_BYTES: usize = 1_024 * 1_024;

/// Reads one stream.
pub struct Reader<S> {
    ingest: Ingest,
    caller: Caller,
    credential: Credential,
    messages: S,
    window: Window,
    /// Cancelled when nobody wants to know what becomes of more.
    stop: CancellationToken,
    /// The number of the last item.
    last: Option<u64>,
}

/// What was there to read.
#[derive(Default)]
struct Chunk {
    items: Vec<NumberedEvent>,
    bytes: usize,
    /// How the stream ended after that, if it did.
    end: Option<Result<()>>,
}

/// Items of a chunk that go to the same lane.
#[derive(Default)]
struct Lot {
    numbers: Vec<u64>,
    wants: Vec<Result<Wants>>,
    events: Vec<PreparedEvent>,
}

impl<S: Stream<Item = Result<Message>> + Unpin> Reader<S> {
    /// Reads `messages` for `caller`, who showed `credential`.
    pub fn new(
        ingest: Ingest,
        caller: Caller,
        credential: Credential,
        messages: S,
        window: Window,
        stop: CancellationToken,
    ) -> Self {
        Self { ingest, caller, credential, messages, window, stop, last: None }
    }

    /// Reads until the stream ends, is not allowed to go on, or cannot.
    pub async fn run(mut self, parts: mpsc::UnboundedSender<Part>) -> Result<()> {
        let shutdown = self.ingest.shutdown.clone();
        let stop = self.stop.clone();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let chunk = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = shutdown.cancelled() => return Err(Error::Unavailable("shutting down")),
                _ = look.tick() => {
                    self.look_again().await?;
                    continue;
                }
                chunk = self.next_chunk() => chunk,
            };
            let held = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = shutdown.cancelled() => return Err(Error::Unavailable("shutting down")),
                held = self.window.take(chunk.items.len(), chunk.bytes) => held,
            };
            // The key may have been revoked while this waited.
            self.look_again().await?;
            let held = Arc::new(held);
            self.take(chunk.items, &held, &parts).await?;
            if let Some(end) = chunk.end {
                return end;
            }
        }
    }

    /// Looks whether the key still counts.
    async fn look_again(&mut self) -> Result<()> {
        let grant = self.ingest.authenticator.authenticate(self.credential).await?;
        self.caller = self.caller.with_grant(grant);
        Ok(())
    }

    /// Waits for a message, and takes those that are there behind it. May be dropped while it waits.
    async fn next_chunk(&mut self) -> Chunk {
        let mut chunk = Chunk::default();
        let mut next = Some(self.messages.next().await);
        while let Some(message) = next {
            self.add(message, &mut chunk);
            let is_full = chunk.items.len() >= CHUNK_ITEMS || chunk.bytes >= CHUNK_BYTES;
            if is_full || chunk.end.is_some() {
                break;
            }
            next = self.messages.next().now_or_never();
        }
        chunk
    }

    fn add(&mut self, message: Option<Result<Message>>, chunk: &mut Chunk) {
        let checked = match message {
            None => return chunk.end = Some(Ok(())),
            Some(message) => message.and_then(|message| self.check(message)),
        };
        match checked {
            Err(error) => chunk.end = Some(Err(error)),
            Ok(message) => {
                chunk.bytes += message.bytes;
                chunk.items.extend(message.items);
            }
        }
    }

    /// Checks what must hold of a message, whatever its events are.
    fn check(&mut self, message: Message) -> Result<Message> {
        let mut violations = Violations::default();
        if message.items.is_empty() {
            violations.add("items", Reason::Required, "items must have at least one entry");
        }
        if message.items.len() > limits::BATCH_EVENTS {
            let description = format!("items must have at most {} entries", limits::BATCH_EVENTS);
            violations.add("items", Reason::TooMany, description);
        }
        for (index, item) in message.items.iter().enumerate() {
            if self.last.is_some_and(|last| item.number <= last) {
                let description = "must be above the number of the item before";
                violations.add(format!("items[{index}].number"), Reason::OutOfRange, description);
                break;
            }
            self.last = Some(item.number);
        }
        Ok(violations.into_result(message)?)
    }

    /// Holds items against the rules, and puts those that pass in the queues. If the rules cannot be
    /// looked up, none of them is recorded.
    async fn take(
        &mut self,
        items: Vec<NumberedEvent>,
        held: &Arc<Option<Held>>,
        parts: &mpsc::UnboundedSender<Part>,
    ) -> Result<()> {
        let events = &self.ingest.events;
        let mut refused = Vec::new();
        let mut accepted = Vec::with_capacity(items.len());
        // As in a batch, everything is checked before anything is changed.
        for NumberedEvent { number, event } in items {
            match events.accept(&self.caller, event).await {
                Ok(event) => accepted.push((number, event)),
                Err(error) if error.is_temporary() => return Err(error),
                Err(error) => refused.push(Acknowledgement { number, result: Err(error) }),
            }
        }
        let mut lots: BTreeMap<usize, Lot> = BTreeMap::new();
        for (number, event) in accepted {
            match events.settled(Ok(event)).await {
                Ok((event, wants)) => {
                    let lane = self.ingest.lanes.lane_of(&event.organization_id);
                    let lot = lots.entry(lane).or_default();
                    lot.numbers.push(number);
                    lot.wants.push(Ok(wants));
                    lot.events.push(event);
                }
                Err(error) if error.is_temporary() => return Err(error),
                Err(error) => refused.push(Acknowledgement { number, result: Err(error) }),
            }
        }
        // A writer that is gone wants to know nothing.
        let tell = |fate| _ = parts.send(Part { fate, held: held.clone() });
        if !refused.is_empty() {
            tell(Fate::Refused(refused));
        }
        for (_, mut lot) in lots {
            // One after the other, so that what follows in a queue followed in the stream.
            let undecided = self.ingest.lanes.enqueue(mem::take(&mut lot.events)).await;
            tell(Fate::Queued { numbers: lot.numbers, wants: lot.wants, undecided });
        }
        Ok(())
    }
}
