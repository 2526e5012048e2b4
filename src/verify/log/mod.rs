//! One log of a database: its events, tiles, checkpoints and head, held against each other.

mod finding;
mod suspect;
mod tail;
mod tree;
mod witness;

use std::sync::Arc;

use self::{finding::First, tree::Tree, witness::witness_of};
pub use self::{
    finding::{Finding, Kind},
    witness::Witness,
};
use super::{
    TrustedKeys,
    event::{CheckedEvent, EventFault},
};
use crate::{
    domain::ids::OrganizationId,
    merkle::{Frontier, TILE_WIDTH},
    store::{CheckpointRow, StoredHead, StoredTile},
};

/// What a check of one log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// Whose log.
    pub organization: OrganizationId,
    /// Events, those that retention erased among them.
    pub events: u64,
    /// Events that retention erased.
    pub erased: u64,
    /// Tiles that were compared.
    pub tiles: u64,
    /// Checkpoints that were compared.
    pub checkpoints: u64,
    /// What is wrong, by sequence. Empty: nothing.
    pub findings: Vec<Finding>,
}

/// The rows of a part of a log, in order.
#[derive(Debug, Default)]
pub struct Page {
    /// Events, by sequence.
    pub events: Vec<CheckedEvent>,
    /// At least the complete tiles whose last event is among these.
    pub tiles: Vec<StoredTile>,
    /// At least the checkpoints of trees that end with one of these events, by size.
    pub checkpoints: Vec<CheckpointRow>,
    /// Before these events, rows up to this sequence are gone, as they may be.
    pub gone_until: Option<u64>,
}

/// Checks one log. Rows are fed to it in order; memory does not depend on how many there are.
pub struct LogVerifier {
    organization: OrganizationId,
    keys: Arc<TrustedKeys>,
    registered: bool,
    head: Option<StoredHead>,
    /// Events that the log has, as the head says.
    size: u64,
    /// The first sequence that retention has not erased.
    erased_below: u64,
    /// The sequence that comes next.
    next: u64,
    report: LogReport,
    /// Rows that are wrong by themselves.
    faults: First,
    /// The first of them that is wrong about its leaf, and so for the tree, too.
    wrong_leaf: Option<u64>,
    /// Rows that are not there.
    gaps: First,
    /// Rows that the head does not know of.
    extra: First,
    /// Events that should be erased and are not, or the other way.
    retention: First,
    checkpoints: First,
    tree: Tree,
}

impl LogVerifier {
    /// Checks the log of an organization that is registered or not, with the head that it has.
    /// `witnesses` are checkpoints from elsewhere, by size.
    pub fn new(
        organization: OrganizationId,
        keys: Arc<TrustedKeys>,
        (registered, head): (bool, Option<StoredHead>),
        witnesses: Vec<Witness>,
    ) -> Self {
        let report = LogReport {
            organization: organization.clone(),
            events: 0,
            erased: 0,
            tiles: 0,
            checkpoints: 0,
            findings: Vec::new(),
        };
        // Without a head there is nothing to say which rows are too many.
        let size = head.as_ref().map_or(u64::MAX, |head| u64::try_from(head.size).unwrap_or(0));
        Self {
            organization,
            keys,
            registered,
            head,
            size,
            erased_below: 0,
            next: 0,
            report,
            faults: First::default(),
            wrong_leaf: None,
            gaps: First::default(),
            extra: First::default(),
            retention: First::default(),
            checkpoints: First::default(),
            tree: Tree::new(witnesses),
        }
    }

    /// Says that retention erased the events below this sequence, as it is stored. To be called before
    /// the first row.
    pub fn expect_erased(&mut self, below: i64) {
        let stored = u64::try_from(below).unwrap_or(0);
        self.erased_below = stored.min(self.size);
        if below < 0 || stored > self.size {
            let what = format!("retention is said to have erased {below} of {} events", self.size);
            self.note(Kind::Head, Some(self.erased_below), what);
        }
    }

    /// Rows below this sequence may be gone: retention erased their events, and their leaf hashes are in
    /// complete tiles.
    pub fn deletable_below(&self) -> u64 {
        self.erased_below.min(self.size - self.size % TILE_WIDTH)
    }

    /// Events that were fed so far, gone ones among them.
    pub fn events(&self) -> u64 {
        self.report.events
    }

    /// Takes the next rows.
    pub fn feed(&mut self, page: Page) {
        for tile in page.tiles {
            self.tree.add_tile(tile);
        }
        for row in &page.checkpoints {
            match witness_of(row, &self.organization, &self.keys) {
                Ok(witness) => self.tree.add_witness(witness),
                Err(finding) => self.checkpoints.note(finding),
            }
        }
        if let Some(end) = page.gone_until {
            self.gone(end);
        }
        for event in &page.events {
            self.event(event);
        }
    }

    /// Takes the rows up to `end` as gone: what is known of their leaves is in the tiles.
    fn gone(&mut self, end: u64) {
        let count = end.saturating_sub(self.next);
        self.report.events += count;
        self.report.erased += count;
        for _ in 0..count {
            self.tree.push(None);
        }
        self.next += count;
    }

    /// Holds what retention is said to have erased against what is there.
    fn check_erased(&mut self, sequence: u64, erased: bool) {
        if erased && sequence >= self.erased_below {
            let what = "the event is erased, but not by retention".to_owned();
            self.retention.note(Finding::new(Kind::Missing, Some(sequence), what));
        } else if !erased && sequence < self.erased_below {
            let what = "the event is there, but retention erased it".to_owned();
            self.retention.note(Finding::new(Kind::Inserted, Some(sequence), what));
        }
    }

    fn event(&mut self, event: &CheckedEvent) {
        self.report.events += 1;
        self.report.erased += u64::from(event.erased);
        let Ok(sequence) = u64::try_from(event.sequence) else {
            let what = format!("there is an event with the sequence {}", event.sequence);
            self.extra.note(Finding::new(Kind::Inserted, None, what));
            return;
        };
        if let Some(fault) = &event.fault {
            if matches!(fault, EventFault::WrongHash | EventFault::WrongLength { .. }) {
                self.wrong_leaf.get_or_insert(sequence);
            }
            self.faults.note(Finding::new(Kind::Changed, Some(sequence), fault.to_string()));
        }
        if sequence >= self.size {
            let what = format!("there is an event, but the head says {} events", self.size);
            self.extra.note(Finding::new(Kind::Inserted, Some(sequence), what));
            return;
        }
        if sequence > self.next {
            self.missing(self.next, sequence);
        }
        self.check_erased(sequence, event.erased);
        self.tree.push(event.leaf);
        self.next = sequence + 1;
    }

    /// Notes that the events from `start` to before `end` are not there.
    fn missing(&mut self, start: u64, end: u64) {
        let what = match end - start {
            1 => "the event is not there".to_owned(),
            count => format!("{count} events are not there, up to sequence {}", end - 1),
        };
        self.gaps.note(Finding::new(Kind::Missing, Some(start), what));
        self.tree.skip(end - start);
    }

    /// Says what was found. `extra_tiles`: some tiles that a log of its size does not have.
    pub fn finish(mut self, extra_tiles: &[StoredTile]) -> LogReport {
        let rows_end = self.next;
        let Some(head) = self.head.take() else {
            return self.without_head();
        };
        if head.size < 0 {
            self.note(Kind::Head, Some(0), format!("the head says {} events", head.size));
        }
        if rows_end < self.size {
            self.missing(rows_end, self.size);
        }
        let frontier = Frontier::from_bytes(self.size, &head.frontier);
        if frontier.is_none() {
            let what = format!("the frontier of the head is not that of {} events", self.size);
            self.note(Kind::Head, Some(self.size), what);
        }
        let larger =
            self.tree.compare_with_head(self.size, rows_end, frontier.as_ref(), &self.extra);
        for tile in extra_tiles {
            let what = format!(
                "tile {}/{} is there, but a log of {} events, as the head says, does not have it",
                tile.level, tile.index, self.size
            );
            self.note(Kind::Tile, Some(self.size), what);
        }
        if !self.extra.is_empty() && (larger || !extra_tiles.is_empty()) {
            let what = format!(
                "the head says {} events, but there are more, with tiles or checkpoints: it was set \
                 back",
                self.size
            );
            self.extra = First::default();
            self.note(Kind::Head, Some(self.size), what);
        }
        self.conclude()
    }

    fn without_head(mut self) -> LogReport {
        let what = format!("there is no head of the log, which has {} events", self.report.events);
        self.note(Kind::Head, Some(0), what);
        let (size, rows) = (self.next, self.next);
        self.tree.compare_with_head(size, rows, None, &self.extra);
        self.conclude()
    }

    fn note(&mut self, kind: Kind, sequence: Option<u64>, what: String) {
        self.report.findings.push(Finding::new(kind, sequence, what));
    }

    fn conclude(mut self) -> LogReport {
        if !self.registered {
            let what = "there is no such organization, but there are rows of its log".to_owned();
            self.note(Kind::Organization, None, what);
        }
        let Self {
            mut report, faults, wrong_leaf, gaps, extra, retention, checkpoints, tree, ..
        } = self;
        let of_tree = tree.findings(&mut report, wrong_leaf);
        report.findings.extend(of_tree);
        for first in [faults, gaps, extra, retention, checkpoints] {
            report.findings.extend(first.into_finding());
        }
        report.findings.sort_by_key(|finding| finding.sequence);
        report
    }
}
