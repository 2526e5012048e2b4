//! Inclusion and consistency proofs (RFC 9162, sections 2.1.3 and 2.1.4): which nodes they are
//! made of, and how they are checked.

use super::{Hash, empty_root, node_hash};
use thiserror::Error;

/// A perfect subtree, over the leaves from `index << height` up to `(index + 1) << height`
/// exclusive. Height 0 is a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Logarithm to base 2 of the number of leaves, at most 63.
    pub height: u8,
    /// Position among the subtrees of that height, from the left.
    pub index: u64,
}

/// Why a proof does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofError {
    /// There is no such leaf in the tree.
    #[error("leaf {sequence} is not in a tree of {size} leaves")]
    LeafOutsideTree {
        /// Position of the leaf.
        sequence: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// The tree that is said to be later is smaller.
    #[error("a tree of {first} leaves cannot have grown into one of {second}")]
    TreeShrank {
        /// Leaves of the earlier tree.
        first: u64,
        /// Leaves of the later tree.
        second: u64,
    },
    /// A proof for these positions and sizes has fewer or more hashes.
    #[error("the proof has {actual} hashes instead of {expected}")]
    WrongLength {
        /// Hashes in the proof.
        actual: usize,
        /// Hashes that such a proof has.
        expected: usize,
    },
    /// The proof leads to another root: the leaf is not at that place in that tree.
    #[error("the proof does not lead from the leaf to the root of the tree")]
    WrongRoot,
    /// The proof starts from another earlier tree.
    #[error("the proof does not lead to the root of the earlier tree")]
    WrongFirstRoot,
    /// The proof ends in another later tree.
    #[error("the proof does not lead to the root of the later tree")]
    WrongSecondRoot,
}

/// The maximal aligned perfect subtrees that together cover the leaves from `start` up to `end`
/// exclusive, from left to right: at most 126. Empty if the range is empty.
pub fn range_nodes(start: u64, end: u64) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let mut next = start;
    while next < end {
        let height = next.trailing_zeros().min((end - next).ilog2());
        #[expect(clippy::cast_possible_truncation, reason = "a logarithm of 64 bits is below 64")]
        nodes.push(NodeId { height: height as u8, index: next >> height });
        next += 1 << height;
    }
    nodes
}

/// Combines the roots of neighbouring subtrees, given from left to right, each at most as large as
/// the one before it: H(a, H(b, c)). `None` if there are none.
pub fn fold(hashes: &[Hash]) -> Option<Hash> {
    hashes.iter().rev().copied().reduce(|right, left| node_hash(&left, &right))
}

/// What the inclusion proof of leaf `sequence` in the tree of `size` leaves is made of (RFC 9162,
/// section 2.1.3.1): for each of its hashes, from the leaf's sibling up, the nodes whose [`fold`]
/// it is. `None` if there is no such leaf.
pub fn inclusion_nodes(sequence: u64, size: u64) -> Option<Vec<Vec<NodeId>>> {
    if sequence >= size {
        return None;
    }
    let mut siblings = Vec::new();
    let mut tree = (0, size);
    while tree.1 - tree.0 > 1 {
        let (left, right) = split(tree);
        let (inside, sibling) = if sequence < left.1 { (left, right) } else { (right, left) };
        siblings.push(range_nodes(sibling.0, sibling.1));
        tree = inside;
    }
    siblings.reverse();
    Some(siblings)
}

/// What the consistency proof between the trees of `first` and of `second` leaves is made of (RFC
/// 9162, section 2.1.4.1): for each of its hashes, in order, the nodes whose [`fold`] it is. There
/// are none from the empty tree, nor between trees of one size. `None` if `first` is above
/// `second`.
pub fn consistency_nodes(first: u64, second: u64) -> Option<Vec<Vec<NodeId>>> {
    if first > second {
        return None;
    }
    let mut hashes = Vec::new();
    let mut tree = (0, second);
    while first > 0 && first != tree.1 {
        let (left, right) = split(tree);
        let (inside, sibling) = if first <= left.1 { (left, right) } else { (right, left) };
        hashes.push(range_nodes(sibling.0, sibling.1));
        tree = inside;
    }
    // What is left ends where the earlier tree does. If it starts there too, its hash is that
    // tree's root, which the verifier knows.
    if first > 0 && tree.0 > 0 {
        hashes.push(range_nodes(tree.0, tree.1));
    }
    hashes.reverse();
    Some(hashes)
}

/// Splits a range of at least two leaves as RFC 9162 does (section 2.1.1): the left part is the
/// largest power of two below its length.
fn split((start, end): (u64, u64)) -> ((u64, u64), (u64, u64)) {
    let middle = start + (1 << (end - start - 1).ilog2());
    ((start, middle), (middle, end))
}

/// Checks that `leaf` is the leaf hash at `sequence` in the tree of `size` leaves with root `root`
/// (RFC 9162, section 2.1.3.2).
pub fn verify_inclusion(
    leaf: &Hash,
    sequence: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if sequence >= size {
        return Err(ProofError::LeafOutsideTree { sequence, size });
    }
    let mut path = Path { node: sequence, last: size - 1 };
    check_length(proof, path.length())?;
    let mut hash = *leaf;
    for sibling in proof {
        hash = if path.climb() { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) };
    }
    if hash == *root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// Checks that the tree of `first` leaves with root `first_root` is the beginning of the tree of
/// `second` leaves with root `second_root` (RFC 9162, section 2.1.4.2). The proof is empty from
/// the empty tree, which is the beginning of every tree, and between trees of one size.
pub fn verify_consistency(
    first: u64,
    second: u64,
    first_root: &Hash,
    second_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if first > second {
        return Err(ProofError::TreeShrank { first, second });
    }
    if first == 0 || first == second {
        check_length(proof, 0)?;
        let expected = if first == 0 { empty_root() } else { *second_root };
        return if *first_root == expected { Ok(()) } else { Err(ProofError::WrongFirstRoot) };
    }
    let mut path = Path { node: first - 1, last: second - 1 };
    path.rise(path.node.trailing_ones());
    // The path starts at the smallest peak of the earlier tree. If that is the whole of it, its
    // hash is the known root; otherwise it is the first of the proof.
    let whole = first.is_power_of_two();
    check_length(proof, path.length() + usize::from(!whole))?;
    let (start, siblings) = match proof.split_first() {
        Some((start, siblings)) if !whole => (start, siblings),
        _ => (first_root, proof),
    };
    let (mut earlier, mut later) = (*start, *start);
    for sibling in siblings {
        if path.climb() {
            earlier = node_hash(sibling, &earlier);
            later = node_hash(sibling, &later);
        } else {
            later = node_hash(&later, sibling);
        }
    }
    if earlier != *first_root {
        return Err(ProofError::WrongFirstRoot);
    }
    if later == *second_root { Ok(()) } else { Err(ProofError::WrongSecondRoot) }
}

fn check_length(proof: &[Hash], expected: usize) -> Result<(), ProofError> {
    let actual = proof.len();
    if actual == expected { Ok(()) } else { Err(ProofError::WrongLength { actual, expected }) }
}

/// The way from a node up to the root: `fn` and `sn` of RFC 9162, the positions within their level
/// of the node and of the last node.
#[derive(Clone, Copy)]
struct Path {
    node: u64,
    last: u64,
}

impl Path {
    /// Goes up to the next node that has a sibling and from it to the parent. True if that sibling
    /// is on the left.
    fn climb(&mut self) -> bool {
        let on_left = self.node % 2 == 1 || self.node == self.last;
        if on_left {
            // The last node of a level has no sibling where it would be on the right.
            self.rise(self.node.trailing_zeros());
        }
        self.rise(1);
        on_left
    }

    fn rise(&mut self, levels: u32) {
        self.node >>= levels;
        self.last >>= levels;
    }

    /// How many siblings there are on the way.
    fn length(mut self) -> usize {
        let mut siblings = 0;
        while self.last > 0 {
            self.climb();
            siblings += 1;
        }
        siblings
    }
}
