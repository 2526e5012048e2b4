//! Sending dead letters again, a few between two batches.

use super::{Pause, Runner};
use crate::{
    domain::log_stream::LogStreamState,
    forward::{FailureKind, Sink},
    service::watch::Follower,
    store::{Delivery, PartBounds},
    worker::forward::batch,
};

/// Dead letters that are sent again between two batches.
const REDRIVEN_AT_ONCE: u64 = 10;
/// How often a dead letter may fail in a way that may pass before it counts as sent in vain.
const MOST_TIMES_STUCK: u32 = 3;

/// What became of an event that was to be sent again.
enum Again {
    Taken,
    Refused(String),
    /// It is erased.
    Gone,
    /// It has no form that the destination takes: that was never asked.
    Impossible(String),
}

impl Runner {
    /// Sends some of the dead letters again that a caller asked for. Returns whether there are more.
    pub(super) async fn redrive(
        &mut self,
        follower: &Follower,
        sink: &dyn Sink,
    ) -> Result<bool, Pause> {
        let store = self.forwarder.store.clone();
        let due = store.due_dead_letters(&self.key, REDRIVEN_AT_ONCE).await?;
        let are_more = due.len() as u64 == REDRIVEN_AT_ONCE;
        for letter in due {
            if self.stop.is_cancelled() {
                break;
            }
            let turn = self.turns.take(self.is_in_trouble()).await;
            let sent = self.send_again(follower, sink, letter.sequence).await;
            drop(turn);
            if matches!(sent, Ok(Again::Taken | Again::Refused(_))) {
                self.is_well_without_events().await;
            }
            match sent {
                Ok(Again::Taken | Again::Gone) => {
                    store.remove_dead_letter(&self.key, letter.sequence).await?;
                }
                Ok(Again::Refused(reason) | Again::Impossible(reason)) => {
                    store.keep_dead_letter(&self.key, letter.sequence, &reason).await?;
                }
                Err(pause) => {
                    let (stuck, times) = self.stuck;
                    let times = if stuck == letter.sequence { times + 1 } else { 1 };
                    self.stuck = (letter.sequence, times);
                    // One letter that fails in this way must not hold up the stream for ever.
                    if let Pause::Refused(failure) = &pause
                        && times >= MOST_TIMES_STUCK
                    {
                        let reason = &failure.message;
                        store.keep_dead_letter(&self.key, letter.sequence, reason).await?;
                    }
                    return Err(pause);
                }
            }
        }
        Ok(are_more)
    }

    /// Notes that the destination works though no event of the log was due, if it did not before.
    async fn is_well_without_events(&mut self) {
        if self.failures == 0 && self.state == LogStreamState::Active {
            return;
        }
        let delivery = Delivery {
            key: self.key.clone(),
            generation: self.stored.stream.generation,
            next_sequence: self.learned.next,
            events: 0,
            bytes: 0,
            is_well: true,
            dead_letters: Vec::new(),
            at: self.forwarder.clock.now(),
        };
        self.writer.note(delivery, &self.stop).await;
        self.learned.is_well = true;
        self.tell_of_success().await;
    }

    /// Sends one event again. An error is a failure that is not about the event.
    async fn send_again(
        &self,
        follower: &Follower,
        sink: &dyn Sink,
        sequence: u64,
    ) -> Result<Again, Pause> {
        let one = PartBounds { events: 1, bytes: usize::MAX };
        let (events, _) = follower.read(sequence..sequence.saturating_add(1), one).await?;
        let Some(event) = events.first().filter(|event| event.sequence == sequence) else {
            return Ok(Again::Gone);
        };
        let now = self.forwarder.clock.now();
        let encoded = match batch::encoded(event, sink, sink.limits(), now) {
            Ok(encoded) => encoded,
            Err((_, reason)) => return Ok(Again::Impossible(reason)),
        };
        match sink.send(&[encoded], now).await {
            Ok(_) => Ok(Again::Taken),
            Err(failure) => match failure.kind {
                FailureKind::Temporary { .. } | FailureKind::Invalid => Err(failure.into()),
                _ => Ok(Again::Refused(failure.message)),
            },
        }
    }
}
