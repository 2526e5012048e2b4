//! The right edge of a tree: all that is needed to append to it and to know its root.

use super::proof::{NodeId, fold};
use super::{Hash, empty_root, node_hash};

/// Largest number of leaves of a tree that we grow. Sequences are signed 64-bit numbers in the
/// database, and below this bound no sum of two sizes overflows.
pub const MAX_SIZE: u64 = 1 << 63;

/// A tree reduced to its peaks: the roots of the maximal perfect subtrees of its leaves, of which
/// there is one for each bit that is set in the tree's size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// From the largest subtree to the smallest, so from left to right.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Frontier of `size` leaves from the concatenated peaks, largest first. `None` if there are
    /// not as many peaks as `size` has bits set, or if `size` is above [`MAX_SIZE`].
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Option<Self> {
        let (peaks, rest) = bytes.as_chunks::<32>();
        let fits = rest.is_empty() && peaks.len() as u64 == u64::from(size.count_ones());
        (fits && size <= MAX_SIZE).then(|| Self { size, peaks: peaks.to_vec() })
    }

    /// Frontier of a tree of `size` leaves with the given peaks, one for each bit set in `size`.
    pub(super) fn from_peaks(size: u64, peaks: Vec<Hash>) -> Self {
        debug_assert_eq!(peaks.len() as u64, u64::from(size.count_ones()));
        Self { size, peaks }
    }

    /// The concatenated peaks, largest first: 32 bytes for each bit set in the size.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.peaks.concat()
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the maximal perfect subtrees, largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Root of the tree (RFC 6962, section 2.1).
    pub fn root(&self) -> Hash {
        fold(&self.peaks).unwrap_or_else(empty_root)
    }

    /// Hash of a node that is one of the peaks; `None` for any other.
    pub fn node(&self, node: NodeId) -> Option<Hash> {
        let through = self.size.checked_shr(u32::from(node.height))?;
        let is_peak = through % 2 == 1 && node.index == through - 1;
        // Each bit above the node's is a larger peak before it.
        let position = (through >> 1).count_ones() as usize;
        is_peak.then(|| self.peaks[position])
    }

    /// Appends a leaf, given by its hash. Takes one hash for each perfect subtree that it
    /// completes. At the size of [`MAX_SIZE`] nothing can follow, which nobody lives to see.
    pub fn push(&mut self, leaf: Hash) {
        self.append(0, leaf);
    }

    /// Appends a perfect subtree of 2^`height` leaves, given by its root. `None`, and nothing is
    /// changed, if the size is no multiple of 2^`height` or would come to exceed [`MAX_SIZE`].
    pub fn push_subtree(&mut self, height: u8, hash: Hash) -> Option<()> {
        let leaves = 1u64.checked_shl(u32::from(height))?;
        let fits = self.size.is_multiple_of(leaves) && leaves <= MAX_SIZE.checked_sub(self.size)?;
        fits.then(|| self.append(height, hash))
    }

    fn append(&mut self, height: u8, mut hash: Hash) {
        // As in binary addition: one carry for each bit that is set from `height` on.
        for _ in 0..(self.size >> height).trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1 << height;
    }
}
