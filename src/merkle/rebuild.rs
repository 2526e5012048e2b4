//! Building a tree anew from all its leaves, with every tile on the way.

use super::{Frontier, Hash, TILE_WIDTH, TileId, node_hash};

/// A tile that became full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullTile {
    /// Which.
    pub tile: TileId,
    /// Its 256 hashes.
    pub hashes: Vec<Hash>,
    /// The root over them.
    pub root: Hash,
}

/// A tree that is built leaf by leaf. Memory grows with the logarithm of its size.
#[derive(Debug, Clone, Default)]
pub struct Rebuild {
    frontier: Frontier,
    /// The hashes of the open tile of each level.
    open: Vec<Vec<Hash>>,
}

impl Rebuild {
    /// The right edge of the tree so far.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Appends a leaf, given by its hash, and gives the tiles that became full, lowest first.
    pub fn push(&mut self, leaf: Hash) -> Vec<FullTile> {
        self.frontier.push(leaf);
        let (mut full, mut hash) = (Vec::new(), leaf);
        for level in 0.. {
            if self.open.len() == usize::from(level) {
                self.open.push(Vec::new());
            }
            let open = &mut self.open[usize::from(level)];
            open.push(hash);
            if open.len() as u64 != TILE_WIDTH {
                break;
            }
            let hashes = std::mem::take(open);
            let span = 8 * (u32::from(level) + 1);
            let index = (self.frontier.size() >> span) - 1;
            hash = perfect_root(&hashes);
            full.push(FullTile { tile: TileId { level, index }, hashes, root: hash });
        }
        full
    }
}

/// Root over as many hashes as a power of two.
pub fn perfect_root(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level =
            level.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    level.first().copied().unwrap_or_default()
}
