//! How far behind log streams are, added up by kind of destination: a label for each stream would have as
//! many values as there are tenants.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::UNIX_EPOCH,
};

use super::request::now;

type Size = Box<dyn Fn() -> u64 + Send + Sync>;

/// What one log stream tells of itself while it is forwarded.
pub struct StreamGauge {
    destination: &'static str,
    state: Mutex<&'static str>,
    size: OnceLock<Size>,
    next: AtomicU64,
    /// Microseconds since 1970; 0 if it is not known that something waits.
    waiting_since: AtomicI64,
}

/// The log streams that are forwarded here.
#[derive(Default)]
pub struct Streams(Mutex<Vec<Weak<StreamGauge>>>);

/// The log streams of one kind of destination.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DestinationSum {
    pub(super) events: f64,
    pub(super) most_events: f64,
    pub(super) most_seconds: f64,
}

impl StreamGauge {
    /// From what the size of its log is known.
    pub fn follows(&self, size: impl Fn() -> u64 + Send + Sync + 'static) {
        // One that opens its destination anew follows the same log.
        let _ = self.size.set(Box::new(size));
    }

    /// The next event is that one, and the oldest that waits was received then, in microseconds since
    /// 1970.
    pub fn waits(&self, next: u64, since_micros: i64) {
        self.next.store(next, Ordering::Relaxed);
        self.waiting_since.store(since_micros, Ordering::Relaxed);
    }

    /// Everything before an event was delivered, and so far as is known nothing waits.
    pub fn delivered(&self, next: u64) {
        self.waits(next, 0);
    }

    /// It is in another state.
    pub fn becomes(&self, state: &'static str) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn lag_events(&self) -> u64 {
        let size = self.size.get().map_or(0, |size| size());
        size.saturating_sub(self.next.load(Ordering::Relaxed))
    }

    fn lag_seconds(&self, now_micros: i64) -> f64 {
        let since = self.waiting_since.load(Ordering::Relaxed);
        if since == 0 || self.lag_events() == 0 {
            return 0.0;
        }
        as_float(u64::try_from(now_micros.saturating_sub(since)).unwrap_or_default()) / 1e6
    }
}

impl Streams {
    pub(super) fn join(&self, destination: &'static str, state: &'static str) -> Arc<StreamGauge> {
        let gauge = Arc::new(StreamGauge {
            destination,
            state: Mutex::new(state),
            size: OnceLock::new(),
            next: AtomicU64::new(0),
            waiting_since: AtomicI64::new(0),
        });
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|stream| stream.strong_count() > 0);
        streams.push(Arc::downgrade(&gauge));
        gauge
    }

    fn all(&self) -> Vec<Arc<StreamGauge>> {
        let streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        streams.iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn by_state(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let mut counts = BTreeMap::new();
        for stream in self.all() {
            let state = *stream.state.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry((stream.destination, state)).or_default() += 1;
        }
        counts
    }

    pub(super) fn by_destination(&self) -> BTreeMap<&'static str, DestinationSum> {
        let now = now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut sums: BTreeMap<&'static str, DestinationSum> = BTreeMap::new();
        for stream in self.all() {
            let sum = sums.entry(stream.destination).or_default();
            let events = as_float(stream.lag_events());
            sum.events += events;
            sum.most_events = sum.most_events.max(events);
            sum.most_seconds = sum.most_seconds.max(stream.lag_seconds(now));
        }
        sums
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for a graph")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_a_destination_are_added_up_and_forgotten_when_they_end() {
        let streams = Streams::default();
        let (one, other) = (streams.join("splunk", "active"), streams.join("splunk", "error"));
        one.follows(|| 10);
        one.delivered(10);
        other.follows(|| 10);
        other.waits(4, 1);
        let sum = streams.by_destination()["splunk"];
        assert!((sum.events - 6.0).abs() < 0.1 && (sum.most_events - 6.0).abs() < 0.1);
        assert!(sum.most_seconds > 1e6);
        assert_eq!(streams.by_state()[&("splunk", "error")], 1);
        other.delivered(10);
        assert!(streams.by_destination()["splunk"].most_seconds < 0.1);
        drop((one, other));
        assert!(streams.by_state().is_empty() && streams.by_destination().is_empty());
    }
}
