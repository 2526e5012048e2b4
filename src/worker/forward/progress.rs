//! Writing down how far streams are: what many have delivered goes into one transaction.

use std::{collections::HashMap, time::Duration};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::log_stream::LogStreamKey,
    store::{Delivery, Store, StoreError},
};

/// Between two transactions. A kill repeats at most what was delivered in this time.
const PACE: Duration = Duration::from_millis(50);
/// How long to wait after the database did not take it.
const REST: Duration = Duration::from_millis(500);
/// Messages that may wait.
const QUEUE: usize = 1_024;
/// How long a flush may take.
const FLUSH: Duration = Duration::from_secs(2);

enum Message {
    /// A stream is further. If it turns out that it is not its worker's any more, `lost` is cancelled.
    Delivered(Box<Delivery>, CancellationToken),
    /// Asks to be answered when everything before is written.
    Flush(oneshot::Sender<()>),
}

/// Where streams tell how far they are. Cheap to clone; what writes it down ends with the last clone.
#[derive(Clone)]
pub(super) struct ProgressWriter(mpsc::Sender<Message>);

impl ProgressWriter {
    pub(super) fn start(store: Store, owner: String) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(write(store, owner, receiver));
        Self(sender)
    }

    /// Tells that a stream is further.
    pub(super) async fn note(&self, delivery: Delivery, lost: &CancellationToken) {
        // Fails only at the end of the process.
        let _ = self.0.send(Message::Delivered(Box::new(delivery), lost.clone())).await;
    }

    /// Waits until everything that was told is written, but not for ever.
    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        let flushed = async {
            if self.0.send(Message::Flush(done)).await.is_ok() {
                let _ = written.await;
            }
        };
        let _ = tokio::time::timeout(FLUSH, flushed).await;
    }
}

type Waiting = HashMap<LogStreamKey, (Delivery, CancellationToken)>;

async fn write(store: Store, owner: String, mut receiver: mpsc::Receiver<Message>) {
    let mut messages = Vec::new();
    while receiver.recv_many(&mut messages, QUEUE).await > 0 {
        let (mut waiting, mut flushed) = (Waiting::new(), Vec::new());
        for message in messages.drain(..) {
            match message {
                Message::Delivered(delivery, lost) => add(&mut waiting, *delivery, lost),
                Message::Flush(done) => flushed.push(done),
            }
        }
        commit(&store, &owner, waiting).await;
        let nobody_waits = flushed.is_empty();
        for done in flushed {
            let _ = done.send(());
        }
        if nobody_waits {
            tokio::time::sleep(PACE).await;
        }
    }
}

/// Puts two deliveries of one stream together.
fn add(waiting: &mut Waiting, delivery: Delivery, lost: CancellationToken) {
    use std::collections::hash_map::Entry;
    match waiting.entry(delivery.key.clone()) {
        Entry::Vacant(place) => {
            place.insert((delivery, lost));
        }
        Entry::Occupied(mut place) => {
            let (sum, known) = place.get_mut();
            if sum.generation == delivery.generation {
                sum.next_sequence = delivery.next_sequence;
                sum.events += delivery.events;
                sum.bytes += delivery.bytes;
                sum.is_well |= delivery.is_well;
                sum.dead_letters.extend(delivery.dead_letters);
                sum.at = delivery.at;
            } else {
                // Of a runner that began anew; what the one before did moves nothing any more.
                *sum = delivery;
            }
            *known = lost;
        }
    }
}

/// Writes all of it together, or each by itself if the database refuses something of it for good: one
/// stream's must not hold up the others.
async fn commit(store: &Store, owner: &str, waiting: Waiting) {
    let mut waiting: Vec<_> = waiting.into_values().collect();
    waiting.sort_by(|(one, _), (other, _)| one.key.cmp(&other.key));
    let (deliveries, lost): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
    if deliveries.is_empty() || commit_part(store, owner, &deliveries, &lost).await.is_ok() {
        return;
    }
    for (delivery, lost) in deliveries.iter().zip(&lost) {
        let (delivery, of) = (std::slice::from_ref(delivery), std::slice::from_ref(lost));
        if let Err(error) = commit_part(store, owner, delivery, of).await {
            let stream = &delivery[0].key.id;
            tracing::error!(%stream, %error, "a log stream ends: it cannot be noted how far it is");
            lost.cancel();
        }
    }
}

/// Writes until the database takes it, since what was delivered is delivered; fails where it never will.
async fn commit_part(
    store: &Store,
    owner: &str,
    deliveries: &[Delivery],
    lost: &[CancellationToken],
) -> Result<(), StoreError> {
    let mut told = false;
    loop {
        match store.note_deliveries(owner, deliveries).await {
            Ok(moved) => {
                for (_, lost) in moved.iter().zip(lost).filter(|(moved, _)| !**moved) {
                    lost.cancel();
                }
                return Ok(());
            }
            Err(error @ (StoreError::Unavailable(_) | StoreError::Conflict(_))) => {
                if !told {
                    tracing::warn!(%error, "cannot note how far log streams are; trying again");
                    told = true;
                }
                tokio::time::sleep(REST).await;
            }
            Err(error) => return Err(error),
        }
    }
}
