//! The first place at which events and tiles tell different things, and what speaks for which.

use super::{Finding, Kind};
use crate::merkle::Hash;

/// The first event whose leaf is not the one that its tile has.
#[derive(Debug, Clone)]
pub struct Suspect {
    /// Where.
    pub sequence: u64,
    /// The leaf that is there.
    actual: Hash,
    /// The leaf that the tile has for that place.
    expected: Hash,
    /// Where the expected leaf is instead.
    moved_to: Option<u64>,
    /// The place that the tiles have for the actual leaf.
    belongs_at: Option<u64>,
    /// Whether a part of the log that cannot be had from the tile alone agrees with the event.
    pub for_event: bool,
    /// Whether one agrees with the tile.
    pub for_tile: bool,
}

impl Suspect {
    pub fn new(sequence: u64, actual: Hash, expected: Hash) -> Self {
        Self {
            sequence,
            actual,
            expected,
            moved_to: None,
            belongs_at: None,
            for_event: false,
            for_tile: false,
        }
    }

    /// Looks at a leaf after the suspected one: at what is there, and at what the tile has.
    pub fn compare(&mut self, sequence: u64, there: Option<&Hash>, told: Option<&Hash>) {
        if there == Some(&self.expected) && sequence > self.sequence {
            self.moved_to.get_or_insert(sequence);
        }
        if told == Some(&self.actual) && sequence > self.sequence {
            self.belongs_at.get_or_insert(sequence);
        }
    }

    /// What happened. `tiled`: the sequence from which on there are no complete tiles; `rows`: events
    /// that are there, `size`: as the head says.
    pub fn finding(&self, tiled: u64, rows: u64, size: u64) -> Finding {
        let sequence = self.sequence;
        let new = |kind, what| Finding::new(kind, Some(sequence), what);
        if self.for_event && !self.for_tile {
            let what = "the tile has another hash than the event, with which the rest of the log \
                        agrees";
            return new(Kind::Tile, what.to_owned());
        }
        match (self.moved_to, self.belongs_at) {
            (Some(to), Some(_)) => {
                new(Kind::Reordered, format!("the event of this place is at sequence {to}"))
            }
            // No tile tells what belongs to that place.
            (Some(to), None) if to >= tiled && rows == size => {
                new(Kind::Reordered, format!("the event of this place is at sequence {to}"))
            }
            (Some(to), None) => new(
                Kind::Inserted,
                format!("the event was not recorded here; that of this place is at sequence {to}"),
            ),
            (None, Some(from)) => new(
                Kind::Missing,
                format!("the event is gone, and that of sequence {from} has moved up"),
            ),
            // What was to come there is after the last tile, and so not known.
            (None, None) if rows < size && sequence + (size - rows) >= tiled => {
                new(Kind::Missing, "the event is gone, and another has moved up".to_owned())
            }
            (None, None) => new(
                Kind::Changed,
                "the event has another leaf hash than its tile: it was changed together with its \
                 hash"
                    .to_owned(),
            ),
        }
    }
}
