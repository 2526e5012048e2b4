//! Which events retention erases, and what becomes of their rows.
//!
//! A log is erased from its beginning, so that one number says what is gone. An event whose leaf hash
//! is in a complete tile needs no row any more; of the others a row stays that has the leaf hash and
//! nothing else, a tombstone, until the tile is complete.

use std::ops::Range;

use super::timestamp::Timestamp;

const SECONDS_PER_DAY: i64 = 86_400;

/// That nothing of a log may be erased, whatever its retention period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegalHold {
    /// Since when.
    pub placed_at: Timestamp,
    /// Why, in the words of who placed it; may be empty.
    pub reason: String,
}

/// What retention did to a log and whether it may go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionState {
    /// Events that were erased.
    pub erased_events: u64,
    /// The hold, if there is one.
    pub hold: Option<LegalHold>,
}

/// The instant that is `days` before `now`: what was received before it is past its retention.
pub fn cutoff(now: Timestamp, days: u32) -> Timestamp {
    now.plus_seconds(-i64::from(days) * SECONDS_PER_DAY)
}

/// A row of a log, as far as retention looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Position in the log.
    pub sequence: u64,
    /// When the event was received.
    pub received: Timestamp,
    /// Whether the event is erased already.
    pub is_tombstone: bool,
}

/// How far a log can be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// The first sequence that stays.
    pub end: u64,
    /// Whether it stays because the row that should be there is gone or blank. Retention did not do
    /// that, and must not cover it up.
    pub is_broken: bool,
}

/// The longest run of events from sequence `start` on that were all received before `cutoff`. `rows`
/// are those of the log of `size` events from `start` on, in order, perhaps not to its end.
pub fn expired_prefix(
    rows: impl IntoIterator<Item = Candidate>,
    start: u64,
    size: u64,
    cutoff: Timestamp,
) -> Prefix {
    let mut end = start;
    for row in rows {
        if end >= size {
            break;
        }
        if row.sequence != end || row.is_tombstone {
            return Prefix { end, is_broken: true };
        }
        if row.received >= cutoff {
            break;
        }
        end += 1;
    }
    Prefix { end, is_broken: false }
}

/// How far a log is erased. Both numbers only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// The first sequence whose event is not erased.
    pub below: u64,
    /// The first sequence whose row is not deleted: from here to `below` there are tombstones.
    pub deleted_below: u64,
}

/// What one step does to the rows of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Rows that are deleted, tombstones among them.
    pub delete: Range<u64>,
    /// Rows that become tombstones.
    pub bury: Range<u64>,
    /// How far the log is erased afterwards.
    pub after: Erased,
}

impl Erased {
    /// Erases the events before `end`, in a log whose first `tiled` leaves are in complete tiles. An
    /// `end` that is not beyond what is erased already still deletes tombstones.
    pub fn advance(self, end: u64, tiled: u64) -> Step {
        let below = end.max(self.below);
        let deleted_below = below.min(tiled).max(self.deleted_below);
        Step {
            delete: self.deleted_below..deleted_below,
            bury: self.below.max(deleted_below)..below,
            after: Self { below, deleted_below },
        }
    }

    /// Tombstones that there are.
    pub fn tombstones(self) -> u64 {
        self.below.saturating_sub(self.deleted_below)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(sequence: u64, received: i64) -> Candidate {
        let received = Timestamp::from_micros(received);
        Candidate { sequence, received, is_tombstone: false }
    }

    #[test]
    fn an_event_is_kept_to_the_microsecond() {
        let now = Timestamp::parse_rfc3339("2026-03-31T12:00:00Z").unwrap();
        let cutoff = cutoff(now, 30);
        assert_eq!(cutoff, Timestamp::parse_rfc3339("2026-03-01T12:00:00Z").unwrap());
        let end = |received: i64| {
            let row = row(0, cutoff.micros() + received);
            expired_prefix([row], 0, 1, cutoff).end
        };
        assert_eq!([end(-1), end(0), end(1)], [1, 0, 0]);
    }

    #[test]
    fn a_prefix_ends_at_the_first_event_that_stays() {
        let prefix = |rows: &[Candidate], start, size| {
            let prefix =
                expired_prefix(rows.iter().copied(), start, size, Timestamp::from_micros(10));
            (prefix.end, prefix.is_broken)
        };
        let old = [row(3, 1), row(4, 9), row(5, 2)];
        assert_eq!(prefix(&old, 3, 9), (6, false));
        assert_eq!(prefix(&old, 3, 5), (5, false), "what is beyond the log is no part of it");
        assert_eq!(prefix(&[row(3, 1), row(4, 10), row(5, 2)], 3, 9), (4, false));
        assert_eq!(prefix(&[row(3, 1), row(5, 2)], 3, 9), (4, true));
        assert_eq!(prefix(&[row(4, 1)], 3, 9), (3, true));
        let blank = Candidate { is_tombstone: true, ..row(4, 0) };
        assert_eq!(prefix(&[row(3, 1), blank, row(5, 1)], 3, 9), (4, true));
        assert_eq!(prefix(&[], 3, 9), (3, false));
    }

    proptest! {
        /// However a log grows and ages, each row meets its fate exactly once, and none too early.
        #[test]
        fn every_row_goes_once(ends in prop::collection::vec((0_u64..900, 0_u64..4), 1..12)) {
            let (mut state, mut tiled, mut buried, mut deleted) = (Erased::default(), 0, 0, 0);
            for (more, tiles) in ends {
                tiled += tiles * 256;
                // A log ends at most 255 events after its last complete tile.
                let end = (state.below + more).min(tiled + 255);
                let Step { delete, bury, after } = state.advance(end, tiled);
                prop_assert_eq!(delete.start, deleted);
                prop_assert!(delete.end >= delete.start && delete.end <= tiled);
                prop_assert!(bury.start >= state.below && bury.start >= delete.end);
                prop_assert!(bury.end >= bury.start || bury.is_empty());
                prop_assert!(bury.is_empty() || bury.start >= tiled && bury.end == after.below);
                // What is newly erased is deleted or buried, and nothing is both.
                let newly = after.below - state.below;
                let deleted_now = delete.end.saturating_sub(delete.start.max(state.below));
                let buried_now = bury.end.saturating_sub(bury.start);
                prop_assert_eq!(newly, deleted_now + buried_now);
                deleted = delete.end;
                buried += buried_now;
                prop_assert!(after.below >= state.below && after.deleted_below == deleted);
                prop_assert!(after.tombstones() < 256 && after.tombstones() <= buried);
                state = after;
                let again = state.advance(state.below, tiled);
                prop_assert!(again.delete.is_empty() && again.bury.is_empty());
            }
        }
    }
}
