//! What vouches for a tree beside its tiles: checkpoints on the way, and the head at the end.

use std::ops::Range;

use super::{
    Finding, Kind,
    finding::First,
    tree::{End, Tree},
};
use crate::merkle::{Frontier, Hash, TILE_WIDTH, rebuild::perfect_root};

impl Tree {
    /// Holds the trees that end in the open tile against the checkpoints of their sizes. `actual` are
    /// the leaves that are there, `told` those that the tiles tell of; `tiled`: whether the tile is
    /// complete.
    pub(super) fn hear_witnesses(
        &mut self,
        actual: Option<&[Hash]>,
        told: Option<&[Hash]>,
        tiled: bool,
    ) {
        let first = self.first();
        let end = first + self.leaves.len() as u64;
        while let Some(witness) = self.witnesses.pop_front_if(|witness| witness.size <= end) {
            self.compared_witnesses += 1;
            // Those of the empty tree, and of trees that end with the tile before, are known by its
            // frontier.
            let [events, told] = [(&self.events, actual), (&self.told, told)]
                .map(|(tree, leaves)| root_at(tree.as_ref()?, leaves, witness.size));
            let knows_events = events == Some(witness.root);
            let knows_told = told == Some(witness.root);
            if knows_events && knows_told {
                self.confirmed = witness.size;
            } else if let Some(suspect) =
                self.suspect.as_mut().filter(|suspect| suspect.sequence < witness.size)
            {
                suspect.for_event |= knows_events;
                suspect.for_tile |= knows_told;
            }
            // Beyond the last tile, events that moved are not known to have a right place.
            let certain = tiled || self.suspect.is_none();
            if !knows_events && !knows_told && events.is_some() && told.is_some() && certain {
                self.contradict(&witness.name, witness.size);
            }
        }
    }

    fn contradict(&mut self, name: &str, size: u64) {
        let (start, last) = (self.confirmed, size.saturating_sub(1));
        let what = format!(
            "{name} is of another log than this: what it covers from sequence {start} to {last} was \
             changed after it was signed, and the tree with it"
        );
        self.contradictions.note(Finding::new(Kind::Checkpoint, Some(start), what));
    }

    /// Holds the end of the log against its head, which says `size` events, of which there are `rows`,
    /// and against the remaining witnesses. True if one of them knows a larger log.
    pub fn compare_with_head(
        &mut self,
        size: u64,
        rows: u64,
        head: Option<&Frontier>,
        extra: &First,
    ) -> bool {
        self.end.rows = if extra.is_empty() { rows } else { size.saturating_add(1) };
        self.end.size = size;
        if let Some(suspect) = &mut self.suspect {
            for (sequence, leaf) in (self.index * TILE_WIDTH..).zip(&self.leaves) {
                suspect.compare(sequence, leaf.as_ref(), None);
            }
        }
        let actual: Option<Vec<Hash>> = self.leaves.iter().copied().collect();
        let uncontradicted = self.contradictions.is_empty();
        self.hear_witnesses(actual.as_deref(), actual.as_deref(), false);
        if let Some(head) = head {
            self.compare_frontier(head);
        }
        // The head tells more exactly where the events are not what they were.
        if uncontradicted && self.end.head.as_ref().is_some_and(|found| found.kind != Kind::Head) {
            self.contradictions = First::default();
        }
        let larger = !self.witnesses.is_empty();
        while let Some(witness) = self.witnesses.pop_front() {
            self.compared_witnesses += 1;
            let what = format!("{} is of a larger log than this, of {size} events", witness.name);
            self.contradictions.note(Finding::new(Kind::Checkpoint, Some(size), what));
        }
        larger
    }

    /// Compares the peaks of the head with the subtrees of the events.
    fn compare_frontier(&mut self, head: &Frontier) {
        if head.size() / TILE_WIDTH != self.index {
            // Events are missing, which is known already.
            return;
        }
        let subtrees = subtrees(head.size());
        let mut wrong: Vec<&Range<u64>> = Vec::new();
        for (position, range) in subtrees.iter().enumerate() {
            let peak = head.peaks()[position];
            if range.end <= self.first() {
                let peak_of = |tree: &Option<Frontier>| Some(tree.as_ref()?.peaks()[position]);
                let [events, told] = [&self.events, &self.told].map(peak_of);
                if let Some(suspect) = self.suspect.as_mut().filter(|s| range.contains(&s.sequence))
                {
                    suspect.for_event |= events == Some(peak);
                    suspect.for_tile |= told == Some(peak);
                } else if events.is_some_and(|events| events != peak) {
                    wrong.push(range);
                }
            } else if self.suspect.is_none()
                && self.tail_root(range).is_some_and(|root| root != peak)
            {
                wrong.push(range);
            }
        }
        if let Some(range) = wrong.first() {
            let all = wrong.len() == subtrees.len() && wrong.len() > 1;
            self.end.head = Some(self.blame((*range).clone(), all));
        }
    }

    /// Root over events after the last complete tile, if they are all there.
    fn tail_root(&self, range: &Range<u64>) -> Option<Hash> {
        let place = |sequence: u64| usize::try_from(sequence - self.first()).ok();
        let leaves = self.leaves.get(place(range.start)?..place(range.end)?)?;
        Some(perfect_root(&leaves.iter().copied().collect::<Option<Vec<_>>>()?))
    }

    /// What it means that a peak of the head is not the subtree over the events of `range`. `all`: no
    /// peak is.
    fn blame(&self, range: Range<u64>, all: bool) -> Finding {
        let (start, last) = (range.start.max(self.confirmed), range.end - 1);
        let End { rows, size, .. } = &self.end;
        let is_known = range.end <= self.first() || self.confirmed >= range.end;
        if is_known || all && rows == size {
            let start = range.start;
            let what =
                format!("the frontier of the head does not fit the events {start} to {last}");
            return Finding::new(Kind::Head, Some(start), what);
        }
        let (kind, what) = match rows.cmp(size) {
            std::cmp::Ordering::Less => (Kind::Missing, "is gone, and those after it moved up"),
            std::cmp::Ordering::Greater => (Kind::Inserted, "was not recorded"),
            std::cmp::Ordering::Equal => {
                let what = "was changed with its hash, or moved; or the head was changed";
                (Kind::Changed, what)
            }
        };
        let what = format!(
            "the events {start} to {last} do not hash to what the head of the log has: one of them \
             {what}"
        );
        Finding::new(kind, Some(start), what)
    }
}

/// Root of the tree of `size` leaves, given the tree before the open tile and the leaves of that.
fn root_at(before: &Frontier, leaves: Option<&[Hash]>, size: u64) -> Option<Hash> {
    let further = usize::try_from(size.checked_sub(before.size())?).ok()?;
    let mut tree = before.clone();
    if further > 0 {
        leaves?.get(..further)?.iter().for_each(|leaf| tree.push(*leaf));
    }
    Some(tree.root())
}

/// The perfect subtrees whose roots are the peaks of a tree, as ranges of sequences, in order.
fn subtrees(size: u64) -> Vec<Range<u64>> {
    let mut start = 0;
    let heights = (0..u64::BITS).rev().filter(|height| size >> height & 1 == 1);
    let ranges = heights.map(|height| {
        let range = start..start + (1 << height);
        start = range.end;
        range
    });
    ranges.collect()
}
