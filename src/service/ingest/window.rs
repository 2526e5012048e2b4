//! How much of a stream may be under way.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most items that are read and not acknowledged, plus those of one reading. A few transactions: one is
/// written while the next is prepared.
const ITEMS: u32 = 4_096;
/// Most KiB of such items, as sent.
const KIBIBYTES: u32 = 8 * 1_024;

/// The bound on what is under way.
pub struct Window {
    items: Arc<Semaphore>,
    kibibytes: Arc<Semaphore>,
}

/// What some items take of a window, until it is dropped.
pub struct Held {
    _items: OwnedSemaphorePermit,
    _kibibytes: OwnedSemaphorePermit,
}

impl Window {
    /// Nothing is under way.
    pub fn new() -> Self {
        let semaphore = |most: u32| Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1)));
        Self { items: semaphore(ITEMS), kibibytes: semaphore(KIBIBYTES) }
    }

    /// Waits until so many items of so many bytes fit. More than all gets all.
    pub async fn take(&self, items: usize, bytes: usize) -> Option<Held> {
        let amount = |wanted: usize, most: u32| u32::try_from(wanted).unwrap_or(most).min(most);
        let (items, kibibytes) = (amount(items, ITEMS), amount(bytes.div_ceil(1_024), KIBIBYTES));
        Some(Held {
            _items: self.items.clone().acquire_many_owned(items).await.ok()?,
            _kibibytes: self.kibibytes.clone().acquire_many_owned(kibibytes).await.ok()?,
        })
    }
}
