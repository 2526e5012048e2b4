//! Reading the trees of the logs: heads, nodes and tiles.
//!
//! A complete tile is a row of `log_tiles`. What a tree has beyond its complete tiles, its edge, is in
//! the rows of which the next tiles will be made: the leaf hashes in `events`, and above them the
//! roots of the tiles of the level below. A tree only grows, so reading parts of it one after the
//! other needs no transaction.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect};

use super::{
    Result, Store, StoreError,
    entity::{event, log_head, log_tile},
    fixed, from_column, to_column,
};
use crate::{
    domain::ids::OrganizationId,
    merkle::{Frontier, Hash, NodeId, TILE_WIDTH, TileId, tile::node_in_tile},
};

/// Tiles that one statement reads; a proof needs fewer.
const TILES_PER_READ: usize = 64;

/// The first hashes of some tiles.
type Tiles = BTreeMap<TileId, Vec<Hash>>;

impl Store {
    /// The right edge of an organization's tree as it stands; `None` if it never had a log.
    pub async fn log_head(&self, organization: &OrganizationId) -> Result<Option<Frontier>> {
        let head = log_head::scoped(organization).one(self.reader()).await?;
        head.map(|head| frontier(head.size, &head.frontier)).transpose()
    }

    /// Hashes of perfect subtrees, each of which lies within the first `size` leaves of the log, which
    /// has that many. Reads each tile that is needed once, with at most two statements for the edge
    /// and one for every 64 complete tiles. Rows that are missing are [`StoreError::Inconsistent`].
    pub async fn tree_nodes(
        &self,
        organization: &OrganizationId,
        size: u64,
        nodes: &[NodeId],
    ) -> Result<Vec<Hash>> {
        let mut needed: BTreeMap<TileId, usize> = BTreeMap::new();
        for node in nodes {
            let (tile, positions) = TileId::of_node(*node);
            let end = needed.entry(tile).or_default();
            *end = positions.end.max(*end);
        }
        let tiles = self.tiles(organization, size, &needed).await?;
        let hash = |node: &NodeId| {
            let (tile, _) = TileId::of_node(*node);
            node_in_tile(tile, tiles.get(&tile)?, *node)
        };
        let hashes: Option<Vec<Hash>> = nodes.iter().map(hash).collect();
        hashes.ok_or(StoreError::inconsistent("log_tiles", "hashes"))
    }

    /// The first `width` hashes of a tile, concatenated; `None` if the log does not have as many.
    pub async fn tile(
        &self,
        organization: &OrganizationId,
        tile: TileId,
        width: usize,
    ) -> Result<Option<Vec<u8>>> {
        // As if the tree ended with them: then they are looked for at the edge, too.
        let size = tile.leaves().map_or(0, |leaves| {
            let span = (leaves.end - leaves.start) / TILE_WIDTH;
            leaves.start + span * width as u64
        });
        let needed = BTreeMap::from([(tile, width)]);
        let mut tiles = self.tiles(organization, size, &needed).await?;
        Ok(tiles.remove(&tile).map(|hashes| hashes[..width].concat()))
    }

    /// The first hashes of tiles, at least as many of each as `needed` says. Those that are not there
    /// are left out.
    async fn tiles(
        &self,
        organization: &OrganizationId,
        size: u64,
        needed: &BTreeMap<TileId, usize>,
    ) -> Result<Tiles> {
        // The edge comes first: if its rows are gone because its tile is complete by now, then that
        // is found afterwards.
        let edge = needed.iter().filter(|(tile, _)| tile.width(size) < TILE_WIDTH);
        let (leaves, above): (Vec<_>, Vec<_>) = edge.partition(|(tile, _)| tile.level == 0);
        let mut found = self.edge_leaves(organization, &leaves).await?;
        found.extend(self.edge_roots(organization, &above).await?);
        let missing = needed.keys().filter(|tile| !found.contains_key(tile));
        let missing: Vec<TileId> = missing.copied().collect();
        for tiles in missing.chunks(TILES_PER_READ) {
            found.extend(self.complete_tiles(organization, tiles).await?);
        }
        Ok(found)
    }

    /// The beginnings of incomplete tiles of level 0, if all their rows are there.
    async fn edge_leaves(
        &self,
        organization: &OrganizationId,
        wanted: &[(&TileId, &usize)],
    ) -> Result<Tiles> {
        use event::Column::{LeafHash, Sequence};
        if wanted.is_empty() {
            return Ok(Tiles::new());
        }
        let rows = event::scoped(organization)
            .filter(any_range(wanted, |tile, end| {
                let first = tile.index.saturating_mul(TILE_WIDTH);
                Condition::all()
                    .add(Sequence.gte(to_column(first)))
                    .add(Sequence.lt(to_column(first.saturating_add(end))))
            }))
            .select_only()
            .columns([Sequence, LeafHash])
            .order_by_asc(Sequence)
            .into_tuple::<(i64, Vec<u8>)>()
            .all(self.reader())
            .await?;
        let rows = rows.into_iter().map(|(sequence, hash)| {
            Ok((
                0,
                from_column(sequence, "events", "sequence")?,
                fixed(&hash, "events", "leaf_hash")?,
            ))
        });
        Ok(beginnings(wanted, &rows.collect::<Result<Vec<_>>>()?))
    }

    /// The beginnings of incomplete tiles above level 0, if all their rows are there.
    async fn edge_roots(
        &self,
        organization: &OrganizationId,
        wanted: &[(&TileId, &usize)],
    ) -> Result<Tiles> {
        use log_tile::Column::{Level, Root, Tile};
        if wanted.is_empty() {
            return Ok(Tiles::new());
        }
        let rows = log_tile::scoped(organization)
            .filter(any_range(wanted, |tile, end| {
                let first = tile.index.saturating_mul(TILE_WIDTH);
                Condition::all()
                    .add(Level.eq(i64::from(tile.level) - 1))
                    .add(Tile.gte(to_column(first)))
                    .add(Tile.lt(to_column(first.saturating_add(end))))
            }))
            .select_only()
            .columns([Level, Tile, Root])
            .order_by_asc(Level)
            .order_by_asc(Tile)
            .into_tuple::<(i64, i64, Vec<u8>)>()
            .all(self.reader())
            .await?;
        let rows = rows.into_iter().map(|(level, tile, root)| {
            let tile = from_column(tile, "log_tiles", "tile")?;
            Ok((level + 1, tile, fixed(&root, "log_tiles", "root")?))
        });
        Ok(beginnings(wanted, &rows.collect::<Result<Vec<_>>>()?))
    }

    /// Those of the tiles that are complete.
    async fn complete_tiles(
        &self,
        organization: &OrganizationId,
        tiles: &[TileId],
    ) -> Result<Tiles> {
        use log_tile::Column::{Hashes, Level, Tile};
        let mut levels: BTreeMap<u8, Vec<i64>> = BTreeMap::new();
        for tile in tiles {
            levels.entry(tile.level).or_default().push(to_column(tile.index));
        }
        let of_level = |(level, tiles): (u8, Vec<i64>)| {
            Condition::all().add(Level.eq(i64::from(level))).add(Tile.is_in(tiles))
        };
        let condition = levels.into_iter().map(of_level).fold(Condition::any(), Condition::add);
        let rows = log_tile::scoped(organization)
            .filter(condition)
            .select_only()
            .columns([Level, Tile, Hashes])
            .into_tuple::<(i64, i64, Vec<u8>)>()
            .all(self.reader())
            .await?;
        let tile = |(level, index, bytes): (i64, i64, Vec<u8>)| {
            let level =
                u8::try_from(level).map_err(|_| StoreError::inconsistent("log_tiles", "level"))?;
            let index = from_column(index, "log_tiles", "tile")?;
            let (hashes, rest) = bytes.as_chunks::<32>();
            if hashes.len() as u64 == TILE_WIDTH && rest.is_empty() {
                Ok((TileId { level, index }, hashes.to_vec()))
            } else {
                Err(StoreError::inconsistent("log_tiles", "hashes"))
            }
        };
        rows.into_iter().map(tile).collect()
    }
}

/// The frontier in a row of `log_heads`.
pub(super) fn frontier(size: i64, bytes: &[u8]) -> Result<Frontier> {
    let size = from_column(size, "log_heads", "size")?;
    Frontier::from_bytes(size, bytes).ok_or(StoreError::inconsistent("log_heads", "frontier"))
}

/// The rows of any of the tiles. At one size there is one incomplete tile for each level.
fn any_range(
    wanted: &[(&TileId, &usize)],
    condition: impl Fn(&TileId, u64) -> Condition,
) -> Condition {
    let ranges = wanted.iter().map(|(tile, end)| condition(tile, **end as u64));
    ranges.fold(Condition::any(), Condition::add)
}

/// Groups rows (level of the tile, index of the node, hash), which are in order, by their tiles, and
/// leaves out tiles of which a needed hash is missing.
fn beginnings(wanted: &[(&TileId, &usize)], rows: &[(i64, u64, Hash)]) -> Tiles {
    let mut tiles = Tiles::new();
    for (tile, end) in wanted {
        let of_tile = |(level, index, _): &&(i64, u64, Hash)| {
            *level == i64::from(tile.level) && index / TILE_WIDTH == tile.index
        };
        let hashes: Vec<Hash> = rows.iter().filter(of_tile).map(|(.., hash)| *hash).collect();
        // The primary key makes the indexes distinct, so as many as are needed are all.
        if hashes.len() == **end {
            tiles.insert(**tile, hashes);
        }
    }
    tiles
}
