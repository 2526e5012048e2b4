//! The newest events of a watched log, in memory, so that a hundred watchers do not read them a hundred
//! times.

use std::{
    collections::VecDeque,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    domain::event::{EventRecord, LoggedEvent},
    merkle::Hash,
    store::{PartBounds, WatchRow},
};

/// Most bytes of the events that are kept of one log.
const LOG_BYTES: usize = 1_024 * 1_024;
/// Most bytes of all such events of this replica.
const ALL_BYTES: usize = 64 * 1_024 * 1_024;
/// What an event takes beside its canonical form, as a structure, for each of its bytes.
const OVERHEAD_FACTOR: usize = 3;

/// An event of a log, shared by those who watch it.
#[derive(Debug)]
pub struct Recent {
    /// Position in the log.
    pub sequence: u64,
    payload: Vec<u8>,
    leaf_hash: Hash,
    record: OnceLock<Option<EventRecord>>,
}

impl Recent {
    /// An event that is committed.
    pub const fn new(sequence: u64, payload: Vec<u8>, leaf_hash: Hash) -> Self {
        Self { sequence, payload, leaf_hash, record: OnceLock::new() }
    }

    /// The canonical bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The event; read from its canonical form when somebody first asks. `None` if that cannot be
    /// understood: it was changed behind the service's back.
    pub fn record(&self) -> Option<&EventRecord> {
        let read = || {
            let logged: LoggedEvent = serde_json::from_slice(&self.payload).ok()?;
            Some(EventRecord { sequence: self.sequence, logged, leaf_hash: self.leaf_hash })
        };
        self.record.get_or_init(read).as_ref()
    }

    fn bytes(&self) -> usize {
        self.payload.len() * OVERHEAD_FACTOR + size_of::<Self>()
    }
}

impl From<WatchRow> for Recent {
    fn from(row: WatchRow) -> Self {
        Self::new(row.sequence, row.payload, row.leaf_hash)
    }
}

/// The bytes that all logs of this replica keep together.
#[derive(Debug, Default)]
pub struct Budget(AtomicUsize);

/// The newest events of one log, without gaps between them. Bounded: the oldest give way.
#[derive(Debug)]
pub struct RecentEvents {
    /// Sequence of the first, or of the next to come if there is none.
    first: u64,
    events: VecDeque<Arc<Recent>>,
    bytes: usize,
    budget: Arc<Budget>,
    /// Whether anything was added since the last [`RecentEvents::age`].
    fresh: bool,
}

impl RecentEvents {
    /// Nothing yet.
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { first: 0, events: VecDeque::new(), bytes: 0, budget, fresh: false }
    }

    /// Sequence of the first event that is kept; `None` if there is none.
    pub fn first(&self) -> Option<u64> {
        (!self.events.is_empty()).then_some(self.first)
    }

    /// Sequence after the last one.
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// Adds events of the log. Those that are there already are left alone; if they do not follow
    /// what is there, that is forgotten.
    pub fn add(&mut self, events: impl IntoIterator<Item = Arc<Recent>>) {
        for event in events {
            if event.sequence < self.end() && !self.events.is_empty() {
                continue;
            }
            if event.sequence != self.end() {
                self.clear();
                self.first = event.sequence;
            }
            let bytes = event.bytes();
            self.bytes += bytes;
            self.budget.0.fetch_add(bytes, Ordering::Relaxed);
            self.events.push_back(event);
            self.fresh = true;
        }
        while self.bytes > LOG_BYTES || self.budget.0.load(Ordering::Relaxed) > ALL_BYTES {
            let Some(oldest) = self.events.pop_front() else { return };
            self.first += 1;
            self.give_back(oldest.bytes());
        }
    }

    /// The events from a sequence on, as many as the bounds allow; `None` if that one is not kept.
    pub fn from(&self, sequence: u64, bounds: PartBounds) -> Option<Vec<Arc<Recent>>> {
        let start = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        let mut bytes = 0;
        let within = |event: &&Arc<Recent>| {
            bytes += event.payload.len();
            bytes <= bounds.bytes || bytes == event.payload.len()
        };
        let events = self.events.range(start.min(self.events.len())..);
        let events: Vec<_> = events.take(bounds.events).take_while(within).cloned().collect();
        (!events.is_empty()).then_some(events)
    }

    /// To be called now and then: forgets everything if nothing was added since the last time.
    pub fn age(&mut self) {
        if !std::mem::take(&mut self.fresh) {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.first = self.end();
        self.events = VecDeque::new();
        self.give_back(self.bytes);
    }

    fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for RecentEvents {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: PartBounds = PartBounds { events: usize::MAX, bytes: usize::MAX };

    fn event(sequence: u64, bytes: usize) -> Arc<Recent> {
        Arc::new(Recent::new(sequence, vec![0; bytes], [0; 32]))
    }

    fn sequences(events: &RecentEvents, from: u64, bounds: PartBounds) -> Option<Vec<u64>> {
        Some(events.from(from, bounds)?.iter().map(|event| event.sequence).collect())
    }

    #[test]
    fn events_follow_each_other() {
        let mut recent = RecentEvents::new(Arc::default());
        recent.add((5..8).map(|sequence| event(sequence, 10)));
        assert_eq!(sequences(&recent, 6, ALL), Some(vec![6, 7]));
        assert_eq!((sequences(&recent, 4, ALL), sequences(&recent, 8, ALL)), (None, None));
        // Told twice, by the lane and by a read.
        recent.add((6..9).map(|sequence| event(sequence, 10)));
        assert_eq!(sequences(&recent, 5, ALL), Some(vec![5, 6, 7, 8]));
        // A gap.
        recent.add([event(20, 10)]);
        assert_eq!((recent.first(), sequences(&recent, 5, ALL)), (Some(20), None));
        assert_eq!(sequences(&recent, 20, ALL), Some(vec![20]));
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let budget = Arc::new(Budget::default());
        let mut logs: Vec<_> = (0..100).map(|_| RecentEvents::new(budget.clone())).collect();
        for sequence in 0..20 {
            for log in &mut logs {
                log.add([event(sequence, 100_000)]);
                assert!(log.bytes <= LOG_BYTES && budget.0.load(Ordering::Relaxed) <= ALL_BYTES);
            }
        }
        assert!(logs.iter().any(|log| log.from(19, ALL).is_some()));
        // Fresh at first, old the second time.
        logs[0].age();
        logs[0].age();
        assert_eq!((logs[0].first(), logs[0].bytes), (None, 0));
        drop(logs);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_part_is_as_large_as_it_may_be_and_never_empty() {
        let mut recent = RecentEvents::new(Arc::default());
        recent.add((0..4).map(|sequence| event(sequence, 100)));
        let bounds = |events, bytes| PartBounds { events, bytes };
        assert_eq!(sequences(&recent, 0, bounds(3, 1_000)), Some(vec![0, 1, 2]));
        assert_eq!(sequences(&recent, 0, bounds(9, 250)), Some(vec![0, 1]));
        assert_eq!(sequences(&recent, 1, bounds(9, 10)), Some(vec![1]));
    }
}
