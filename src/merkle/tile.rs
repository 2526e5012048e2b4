//! Where the nodes of a tree are kept: tiles of 256 hashes, as C2SP tlog-tiles lays them out.

use super::encoding::decimal;
use super::proof::NodeId;
use super::{Hash, node_hash};
use std::fmt;
use std::ops::Range;

/// Hashes in a full tile.
pub const TILE_WIDTH: u64 = 256;

/// Levels of the tree that a tile spans.
pub const TILE_HEIGHT: u8 = 8;

/// Largest level of a tile in a path. A tree of 2^64 leaves has levels 0 to 7.
const MAX_LEVEL: u64 = 63;

/// A tile: the hashes of 256 neighbouring nodes of height `8 * level`. Those of level 0 are leaves;
/// each one above is the root of a full tile of the level below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// Eighth of the height of the nodes whose hashes it has, at most 63.
    pub level: u8,
    /// Position among the tiles of that level, from the left.
    pub index: u64,
}

impl TileId {
    /// The tile from which a node's hash can be computed, and the positions in it of the hashes
    /// that it takes: one if the node is in the tile itself, at most 128.
    pub fn of_node(node: NodeId) -> (Self, Range<usize>) {
        let inner = node.height % TILE_HEIGHT;
        let above = TILE_HEIGHT - inner;
        let tile = Self { level: node.height / TILE_HEIGHT, index: node.index >> above };
        #[expect(clippy::cast_possible_truncation, reason = "a position in a tile is below 256")]
        let start = ((node.index & ((1 << above) - 1)) << inner) as usize;
        (tile, start..start + (1 << inner))
    }

    /// Hashes that the tile has in a tree of `size` leaves: 0 if it is not there yet, 256 if it is
    /// full.
    pub fn width(self, size: u64) -> u64 {
        let shift = u32::from(TILE_HEIGHT) * u32::from(self.level);
        let hashes = size.checked_shr(shift).unwrap_or(0);
        hashes.saturating_sub(self.index.saturating_mul(TILE_WIDTH)).min(TILE_WIDTH)
    }

    /// The leaves that the full tile spans. `None` if they would end above 2^64 - 1.
    pub fn leaves(self) -> Option<Range<u64>> {
        let levels = u32::from(self.level) + 1;
        let span = TILE_WIDTH.checked_pow(levels)?;
        let start = self.index.checked_mul(span)?;
        Some(start..start.checked_add(span)?)
    }
}

/// Hash of a node, computed from the hashes of its tile (see [`TileId::of_node`]), which may be
/// partial. `None` if the node belongs to another tile or the tile does not have it yet.
pub fn node_in_tile(tile: TileId, hashes: &[Hash], node: NodeId) -> Option<Hash> {
    let (owner, positions) = TileId::of_node(node);
    let mut level = if owner == tile { hashes.get(positions)?.to_vec() } else { return None };
    while level.len() > 1 {
        level = level.as_chunks::<2>().0.iter().map(|[l, r]| node_hash(l, r)).collect();
    }
    level.pop()
}

/// What a log serves below `tile/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TileResource {
    /// The hashes of a tile.
    Hashes {
        /// Which.
        tile: TileId,
        /// Its first so many hashes, 1 to 256.
        width: u64,
    },
    /// The entries whose hashes a tile of level 0 has.
    Entries {
        /// Position of the tile in its level.
        index: u64,
        /// Its first so many entries, 1 to 256.
        width: u64,
    },
}

impl TileResource {
    /// Reads a path, from what follows `tile/` on. `None` unless it is exactly how tlog-tiles
    /// writes the resource: one resource has one path.
    pub fn parse(path: &str) -> Option<Self> {
        let (first, rest) = path.split_once('/')?;
        let (position, width) = match rest.split_once(".p/") {
            Some((position, width)) => (position, partial_width(width)?),
            None => (rest, TILE_WIDTH),
        };
        let index = index_from_path(position)?;
        let resource = if first == "entries" {
            Self::Entries { index, width }
        } else {
            let level = decimal(first).filter(|level| *level <= MAX_LEVEL)?;
            let tile = TileId { level: u8::try_from(level).ok()?, index };
            Self::Hashes { tile, width }
        };
        // Refuses what only looks alike, such as groups that are too short or too many.
        (resource.to_string() == path).then_some(resource)
    }

    /// Position of the tile in its level, and its width.
    fn extent(self) -> (u64, u64) {
        match self {
            Self::Hashes { tile, width } => (tile.index, width),
            Self::Entries { index, width } => (index, width),
        }
    }
}

impl fmt::Display for TileResource {
    /// The path, from what follows `tile/` on, such as `0/x001/x234/067.p/8`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, width) = self.extent();
        match self {
            Self::Hashes { tile, .. } => write!(formatter, "{}/", tile.level)?,
            Self::Entries { .. } => formatter.write_str("entries/")?,
        }
        // A number of 64 bits has at most seven groups of three digits.
        for power in (1..7).rev().map(|group| 1000u64.pow(group)) {
            if index >= power {
                write!(formatter, "x{:03}/", index / power % 1000)?;
            }
        }
        write!(formatter, "{:03}", index % 1000)?;
        if width < TILE_WIDTH { write!(formatter, ".p/{width}") } else { Ok(()) }
    }
}

fn partial_width(text: &str) -> Option<u64> {
    decimal(text).filter(|width| (1..TILE_WIDTH).contains(width))
}

/// Number whose groups of three digits are the elements of a path, all but the last after an `x`.
/// Leading zeros are let through.
fn index_from_path(path: &str) -> Option<u64> {
    let mut index = 0u64;
    for group in path.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        let number = digits.parse().ok().filter(|number| *number < 1000)?;
        index = index.checked_mul(1000)?.checked_add(number)?;
    }
    Some(index)
}
