//! What a batch does to its logs, worked out before anything is written. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use super::{Appended, PreparedEvent, StoreError};
use crate::{
    domain::ids::OrganizationId,
    merkle::{Frontier, Growth, Hash, NodeId, TILE_HEIGHT, TILE_WIDTH, TileId},
    store::Result,
};

const HASH_BYTES: u64 = size_of::<Hash>() as u64;

/// The trees of the logs as they stand, by organization.
pub type Heads = BTreeMap<OrganizationId, Frontier>;
/// Where the first copies of repeated events are, by organization and idempotency key or event id.
pub type Known<K> = HashMap<(OrganizationId, K), Appended>;

/// An event and its new sequence.
pub type New<'a> = (&'a PreparedEvent, u64);

/// A batch with every event in its place.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Where each event of the batch is, in the order of the batch.
    pub appended: Vec<Appended>,
    /// The events to insert.
    pub new: Vec<New<'a>>,
    /// What they do to the tree of each log that grows.
    pub trees: BTreeMap<OrganizationId, Growth>,
}

/// What is known of a batch before its events get their places.
#[derive(Debug, Default)]
pub struct Beforehand {
    /// The trees as they stand.
    pub heads: Heads,
    /// Events with these idempotency keys are there already.
    pub keys: Known<[u8; 16]>,
    /// Events with these ids were stored by an attempt at the same batch whose answer was lost.
    pub ids: Known<String>,
}

impl<'a> Plan<'a> {
    /// Gives each event its place, or that of the copy which is there already.
    pub fn new(events: &'a [PreparedEvent], beforehand: Beforehand) -> Result<Self> {
        let Beforehand { mut heads, mut keys, ids } = beforehand;
        let mut appended = Vec::with_capacity(events.len());
        let mut new = Vec::with_capacity(events.len());
        let mut leaves: BTreeMap<&OrganizationId, (u64, Vec<Hash>)> = BTreeMap::new();
        for event in events {
            let organization = &event.organization_id;
            let head = heads
                .get(organization)
                .ok_or(StoreError::inconsistent("log_heads", "organization_id"))?;
            if !ids.is_empty()
                && let Some(stored) = ids.get(&(organization.clone(), event.id.to_string()))
            {
                appended.push(stored.clone());
                continue;
            }
            let key = event.idempotency_key.map(|key| (organization.clone(), *key.as_bytes()));
            if let Some(first) = key.as_ref().and_then(|key| keys.get(key)) {
                appended.push(Appended { duplicate: true, ..first.clone() });
                continue;
            }
            let (next, leaves) = leaves.entry(organization).or_insert((head.size(), Vec::new()));
            let place = Appended {
                event_id: event.id.clone(),
                sequence: *next,
                leaf_hash: event.leaf_hash,
                created_at: event.created_at,
                duplicate: false,
            };
            new.push((event, *next));
            leaves.push(event.leaf_hash);
            *next += 1;
            if let Some(key) = key {
                keys.insert(key, place.clone());
            }
            appended.push(place);
        }
        let grow = |(organization, (_, leaves)): (&OrganizationId, (u64, Vec<Hash>))| {
            let before = heads.remove(organization)?;
            Some((organization.clone(), Growth::new(before, leaves)))
        };
        let trees = leaves.into_iter().filter_map(grow).collect();
        Ok(Self { appended, new, trees })
    }

    /// The tiles that became full.
    pub fn completed_tiles(&self) -> impl Iterator<Item = CompletedTile<'_>> {
        self.trees.iter().flat_map(|(organization, growth)| {
            let complete = move |tile| CompletedTile { organization, growth, tile };
            growth.completed_tiles().into_iter().map(complete)
        })
    }
}

/// A tile that a batch fills up.
#[derive(Debug, Clone, Copy)]
pub struct CompletedTile<'a> {
    /// Whose log's.
    pub organization: &'a OrganizationId,
    growth: &'a Growth,
    /// Which.
    pub tile: TileId,
}

/// A row of `log_tiles`.
#[derive(Debug)]
pub struct TileRow {
    /// Whose log's.
    pub organization: OrganizationId,
    /// Which.
    pub tile: TileId,
    /// 256 hashes.
    pub hashes: Vec<u8>,
    /// The root over them.
    pub root: Hash,
}

impl CompletedTile<'_> {
    /// Height of the nodes whose hashes the tile holds.
    fn height(&self) -> u8 {
        self.tile.level * TILE_HEIGHT
    }

    /// Indexes of those nodes.
    fn nodes(&self) -> Range<u64> {
        let first = self.tile.index * TILE_WIDTH;
        first..first + TILE_WIDTH
    }

    /// Indexes of the nodes that were there before the batch; they must be read.
    pub fn earlier(&self) -> Range<u64> {
        let Range { start, end } = self.nodes();
        let complete = self.growth.before().size() >> self.height();
        start..complete.clamp(start, end)
    }

    /// The row, given the hashes of the [`Self::earlier`] nodes. `None`, and an error in the log, if
    /// those are not complete: rows were deleted behind the service's back. New events are recorded
    /// all the same; `audit-logs verify database` tells what is missing.
    pub fn row(&self, earlier: &[Vec<u8>]) -> Option<TileRow> {
        let row = self.filled(earlier);
        if row.is_none() {
            tracing::error!(
                organization = %self.organization, level = self.tile.level, tile = self.tile.index,
                "rows of the log are missing; run `audit-logs verify database`"
            );
        }
        row
    }

    fn filled(&self, earlier: &[Vec<u8>]) -> Option<TileRow> {
        let wanted = self.earlier();
        let mut hashes: Vec<u8> = earlier.concat();
        if hashes.len() as u64 != (wanted.end - wanted.start) * HASH_BYTES {
            return None;
        }
        let height = self.height();
        for index in wanted.end..self.nodes().end {
            hashes.extend(self.growth.node(NodeId { height, index })?);
        }
        let root =
            self.growth.node(NodeId { height: height + TILE_HEIGHT, index: self.tile.index })?;
        Some(TileRow { organization: self.organization.clone(), tile: self.tile, hashes, root })
    }
}

/// The organizations of a batch, in order, each once.
pub fn organizations(events: &[PreparedEvent]) -> BTreeSet<&OrganizationId> {
    events.iter().map(|event| &event.organization_id).collect()
}
