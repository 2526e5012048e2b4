//! Slows down who guesses keys: sources of requests whose keys were refused have a budget of such
//! requests, after which they are refused without a look at the database.

use core::net::IpAddr;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;

use crate::domain::source::source_of;

/// Most sources that are counted at a time, some 100 bytes each. When there are more, those are forgotten
/// that failed least often and longest ago.
const SOURCES: usize = 50_000;
/// The time for which the budget is given.
const MINUTE: Duration = Duration::from_mins(1);

/// Counts refused keys by source, as a bucket that leaks evenly (the generic cell rate algorithm): what
/// is kept of a source is the time at which its bucket would be empty. Cheap to clone.
#[derive(Clone)]
pub struct Failures {
    sources: Arc<Cache<IpAddr, Arc<AtomicU64>>>,
    start: Instant,
    /// What one failure takes of the time that a minute's budget has; `None` for no limit.
    cost: Option<Duration>,
}

impl Failures {
    /// Each source may fail so often at once, and so often a minute; 0 for no limit.
    pub fn new(per_minute: u32) -> Self {
        let cost = (per_minute > 0).then(|| MINUTE / per_minute);
        Self { sources: Arc::new(Cache::new(SOURCES)), start: Instant::now(), cost }
    }

    /// Whether a source has spent its budget.
    pub fn is_spent(&self, source: IpAddr, now: Instant) -> bool {
        let Some(cost) = self.cost else { return false };
        let Some(empty_at) = self.sources.get(&source_of(source)) else { return false };
        empty_at.load(Ordering::Relaxed) > self.micros(now + MINUTE.saturating_sub(cost))
    }

    /// Notes a failure.
    pub fn note(&self, source: IpAddr, now: Instant) {
        let Some(cost) = self.cost else { return };
        let found = self.sources.get_or_insert_with(&source_of(source), || {
            Ok::<_, std::convert::Infallible>(Arc::default())
        });
        let Ok(empty_at) = found;
        let (now, cost) = (self.micros(now), u64::try_from(cost.as_micros()).unwrap_or(u64::MAX));
        // Never more than the budget: those that were under way together do not make it longer.
        let most = now.saturating_add(u64::try_from(MINUTE.as_micros()).unwrap_or(u64::MAX));
        let add = |empty_at: u64| Some(empty_at.max(now).saturating_add(cost).min(most));
        // Always succeeds: there is always a next value.
        let _ = empty_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_comes_back_evenly() {
        let failures = Failures::new(3);
        let (now, source) = (failures.start, "198.51.100.1".parse().unwrap());
        for _ in 0..3 {
            assert!(!failures.is_spent(source, now));
            failures.note(source, now);
        }
        assert!(failures.is_spent(source, now));
        assert!(!failures.is_spent("198.51.100.2".parse().unwrap(), now));
        let later = now + Duration::from_secs(19);
        assert!(failures.is_spent(source, later));
        let later = now + Duration::from_secs(20);
        assert!(!failures.is_spent(source, later));
        failures.note(source, later);
        assert!(failures.is_spent(source, later));
        assert!(!failures.is_spent(source, now + MINUTE * 3));
    }

    #[test]
    fn what_was_under_way_together_makes_the_wait_no_longer() {
        let failures = Failures::new(60);
        let (now, source) = (failures.start, "198.51.100.1".parse().unwrap());
        for _ in 0..1_000 {
            failures.note(source, now);
        }
        assert!(failures.is_spent(source, now));
        assert!(!failures.is_spent(source, now + Duration::from_secs(1)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let failures = Failures::new(1);
        let (now, of) = (failures.start, |text: &str| text.parse().unwrap());
        failures.note(of("2001:db8:1:2::1"), now);
        assert!(failures.is_spent(of("2001:db8:1:2:ffff::9"), now));
        assert!(!failures.is_spent(of("2001:db8:1:3::1"), now));
        failures.note(of("::ffff:198.51.100.1"), now);
        assert!(failures.is_spent(of("198.51.100.1"), now));
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let (failures, source) = (Failures::new(0), "198.51.100.1".parse().unwrap());
        for _ in 0..1_000 {
            failures.note(source, failures.start);
        }
        assert!(!failures.is_spent(source, failures.start) && failures.sources.is_empty());
    }
}
