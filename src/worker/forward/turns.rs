//! Whose batch may be on its way. Streams wait for each other in the order in which they came, and hold
//! a turn for one batch: so all share what a replica spends on forwarding, however many they are and
//! however much each has to send.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What part of the turns those have for whom the last try failed.
const TROUBLED_PART: usize = 4;

/// Turns. Cheap to clone.
#[derive(Clone)]
pub(super) struct Turns {
    healthy: Arc<Semaphore>,
    /// Destinations that hang keep a turn until they time out. They must not keep all of them.
    troubled: Arc<Semaphore>,
}

/// A turn, until it is dropped.
pub(super) struct Turn(
    #[expect(dead_code, reason = "held, not looked at")] Option<OwnedSemaphorePermit>,
);

impl Turns {
    pub(super) fn new(deliveries: usize) -> Self {
        let troubled = deliveries.div_ceil(TROUBLED_PART);
        Self {
            healthy: Arc::new(Semaphore::new(deliveries)),
            troubled: Arc::new(Semaphore::new(troubled)),
        }
    }

    /// Waits for a turn, with those who are in trouble or with the others.
    pub(super) async fn take(&self, in_trouble: bool) -> Turn {
        let turns = if in_trouble { &self.troubled } else { &self.healthy };
        // Never closed.
        Turn(turns.clone().acquire_owned().await.ok())
    }

    /// A turn with the others, if nobody waits for one.
    pub(super) fn try_take(&self) -> Option<Turn> {
        Some(Turn(Some(self.healthy.clone().try_acquire_owned().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn those_in_trouble_do_not_take_the_turns_of_the_others() {
        let turns = Turns::new(4);
        let hanging = turns.take(true).await;
        assert!(turns.take(true).now_or_never().is_none());
        let healthy: Vec<_> = (0..4).filter_map(|_| turns.take(false).now_or_never()).collect();
        assert_eq!(healthy.len(), 4);
        drop(hanging);
        assert!(turns.take(true).now_or_never().is_some());
    }
}
