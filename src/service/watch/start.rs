//! Where a watcher starts.

use crate::{
    domain::{
        caller::Tenant,
        event_draft::TimeDraft,
        timestamp::Timestamp,
        violation::{Reason, Violations},
    },
    service::error::Result,
    store::Store,
};

/// Where to start, as sent.
#[derive(Debug, Clone, Copy, Default)]
pub enum WatchStart {
    /// At the end of the log.
    #[default]
    Now,
    /// At a sequence.
    Sequence(u64),
    /// At the first event that was received at a time or later.
    Time(TimeDraft),
}

/// The same, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) enum CheckedStart {
    Now,
    Sequence(u64),
    Time(Timestamp),
}

impl WatchStart {
    pub(in crate::service) fn check(self, violations: &mut Violations) -> CheckedStart {
        match self {
            Self::Now => CheckedStart::Now,
            Self::Sequence(sequence) => CheckedStart::Sequence(sequence),
            Self::Time(time) => {
                time.required("from_time", violations).map_or(CheckedStart::Now, CheckedStart::Time)
            }
        }
    }
}

/// Events get their time of receipt a moment before their place in the log, and replicas have clocks of
/// their own: within so many seconds, later events can stand before earlier ones.
const DISORDER_SECONDS: i64 = 60;

/// A log as it is when the call arrives.
pub(in crate::service) struct Start<'a> {
    pub store: &'a Store,
    pub tenant: &'a Tenant,
    /// How many events it has.
    pub size: u64,
}

impl Start<'_> {
    /// The first sequence to look at.
    pub async fn sequence(&self, start: CheckedStart, now: Timestamp) -> Result<u64> {
        match start {
            CheckedStart::Now => Ok(self.size),
            CheckedStart::Sequence(sequence) if sequence > self.size => {
                let mut violations = Violations::default();
                let description = format!(
                    "from_sequence must not be beyond the end of the log, which has {} events",
                    self.size
                );
                violations.add("from_sequence", Reason::OutOfRange, description);
                Err(violations.into_found().into())
            }
            CheckedStart::Sequence(sequence) => self.first_kept(sequence).await,
            CheckedStart::Time(since) if since > now => Ok(self.size),
            CheckedStart::Time(since) => self.first_since(since).await,
        }
    }

    /// The first sequence from there on whose event was not erased, or the end of the log.
    async fn first_kept(&self, sequence: u64) -> Result<u64> {
        let first = self.store.first_event_from(self.tenant, sequence).await?;
        Ok(first.map_or(self.size, |(sequence, _)| sequence.min(self.size)))
    }

    /// Halves the log until it is clear where the time begins, and then looks at each event, since near
    /// that place they may not stand in the order of their receipt.
    async fn first_since(&self, since: Timestamp) -> Result<u64> {
        let earlier = since.plus_seconds(-DISORDER_SECONDS);
        let (mut low, mut high) = (0, self.size);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.store.first_event_from(self.tenant, middle).await? {
                Some((sequence, received)) if received < earlier => low = sequence + 1,
                _ => high = middle,
            }
        }
        let first = self.store.first_event_since(self.tenant, low, since).await?;
        Ok(first.map_or(self.size, |first| first.min(self.size)))
    }
}
