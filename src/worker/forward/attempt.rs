//! Sending one batch: whole if the destination takes it, in parts if it is too large or has events in it
//! that the destination refuses. What was taken is noted part by part, in the order of the log.

use std::{collections::VecDeque, ops::Range};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{batch::Batch, progress::ProgressWriter};
use crate::{
    domain::{
        clock::Clock,
        log_stream::{DeadLetter, LogStreamKey},
    },
    forward::{EncodedEvent, Failure, FailureKind, Sink},
    store::Delivery,
    telemetry::Metrics,
};

/// Events refused one after the other, and none taken in between, after which it is not the events: the
/// stream stops instead of giving up all of its log.
const MOST_REFUSED_IN_A_ROW: u32 = 20;

/// A destination that found a batch too large is sent this part of what it takes more the next time.
const GROWTH: usize = 8;

/// What a batch is sent with.
pub(super) struct Attempt<'a> {
    pub(super) sink: &'a dyn Sink,
    pub(super) clock: &'a dyn Clock,
    pub(super) writer: &'a ProgressWriter,
    pub(super) key: &'a LogStreamKey,
    /// Of the cursor.
    pub(super) generation: u64,
    /// Cancelled when the stream is another worker's.
    pub(super) lost: &'a CancellationToken,
    /// What the destination showed of itself.
    pub(super) learned: &'a mut Learned,
    /// What kind of destination it is.
    pub(super) destination: &'static str,
    /// Who measures.
    pub(super) metrics: &'a Metrics,
}

/// What a destination showed of itself while this worker sends to it.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// Events that it refused one after the other.
    pub(super) refused_in_a_row: u32,
    /// Most bytes that it is sent at once, after more were too many for it; grows again with what it
    /// takes.
    pub(super) most_bytes: Option<usize>,
    /// The next event to be sent.
    pub(super) next: u64,
    /// Whether it works: it took something, or told of single events why not, since this was last set to
    /// false.
    pub(super) is_well: bool,
}

/// What is still to be done of a batch.
enum Step {
    Send(Range<usize>),
    GiveUp(usize, String),
}

impl Attempt<'_> {
    /// Sends a batch. An error is why the rest of it was not taken; `learned.next` says from where on.
    pub(super) async fn deliver(&mut self, batch: Batch) -> Result<(), Failure> {
        let Batch { events, impossible: mut letters, next, .. } = batch;
        let mut steps = VecDeque::from([Step::Send(0..events.len())]);
        // Where to go on once the events up to an index are done with.
        let after = |end: usize| events.get(end).map_or(next, |event| event.sequence);
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Send(range) if range.is_empty() => {
                    self.note(after(range.end), &[], &mut letters).await;
                }
                Step::Send(range) => {
                    let part = &events[range.clone()];
                    let began = Instant::now();
                    let sent = self.sink.send(part, self.clock.now()).await;
                    let took = began.elapsed();
                    self.metrics.destination_answered(self.destination, sent.is_ok(), took);
                    match sent {
                        Ok(_) => {
                            self.learned.took(part);
                            self.note(after(range.end), part, &mut letters).await;
                        }
                        Err(failure) => {
                            let (taken, rest) = part.split_at(failure.taken.min(part.len()));
                            let range = range.start + taken.len()..range.end;
                            if !taken.is_empty() {
                                self.learned.took(taken);
                                self.note(after(range.start), taken, &mut letters).await;
                            }
                            self.divide(range, rest, failure, &mut steps)?;
                        }
                    }
                }
                Step::GiveUp(index, reason) => {
                    letters.push(self.letter(&events[index], reason));
                    self.note(after(index + 1), &[], &mut letters).await;
                }
            }
        }
        Ok(())
    }

    /// Puts what becomes of a part that was not taken before the other steps; fails if that is not about
    /// the events.
    fn divide(
        &mut self,
        range: Range<usize>,
        part: &[EncodedEvent],
        failure: Failure,
        steps: &mut VecDeque<Step>,
    ) -> Result<(), Failure> {
        let single = range.len() == 1;
        match &failure.kind {
            FailureKind::Temporary { .. } | FailureKind::Invalid => return Err(failure),
            FailureKind::TooLarge if single => {
                self.refused(&failure)?;
                steps.push_front(Step::GiveUp(range.start, failure.message));
            }
            FailureKind::TooLarge => {
                self.learned.most_bytes = Some(size(part) / 2);
                halve(&range, steps);
            }
            FailureKind::Refused(places) => {
                let first = if single { Some(0) } else { places.iter().min().copied() };
                let Some(first) = first.filter(|first| *first < range.len()) else {
                    halve(&range, steps);
                    return Ok(());
                };
                self.refused(&failure)?;
                let place = range.start + first;
                steps.push_front(Step::Send(place + 1..range.end));
                steps.push_front(Step::GiveUp(place, failure.message));
                steps.push_front(Step::Send(range.start..place));
            }
            FailureKind::PartlyTaken => {
                self.refused(&failure)?;
                for place in range.rev() {
                    steps.push_front(Step::GiveUp(place, failure.message.clone()));
                }
            }
        }
        Ok(())
    }

    /// Counts an event, or a part, that the destination refused for what it is.
    fn refused(&mut self, failure: &Failure) -> Result<(), Failure> {
        if self.learned.refused_in_a_row >= MOST_REFUSED_IN_A_ROW {
            return Err(Failure {
                kind: FailureKind::Invalid,
                message: format!(
                    "{MOST_REFUSED_IN_A_ROW} events in a row were refused, so it is hardly the \
                     events: {}",
                    failure.message
                ),
                http_status: failure.http_status,
                taken: 0,
            });
        }
        self.learned.refused_in_a_row += 1;
        self.learned.is_well = true;
        Ok(())
    }

    fn letter(&self, event: &EncodedEvent, reason: String) -> DeadLetter {
        DeadLetter {
            sequence: event.sequence,
            event_id: event.event_id.clone(),
            reason,
            created_at: self.clock.now(),
            redrives: 0,
        }
    }

    /// Notes that everything before `next` is done with.
    async fn note(&mut self, next: u64, taken: &[EncodedEvent], letters: &mut Vec<DeadLetter>) {
        let passed = |letter: &mut DeadLetter| letter.sequence < next;
        let dead_letters: Vec<_> = letters.extract_if(.., passed).collect();
        if let Some(first) = dead_letters.first() {
            // Not why: destinations repeat what they were sent, and events do not belong into this log.
            let (sequence, count) = (first.sequence, dead_letters.len());
            tracing::warn!(stream = %self.key.id, sequence, count, "events became dead letters");
        }
        if next == self.learned.next && taken.is_empty() && dead_letters.is_empty() {
            return;
        }
        self.learned.next = next;
        // Also if there are none: so the series is there before the first.
        self.metrics.dead_letters(self.destination, dead_letters.len());
        self.metrics.delivered(self.destination, taken.len(), size(taken));
        let delivery = Delivery {
            key: self.key.clone(),
            generation: self.generation,
            next_sequence: next,
            events: taken.len() as u64,
            bytes: size(taken) as u64,
            is_well: self.learned.is_well,
            dead_letters,
            at: self.clock.now(),
        };
        self.writer.note(delivery, self.lost).await;
    }
}

impl Learned {
    /// Learns that a part was taken.
    fn took(&mut self, part: &[EncodedEvent]) {
        self.refused_in_a_row = 0;
        self.is_well = true;
        if let Some(most) = &mut self.most_bytes {
            // What is too large now and then must not make it slow for ever.
            *most += size(part) / GROWTH;
        }
    }
}

fn size(events: &[EncodedEvent]) -> usize {
    events.iter().map(|event| event.bytes.len()).sum()
}

fn halve(range: &Range<usize>, steps: &mut VecDeque<Step>) {
    let middle = range.start + range.len() / 2;
    steps.push_front(Step::Send(middle..range.end));
    steps.push_front(Step::Send(range.start..middle));
}
