//! Batches: as many events as a destination takes at once, in its form.

use std::ops::Range;

use crate::{
    domain::{canonical_read::CanonicalEvent, log_stream::DeadLetter, timestamp::Timestamp},
    forward::{BatchLimits, EncodedEvent, OutgoingEvent, Sink},
    service::watch::{Follower, Recent},
    store::{PartBounds, Result},
};

/// Most bytes of canonical events that are read for one batch, whatever the destination takes.
const READ_BYTES: usize = 8 * 1_024 * 1_024;

/// What is to be sent next.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The events, in the order of the log.
    pub(super) events: Vec<EncodedEvent>,
    /// Events that cannot be sent at all.
    pub(super) impossible: Vec<DeadLetter>,
    /// Where to go on after all of them.
    pub(super) next: u64,
    /// Whether no event more would have found room.
    pub(super) is_full: bool,
}

/// Bytes up to which a batch is small: so many of every stream can be in memory at once.
const SMALL: usize = 64 * 1_024;

impl Batch {
    /// Those that are impossible take room too: a log of nothing else must not end up in memory.
    fn is_out_of_places(&self, limits: BatchLimits) -> bool {
        self.events.len() + self.impossible.len() >= limits.events
    }

    /// Whether it takes little memory.
    pub(super) fn is_small(&self) -> bool {
        self.events.iter().map(|event| event.bytes.len()).sum::<usize>() <= SMALL
    }
}

/// Reads the next batch, from the start of the range on, and puts it into the form of the destination.
pub(super) async fn read(
    follower: &Follower,
    sink: &dyn Sink,
    limits: BatchLimits,
    range: Range<u64>,
    now: Timestamp,
) -> Result<Batch> {
    let bounds = PartBounds { events: limits.events, bytes: limits.bytes.min(READ_BYTES) };
    let (mut batch, mut bytes) = (Batch { next: range.start, ..Default::default() }, 0);
    let end = range.end.min(follower.size());
    // More than one round only where the form is smaller than what is read, or events were erased.
    while !batch.is_full && batch.next < end {
        let (events, after) = follower.read(batch.next..end, bounds).await?;
        for event in &events {
            if !add(&mut batch, &mut bytes, event, sink, limits, now) {
                batch.is_full = true;
                return Ok(batch);
            }
            batch.next = event.sequence + 1;
        }
        batch.next = after;
        batch.is_full = batch.is_out_of_places(limits);
    }
    Ok(batch)
}

/// Adds an event, or a dead letter in its place. Returns false if there is no room.
fn add(
    batch: &mut Batch,
    bytes: &mut usize,
    recent: &Recent,
    sink: &dyn Sink,
    limits: BatchLimits,
    now: Timestamp,
) -> bool {
    match encoded(recent, sink, limits, now) {
        Ok(event) => {
            let more = event.bytes.len() + limits.overhead;
            let is_first = batch.events.is_empty();
            if batch.is_out_of_places(limits) || (*bytes + more > limits.bytes && !is_first) {
                return false;
            }
            *bytes += more;
            batch.events.push(event);
        }
        Err(_) if batch.is_out_of_places(limits) => return false,
        Err((event_id, reason)) => batch.impossible.push(DeadLetter {
            sequence: recent.sequence,
            event_id,
            reason,
            created_at: now,
            redrives: 0,
        }),
    }
    true
}

/// An event in the form of the destination; or its id, as far as that is known, and why it has none.
pub(super) fn encoded(
    recent: &Recent,
    sink: &dyn Sink,
    limits: BatchLimits,
    now: Timestamp,
) -> std::result::Result<EncodedEvent, (String, String)> {
    const DAMAGED: &str = "the event was changed in the database";
    let event = CanonicalEvent::read(recent.payload());
    let event = event.ok_or_else(|| (String::new(), DAMAGED.to_owned()))?;
    let text =
        |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    let event_id = text(event.id.plain());
    let time = |value: Option<&[u8]>| Timestamp::parse_rfc3339(&text(value));
    let times = time(event.occurred_at.plain()).zip(time(event.created_at.plain()));
    let Some((occurred_at, created_at)) = times else {
        return Err((event_id, DAMAGED.to_owned()));
    };
    let outgoing = OutgoingEvent { sequence: recent.sequence, event, occurred_at, created_at };
    let mut bytes = Vec::with_capacity(recent.payload().len() + 128);
    if let Err(reason) = sink.encode(&outgoing, now, &mut bytes) {
        return Err((event_id, reason));
    }
    if bytes.len() > limits.event_bytes {
        let reason = format!(
            "the event has {} bytes in the form of the destination, which takes {}",
            bytes.len(),
            limits.event_bytes
        );
        return Err((event_id, reason));
    }
    Ok(EncodedEvent { sequence: recent.sequence, event_id, created_at, bytes })
}
