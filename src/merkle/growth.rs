//! What a batch of new leaves does to a tree.

use super::proof::NodeId;
use super::tile::{TILE_HEIGHT, TileId};
use super::{Frontier, Hash, empty_root, node_hash};

/// A tree before and after leaves were appended, with every node that they completed: all that is
/// needed to store the new leaves and to prove each of them, computed once, with about as many
/// hashes as there are leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    before: Frontier,
    after: Frontier,
    /// For each height, the perfect subtrees that hold a new leaf, from left to right; those of
    /// height h begin at index `before.size() >> h`. Height 0 is the leaves. Heights at which there
    /// are none are left out: there are none above them either.
    levels: Vec<Vec<Hash>>,
    /// For each peak of the tree after, the fold of it and those to its right.
    folds: Vec<Hash>,
}

impl Growth {
    /// Appends the leaves with these hashes to the tree.
    pub fn new(before: Frontier, leaves: Vec<Hash>) -> Self {
        let after_size = before.size() + leaves.len() as u64;
        let mut levels = vec![leaves];
        for height in 0.. {
            match parents(&before, height, &levels[usize::from(height)]) {
                hashes if hashes.is_empty() => break,
                hashes => levels.push(hashes),
            }
        }
        let mut growth = Self { before, after: Frontier::default(), levels, folds: Vec::new() };
        growth.after = Frontier::from_peaks(after_size, growth.peaks(after_size));
        growth.folds = folds(growth.after.peaks());
        growth
    }

    /// The tree before.
    pub fn before(&self) -> &Frontier {
        &self.before
    }

    /// The tree after.
    pub fn after(&self) -> &Frontier {
        &self.after
    }

    /// Root of the tree after.
    pub fn root(&self) -> Hash {
        self.folds.first().copied().unwrap_or_else(empty_root)
    }

    /// Hash of a perfect subtree that holds a new leaf, or that is a peak of the tree before.
    /// `None` for any other.
    pub fn node(&self, node: NodeId) -> Option<Hash> {
        let first = self.before.size().checked_shr(u32::from(node.height))?;
        let Some(position) = node.index.checked_sub(first) else {
            return self.before.node(node);
        };
        let level = self.levels.get(usize::from(node.height))?;
        level.get(usize::try_from(position).ok()?).copied()
    }

    /// Proof that the new leaf at `sequence` is in the tree after (RFC 9162, section 2.1.3.1), from
    /// the leaf's sibling up. `None` if it is no new leaf.
    pub fn inclusion_proof(&self, sequence: u64) -> Option<Vec<Hash>> {
        let size = self.after.size();
        if sequence < self.before.size() || sequence >= size {
            return None;
        }
        // The leaf is below the peak whose bit is the highest in which the two numbers differ.
        let peak_height = (sequence ^ size).ilog2();
        let peak = (size >> peak_height >> 1).count_ones() as usize;
        let mut proof = Vec::with_capacity(peak_height as usize + peak + 1);
        for height in 0..peak_height {
            #[expect(clippy::cast_possible_truncation, reason = "a logarithm of 64 bits")]
            let sibling = NodeId { height: height as u8, index: (sequence >> height) ^ 1 };
            proof.push(self.node(sibling)?);
        }
        proof.extend(self.folds.get(peak + 1));
        proof.extend(self.after.peaks()[..peak].iter().rev());
        Some(proof)
    }

    /// The tiles, of every level, that were not full before and are now, by level and index.
    pub fn completed_tiles(&self) -> Vec<TileId> {
        (0..u64::BITS / u32::from(TILE_HEIGHT) - 1)
            .flat_map(|level| {
                let height = (level + 1) * u32::from(TILE_HEIGHT);
                let full = self.before.size() >> height..self.after.size() >> height;
                #[expect(clippy::cast_possible_truncation, reason = "there are eight levels")]
                full.map(move |index| TileId { level: level as u8, index })
            })
            .collect()
    }

    /// Peaks of the tree after, largest first.
    fn peaks(&self, size: u64) -> Vec<Hash> {
        (0..64u8)
            .rev()
            .filter(|height| size >> height & 1 == 1)
            .filter_map(|height| self.node(NodeId { height, index: (size >> height) - 1 }))
            .collect()
    }
}

/// The perfect subtrees above those of `height` that hold a new leaf. The left half of the first
/// may lie wholly before the new leaves; then it is a peak of the tree before.
fn parents(before: &Frontier, height: u8, hashes: &[Hash]) -> Vec<Hash> {
    let first = before.size() >> height;
    let left = first.checked_sub(1).and_then(|index| before.node(NodeId { height, index }));
    let (joined, rest) = match (left, hashes.split_first()) {
        (Some(left), Some((right, rest))) => (Some(node_hash(&left, right)), rest),
        _ => (None, hashes),
    };
    let pairs = rest.as_chunks::<2>().0;
    joined.into_iter().chain(pairs.iter().map(|[left, right]| node_hash(left, right))).collect()
}

/// For each position, the fold of the peaks from there on.
fn folds(peaks: &[Hash]) -> Vec<Hash> {
    let mut folds = peaks.to_vec();
    for position in (1..folds.len()).rev() {
        folds[position - 1] = node_hash(&folds[position - 1], &folds[position]);
    }
    folds
}
