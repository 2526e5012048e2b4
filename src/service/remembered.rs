//! What a replica remembers for some seconds of what the database says.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;

/// A cache that can be told to forget, and then forgets what is just being looked up, too: a look-up
/// that began before a change was committed must not be remembered after it.
#[derive(Clone)]
pub struct Remembered<K, V> {
    entries: Cache<K, (u64, V)>,
    generation: Arc<AtomicU64>,
}

/// When a look-up began.
#[derive(Debug, Clone, Copy)]
pub struct Begun(u64);

impl<K, V> Remembered<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Remembers so many entries for so long.
    pub fn new(entries: u64, time: Duration) -> Self {
        let entries = Cache::builder().max_capacity(entries).time_to_live(time).build();
        Self { entries, generation: Arc::default() }
    }

    /// What is remembered.
    pub async fn get(&self, key: &K) -> Option<V> {
        let (generation, value) = self.entries.get(key).await?;
        (generation == self.generation.load(Ordering::SeqCst)).then_some(value)
    }

    /// To be called before a look-up, and given to [`Remembered::insert`] after it.
    pub fn begin(&self) -> Begun {
        Begun(self.generation.load(Ordering::SeqCst))
    }

    /// Remembers what a look-up found.
    pub async fn insert(&self, begun: Begun, key: K, value: V) {
        self.entries.insert(key, (begun.0, value)).await;
    }

    /// Forgets everything. To be called after the change is committed.
    pub fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_being_looked_up_is_forgotten_too() {
        let remembered = Remembered::new(10, Duration::from_mins(1));
        let begun = remembered.begin();
        remembered.insert(begun, 1, "before").await;
        assert_eq!(remembered.get(&1).await, Some("before"));
        let begun = remembered.begin();
        remembered.forget();
        remembered.insert(begun, 2, "stale").await;
        assert_eq!((remembered.get(&1).await, remembered.get(&2).await), (None, None));
        remembered.insert(remembered.begin(), 2, "fresh").await;
        assert_eq!(remembered.get(&2).await, Some("fresh"));
    }
}
