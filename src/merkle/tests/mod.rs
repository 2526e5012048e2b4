//! Tests of the module against published vectors and other implementations.

use super::*;
use sha2::{Digest, Sha256};

mod checkpoints;
mod growing;
mod keys;
mod notes;
mod proofs;
mod tiles;
mod trees;

/// From `printf '\0\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1{}' | sha256sum`.
#[test]
fn leaf_hash_is_the_documented_one() {
    let expected = "8fd4774446fdaa8869afd10052c1fd1bd3c6b9eb6581b3f3f6022630c6dfb1fd";
    assert_eq!(hex::encode(leaf_hash(&[1; 16], b"{}")), expected);
}

/// Hash of a leaf without salt, as other implementations make it.
fn record_hash(data: &[u8]) -> Hash {
    Sha256::digest([&[0], data].concat()).into()
}

fn leaf(sequence: u64) -> Hash {
    record_hash(&sequence.to_be_bytes())
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(leaf).collect()
}

fn frontier(leaves: &[Hash]) -> Frontier {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.push(*leaf);
    }
    frontier
}

/// The definition of RFC 6962, section 2.1, word for word.
fn merkle_tree_hash(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&merkle_tree_hash(left), &merkle_tree_hash(right))
        }
    }
}

/// Every perfect subtree of some leaves, computed once.
struct Nodes(Vec<Vec<Hash>>);

impl Nodes {
    fn new(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(above) = levels
            .last()
            .filter(|level| level.len() > 1)
            .map(|level| level.as_chunks::<2>().0.iter().map(|[l, r]| node_hash(l, r)).collect())
        {
            levels.push(above);
        }
        Self(levels)
    }

    fn get(&self, node: NodeId) -> Hash {
        self.0[usize::from(node.height)][usize::try_from(node.index).unwrap()]
    }

    /// The hashes that a proof is made of.
    fn proof(&self, parts: Vec<Vec<NodeId>>) -> Vec<Hash> {
        parts.into_iter().map(|nodes| self.fold(&nodes)).collect()
    }

    fn fold(&self, nodes: &[NodeId]) -> Hash {
        let hashes: Vec<_> = nodes.iter().map(|node| self.get(*node)).collect();
        proof::fold(&hashes).unwrap()
    }

    fn root(&self, size: u64) -> Hash {
        if size == 0 { empty_root() } else { self.fold(&proof::range_nodes(0, size)) }
    }
}

fn hash(text: &str) -> Hash {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// Changes one character of a text: replaces it, removes it, or puts another before it.
fn mutate(text: &str, position: usize, kind: u8, with: char) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let position = position % characters.len();
    match kind % 3 {
        0 => characters[position] = with,
        1 => drop(characters.remove(position)),
        _ => characters.insert(position, with),
    }
    characters.into_iter().collect()
}
