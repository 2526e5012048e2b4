//! The tree of a log, rebuilt from its events tile by tile.

use std::collections::{BTreeMap, VecDeque};

use super::{Finding, Kind, LogReport, Witness, finding::First, suspect::Suspect};
use crate::{
    merkle::{Frontier, Hash, TILE_HEIGHT, TILE_WIDTH, rebuild::perfect_root},
    store::StoredTile,
};

/// The number of hashes in a tile.
const WIDTH: usize = 1 << TILE_HEIGHT;
/// More missing events than this are not looked up in the tiles.
const BRIDGED: u64 = 2 * TILE_WIDTH;

/// The tree of the events as they are there, and beside it the tree that the tiles tell of; they are
/// one until they part. A tree that cannot be known is `None`.
pub struct Tree {
    /// Which tile of leaves is open.
    pub(super) index: u64,
    /// The leaves of the open tile; `None` where there is no event.
    pub(super) leaves: Vec<Option<Hash>>,
    /// Tree of the events before the open tile.
    pub(super) events: Option<Frontier>,
    /// The same, as the tiles have it.
    pub(super) told: Option<Frontier>,
    /// For each level from 1, the roots of which its open tile is being made.
    above: Vec<Vec<Option<Hash>>>,
    tiles: BTreeMap<(i64, i64), StoredTile>,
    /// Checkpoints of larger trees than those that were compared, by size.
    pub(super) witnesses: VecDeque<Witness>,
    /// Size of the largest tree with which a witness agreed.
    pub(super) confirmed: u64,
    pub(super) suspect: Option<Suspect>,
    pub(super) end: End,
    missing_tiles: First,
    altered_tiles: First,
    pub(super) contradictions: First,
    compared_tiles: u64,
    pub(super) compared_witnesses: u64,
}

/// How the log ended.
#[derive(Default)]
pub struct End {
    /// Events that there are, and events that the head says.
    pub rows: u64,
    pub size: u64,
    /// What the head has against the events.
    pub head: Option<Finding>,
}

impl Tree {
    /// An empty tree, to be held against these witnesses and further ones.
    pub fn new(mut witnesses: Vec<Witness>) -> Self {
        witnesses.sort_by_key(|witness| witness.size);
        Self {
            index: 0,
            leaves: Vec::with_capacity(WIDTH),
            events: Some(Frontier::default()),
            told: Some(Frontier::default()),
            above: Vec::new(),
            tiles: BTreeMap::new(),
            witnesses: witnesses.into(),
            confirmed: 0,
            suspect: None,
            end: End::default(),
            missing_tiles: First::default(),
            altered_tiles: First::default(),
            contradictions: First::default(),
            compared_tiles: 0,
            compared_witnesses: 0,
        }
    }

    /// Takes a row of a tile that will be complete.
    pub fn add_tile(&mut self, tile: StoredTile) {
        self.tiles.insert((tile.level, tile.index), tile);
    }

    /// Takes another witness.
    pub fn add_witness(&mut self, witness: Witness) {
        let place = self.witnesses.partition_point(|other| other.size <= witness.size);
        self.witnesses.insert(place, witness);
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Option<Hash>) {
        self.leaves.push(leaf);
        if self.leaves.len() == WIDTH {
            self.close_tile();
        }
    }

    /// Appends the places of events that are not there.
    pub fn skip(&mut self, count: u64) {
        if count <= BRIDGED {
            for _ in 0..count {
                self.push(None);
            }
            return;
        }
        let size = self.first().saturating_add(self.leaves.len() as u64).saturating_add(count);
        self.events = None;
        self.told = None;
        self.index = size / TILE_WIDTH;
        self.leaves = unknown(size);
        for (level, roots) in (1_u32..).zip(&mut self.above) {
            *roots = unknown(size >> (u32::from(TILE_HEIGHT) * level));
        }
    }

    /// The sequence at which the open tile begins.
    pub(super) fn first(&self) -> u64 {
        self.index * TILE_WIDTH
    }

    fn close_tile(&mut self) {
        let row = self.tiles.remove(&key(0, self.index));
        let told = row.as_ref().and_then(hashes_of);
        let told = told.as_deref();
        // What is not there is taken as the tile has it.
        let filled = self
            .leaves
            .iter()
            .enumerate()
            .map(|(place, leaf)| leaf.or_else(|| told.map(|told| told[place])));
        let actual: Option<Vec<Hash>> = filled.collect();
        let actual_root = actual.as_deref().map(perfect_root);
        let believed = self.compare_tile(row.as_ref(), told, actual_root);
        let (told, told_root) = match (believed, told) {
            (Believed::Tile, Some(told)) => (Some(told), Some(perfect_root(told))),
            _ => (actual.as_deref(), actual_root),
        };
        self.hear_witnesses(actual.as_deref(), told, true);
        push_root(&mut self.events, actual_root);
        push_root(&mut self.told, told_root);
        self.leaves.clear();
        self.raise(1, told_root, actual_root);
        self.index += 1;
    }

    /// Compares the leaves of the open tile with its row, and says which is believed for the time
    /// being.
    fn compare_tile(
        &mut self,
        row: Option<&StoredTile>,
        told: Option<&[Hash]>,
        actual_root: Option<Hash>,
    ) -> Believed {
        let first = self.first();
        let index = self.index;
        let Some(row) = row else {
            let what = format!("tile 0/{index} is not there");
            self.missing_tiles.note(Finding::new(Kind::Tile, Some(first), what));
            return Believed::Events;
        };
        self.compared_tiles += 1;
        let Some(told) = told else {
            self.alter(first, format!("tile 0/{index} has {} bytes of hashes", row.hashes.len()));
            return Believed::Events;
        };
        let place = self
            .leaves
            .iter()
            .zip(told)
            .position(|(leaf, told)| leaf.is_some_and(|leaf| leaf != *told));
        let fits_root = |root: Option<Hash>| root.is_some_and(|root| row.root == root);
        let believed = match place {
            None if fits_root(actual_root) || actual_root.is_none() => Believed::Events,
            None => {
                self.alter(first, format!("the root of tile 0/{index} is not that of its hashes"));
                Believed::Events
            }
            Some(place) if fits_root(actual_root) => {
                let what = format!("tile 0/{index} has another hash than the event");
                self.alter(first + place as u64, what);
                Believed::Events
            }
            Some(place) => {
                if let (None, Some(actual)) = (&self.suspect, self.leaves[place]) {
                    let suspect = Suspect::new(first + place as u64, actual, told[place]);
                    self.suspect = Some(suspect);
                }
                Believed::Tile
            }
        };
        if let Some(suspect) = &mut self.suspect {
            for (place, leaf) in self.leaves.iter().enumerate() {
                suspect.compare(first + place as u64, leaf.as_ref(), told.get(place));
            }
        }
        believed
    }

    fn alter(&mut self, sequence: u64, what: String) {
        self.altered_tiles.note(Finding::new(Kind::Tile, Some(sequence), what));
    }

    /// Appends the root of a complete tile of the level below to the open tile of `level`, and closes
    /// that if it is complete now.
    fn raise(&mut self, level: u8, told: Option<Hash>, actual: Option<Hash>) {
        let position = usize::from(level) - 1;
        if self.above.len() == position {
            self.above.push(Vec::with_capacity(WIDTH));
        }
        self.above[position].push(told);
        if self.above[position].len() < WIDTH {
            return;
        }
        let roots = std::mem::take(&mut self.above[position]);
        let index = self.index >> (TILE_HEIGHT * level);
        self.compare_upper(level, index, &roots, actual);
        let root = roots.into_iter().collect::<Option<Vec<_>>>().map(|roots| perfect_root(&roots));
        self.raise(level + 1, root, root);
    }

    fn compare_upper(&mut self, level: u8, index: u64, roots: &[Option<Hash>], last: Option<Hash>) {
        let height = u32::from(TILE_HEIGHT) * u32::from(level);
        let first = (index * TILE_WIDTH) << height;
        let Some(row) = self.tiles.remove(&key(level, index)) else {
            let what = format!("tile {level}/{index} is not there");
            self.missing_tiles.note(Finding::new(Kind::Tile, Some(first), what));
            return;
        };
        self.compared_tiles += 1;
        let Some(told) = hashes_of(&row) else {
            let bytes = row.hashes.len();
            self.alter(first, format!("tile {level}/{index} has {bytes} bytes of hashes"));
            return;
        };
        let differs = |(root, told): (&Option<Hash>, &Hash)| root.is_some_and(|root| root != *told);
        if let Some(place) = roots.iter().zip(&told).position(differs) {
            let start = first + ((place as u64) << height);
            let end = start + (1 << height);
            let within = self.suspect.as_mut().filter(|s| (start..end).contains(&s.sequence));
            match within {
                Some(suspect) if place + 1 == WIDTH && last == Some(told[place]) => {
                    suspect.for_event = true;
                }
                // That it is not what the tile below says is known already.
                Some(_) => {}
                None => {
                    let last = end - 1;
                    let what = format!(
                        "tile {level}/{index} does not fit the tile below that ends with sequence \
                         {last}"
                    );
                    self.alter(start, what);
                }
            }
        } else if let Some(roots) = roots.iter().copied().collect::<Option<Vec<_>>>() {
            let covered = first..first + (TILE_WIDTH << height);
            if let Some(suspect) = &mut self.suspect
                && covered.contains(&suspect.sequence)
            {
                suspect.for_tile = true;
            }
            if row.root != perfect_root(&roots) {
                let what = format!("the root of tile {level}/{index} is not that of its hashes");
                self.alter(first, what);
            }
        }
    }

    /// What was found; counts go into the report. What follows from an event that is known to be wrong
    /// about its leaf, at `wrong_leaf`, is not told again.
    pub fn findings(self, report: &mut LogReport, wrong_leaf: Option<u64>) -> Vec<Finding> {
        report.tiles = self.compared_tiles;
        report.checkpoints = self.compared_witnesses;
        let tiled = self.index * TILE_WIDTH;
        let suspect = self.suspect.filter(|suspect| Some(suspect.sequence) != wrong_leaf);
        let suspect = suspect.map(|s| s.finding(tiled, self.end.rows, self.end.size));
        let may_follow = |finding: &Finding| {
            finding.kind != Kind::Head && wrong_leaf.is_some() && finding.sequence <= wrong_leaf
        };
        let head = self.end.head.filter(|finding| !may_follow(finding));
        let contradiction = self.contradictions.into_finding();
        let contradiction = contradiction.filter(|finding| !may_follow(finding));
        let of_tiles = [self.missing_tiles, self.altered_tiles].map(First::into_finding);
        of_tiles.into_iter().chain([suspect, head, contradiction]).flatten().collect()
    }
}

/// Whether, where events and tile differ, the tree goes on with the one or the other.
#[derive(PartialEq, Eq)]
enum Believed {
    Events,
    Tile,
}

fn key(level: u8, index: u64) -> (i64, i64) {
    (i64::from(level), i64::try_from(index).unwrap_or(i64::MAX))
}

/// Places of which nothing is known, in the open tile of a level that has so many hashes.
fn unknown(hashes: u64) -> Vec<Option<Hash>> {
    (0..hashes % TILE_WIDTH).map(|_| None).collect()
}

/// The hashes of a tile, if it has as many as it should.
fn hashes_of(tile: &StoredTile) -> Option<Vec<Hash>> {
    let (hashes, rest) = tile.hashes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() == WIDTH).then(|| hashes.to_vec())
}

/// Appends a complete tile to a tree; nothing is known of it any more without the root.
fn push_root(tree: &mut Option<Frontier>, root: Option<Hash>) {
    let grown = tree.take().zip(root).and_then(|(mut tree, root)| {
        tree.push_subtree(TILE_HEIGHT, root)?;
        Some(tree)
    });
    *tree = grown;
}
