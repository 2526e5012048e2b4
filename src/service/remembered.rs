//! What a replica remembers for some seconds of what the database says.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;

/// A cache that can be told to forget, and then forgets what is just being looked up, too: a look-up
/// that began before a change was committed must not be remembered after it.
#[derive(Clone)]
pub struct Remembered<K, V> {
    entries: Arc<Cache<K, Entry<V>>>,
    generation: Arc<AtomicU64>,
    time: Duration,
}

#[derive(Clone)]
struct Entry<V> {
    generation: u64,
    until: Instant,
    value: V,
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
    pub fn new(entries: usize, time: Duration) -> Self {
        Self { entries: Arc::new(Cache::new(entries)), generation: Arc::default(), time }
    }

    /// What is remembered.
    pub fn get(&self, key: &K) -> Option<V> {
        let entry = self.entries.get(key)?;
        let counts = entry.generation == self.generation.load(Ordering::SeqCst)
            && Instant::now() < entry.until;
        counts.then_some(entry.value)
    }

    /// To be called before a look-up, and given to [`Remembered::insert`] after it.
    pub fn begin(&self) -> Begun {
        Begun(self.generation.load(Ordering::SeqCst))
    }

    /// Remembers what a look-up found.
    pub fn insert(&self, begun: Begun, key: K, value: V) {
        let until = Instant::now() + self.time;
        self.entries.insert(key, Entry { generation: begun.0, until, value });
    }

    /// Forgets everything. To be called after the change is committed.
    pub fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_being_looked_up_is_forgotten_too() {
        let remembered = Remembered::new(10, Duration::from_mins(1));
        let begun = remembered.begin();
        remembered.insert(begun, 1, "before");
        assert_eq!(remembered.get(&1), Some("before"));
        let begun = remembered.begin();
        remembered.forget();
        remembered.insert(begun, 2, "stale");
        assert_eq!((remembered.get(&1), remembered.get(&2)), (None, None));
        remembered.insert(remembered.begin(), 2, "fresh");
        assert_eq!(remembered.get(&2), Some("fresh"));
    }

    #[test]
    fn nothing_is_remembered_past_its_time() {
        let remembered = Remembered::new(10, Duration::ZERO);
        remembered.insert(remembered.begin(), 1, "old");
        assert_eq!(remembered.get(&1), None);
    }
}
