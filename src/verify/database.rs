//! Every log of a database, one after the other, in bounded memory.

use std::{collections::BTreeMap, sync::Arc};

use futures::{TryStreamExt, stream};
use thiserror::Error;

use super::{
    TrustedKeys,
    event::CheckedEvent,
    log::{LogReport, LogVerifier, Page, Witness},
};
use crate::{
    domain::ids::OrganizationId,
    merkle::{TILE_HEIGHT, TILE_WIDTH},
    store::{CheckpointRow, LogSnapshot, Store, StoreError, StoredEvent, StoredTile},
};

/// Pages that are read or checked at the same time.
const PAGES_AHEAD: usize = 3;
/// Complete tiles after the last event that are read, in case events are missing there.
const TILES_AFTER: u64 = 3;
/// Complete tiles that are read at once where their rows are gone.
const TILES_GONE: u64 = 64;
/// Events that may be gone beyond those that the number of tiles accounts for: a moment's worth of looking.
const MOST_WITHOUT_TILES: u64 = 1 << 24;
/// Levels of tiles above the first.
const LEVELS_ABOVE: std::ops::Range<u8> = 1..7;

/// Why a log could not be checked.
#[derive(Debug, Error)]
pub enum Unchecked {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread that checks events ended.
    #[error("a check ended before its time")]
    Thread(#[from] tokio::task::JoinError),
}

/// Checks the logs of a database.
pub struct DatabaseVerifier {
    store: Store,
    keys: Arc<TrustedKeys>,
    /// Checkpoints from elsewhere, by organization.
    witnesses: BTreeMap<OrganizationId, Vec<Witness>>,
}

impl DatabaseVerifier {
    /// Checks the logs in `store`, believing `keys`.
    pub fn new(store: Store, keys: TrustedKeys) -> Self {
        Self { store, keys: Arc::new(keys), witnesses: BTreeMap::new() }
    }

    /// Also holds the log of an organization against this checkpoint.
    pub fn add_witness(&mut self, organization: OrganizationId, witness: Witness) {
        self.witnesses.entry(organization).or_default().push(witness);
    }

    /// The first log after `after` in the order of ids; of an organization of which the database or a
    /// witness knows.
    pub async fn next_log(&self, after: &str) -> Result<Option<OrganizationId>, StoreError> {
        let stored = self.store.next_log(after).await?;
        let after = OrganizationId::from_stored(after);
        let bounds = (std::ops::Bound::Excluded(&after), std::ops::Bound::Unbounded);
        let witnessed =
            self.witnesses.range::<OrganizationId, _>(bounds).next().map(|(id, _)| id.clone());
        Ok([stored, witnessed].into_iter().flatten().min())
    }

    /// Whether the database or a witness knows of an organization.
    pub async fn knows(&self, organization: &OrganizationId) -> Result<bool, StoreError> {
        let witnessed = self.witnesses.contains_key(organization);
        Ok(witnessed || self.store.has_log(organization).await?)
    }

    /// Checks one log as it is now, whoever writes meanwhile. Calls `progress` with the number of
    /// events that were checked since it was called last.
    pub async fn check(
        &self,
        organization: OrganizationId,
        mut progress: impl FnMut(u64),
    ) -> Result<LogReport, Unchecked> {
        let snapshot = self.store.log_snapshot(&organization).await?;
        let head = snapshot.head().await?;
        let erased_below = snapshot.erased_below().await?;
        let witnesses = self.witnesses.get(&organization).cloned().unwrap_or_default();
        let keys = self.keys.clone();
        let mut log = LogVerifier::new(organization.clone(), keys, head.clone(), witnesses);
        log.expect_erased(erased_below);
        {
            // Of what is gone there must be tiles: what retention is said to have erased may be nonsense.
            let tiled = snapshot.complete_tiles().await?.saturating_mul(TILE_WIDTH);
            let most = tiled.saturating_add(MOST_WITHOUT_TILES);
            let reading = Reading::new(&snapshot, log.deletable_below().min(most));
            let pages = stream::try_unfold(reading, Reading::next)
                .map_ok(|page| check_events(organization.clone(), page))
                .try_buffered(PAGES_AHEAD);
            let mut pages = std::pin::pin!(pages);
            while let Some(page) = pages.try_next().await? {
                let before = log.events();
                log.feed(page);
                progress(log.events() - before);
            }
        }
        let size = head.1.and_then(|head| u64::try_from(head.size).ok());
        let extra = match size {
            Some(size) => snapshot.extra_tiles(size).await?,
            None => Vec::new(),
        };
        snapshot.close().await?;
        Ok(log.finish(&extra))
    }
}

/// Checks the events of a page beside the reading of the next.
async fn check_events(organization: OrganizationId, read: ReadPage) -> Result<Page, Unchecked> {
    let ReadPage { events, tiles, checkpoints, gone_until } = read;
    let check = move || {
        events.iter().map(|event| CheckedEvent::new(&organization, event)).collect::<Vec<_>>()
    };
    let events = tokio::task::spawn_blocking(check).await?;
    Ok(Page { events, tiles, checkpoints, gone_until })
}

/// The rows of a part of a log.
#[derive(Default)]
struct ReadPage {
    events: Vec<StoredEvent>,
    tiles: Vec<StoredTile>,
    checkpoints: Vec<CheckpointRow>,
    gone_until: Option<u64>,
}

/// Reads a log page by page.
struct Reading<'a> {
    snapshot: &'a LogSnapshot,
    /// The sequence that comes next; `None` at the end.
    next: Option<i64>,
    /// Rows below this sequence may be gone: their leaf hashes are in complete tiles.
    deletable_below: u64,
    /// Rows that were read and come after some that are gone.
    ahead: Vec<StoredEvent>,
    /// The place of the last checkpoint that was read, and whether there are more.
    checkpoint: (i64, i64),
    more_checkpoints: bool,
}

impl<'a> Reading<'a> {
    fn new(snapshot: &'a LogSnapshot, deletable_below: u64) -> Self {
        Self {
            snapshot,
            next: Some(i64::MIN),
            deletable_below,
            ahead: Vec::new(),
            checkpoint: (i64::MIN, i64::MIN),
            more_checkpoints: true,
        }
    }

    /// The next page with all that belongs to it, and after the last event one with what is left.
    async fn next(mut self) -> Result<Option<(ReadPage, Self)>, Unchecked> {
        let Some(from) = self.next else { return Ok(None) };
        let mut events = std::mem::take(&mut self.ahead);
        if events.is_empty() {
            events = self.snapshot.events(from).await?;
        }
        self.ahead = events.split_off(self.before_gap(from, &events));
        let mut page = ReadPage::default();
        if let (Some(first), Some(last)) = (events.first(), events.last()) {
            let last = last.sequence;
            self.next = last.checked_add(1);
            page.tiles = self.tiles(first.sequence, last).await?;
            page.checkpoints = self.checkpoints(last.saturating_add(1)).await?;
        } else if let Some((first, last)) = self.gone(from) {
            self.next = last.checked_add(1);
            page.tiles = self.tiles(first, last).await?;
            page.checkpoints = self.checkpoints(last.saturating_add(1)).await?;
            page.gone_until = u64::try_from(last).ok().map(|last| last + 1);
        } else {
            self.next = None;
            let first = u64::try_from(from).unwrap_or(0) / TILE_WIDTH;
            page.tiles = self.snapshot.tiles(0, first, first + TILES_AFTER).await?;
            page.checkpoints = self.checkpoints(i64::MAX).await?;
        }
        page.events = events;
        Ok(Some((page, self)))
    }

    /// How many of these events, which begin at or after `from`, come before a row that may be gone.
    fn before_gap(&self, from: i64, events: &[StoredEvent]) -> usize {
        let mut next = u64::try_from(from).unwrap_or(0);
        let is_gap = |event: &StoredEvent| {
            let Ok(sequence) = u64::try_from(event.sequence) else { return false };
            let is_gap = sequence > next && next < self.deletable_below;
            next = sequence.saturating_add(1);
            is_gap
        };
        events.iter().position(is_gap).unwrap_or(events.len())
    }

    /// First and last sequence of the next rows that may be gone and are.
    fn gone(&self, from: i64) -> Option<(i64, i64)> {
        let first = u64::try_from(from).unwrap_or(0);
        let there = self.ahead.first().and_then(|event| u64::try_from(event.sequence).ok());
        let end = self.deletable_below.min(there.unwrap_or(u64::MAX));
        let end = end.min((first / TILE_WIDTH + TILES_GONE) * TILE_WIDTH);
        let last = i64::try_from(end.checked_sub(1)?).ok()?;
        let first = i64::try_from(first).ok()?;
        (first <= last).then_some((first, last))
    }

    /// The tiles that hold any of the events or end with them.
    async fn tiles(&self, first: i64, last: i64) -> Result<Vec<StoredTile>, Unchecked> {
        let Ok(last) = u64::try_from(last) else { return Ok(Vec::new()) };
        let first = u64::try_from(first).unwrap_or(0);
        let mut tiles = self.snapshot.tiles(0, first / TILE_WIDTH, last / TILE_WIDTH + 1).await?;
        for level in LEVELS_ABOVE {
            let height = u32::from(TILE_HEIGHT) * (u32::from(level) + 1);
            // Those that are complete with one of these events, or would be without gaps before.
            let (from, end) = (first >> height, (last + 1) >> height);
            if end == 0 {
                break;
            }
            if from < end {
                tiles.extend(self.snapshot.tiles(level, from, end).await?);
            }
        }
        Ok(tiles)
    }

    /// The checkpoints up to a size, and perhaps some more.
    async fn checkpoints(&mut self, size: i64) -> Result<Vec<CheckpointRow>, Unchecked> {
        let mut read = Vec::new();
        while self.more_checkpoints && self.checkpoint.0 <= size {
            let rows = self.snapshot.checkpoints(self.checkpoint).await?;
            match rows.last() {
                Some(last) => self.checkpoint = (last.size, last.minute),
                None => self.more_checkpoints = false,
            }
            read.extend(rows);
        }
        Ok(read)
    }
}
