//! JSON Lines exports, line by line, against the checkpoint of the tree that they were taken from.

use std::{io::Read, ops::RangeInclusive};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::event::{EventFault, hash_of, leaf_of, read_canonical};
use crate::{
    domain::{event::LoggedEvent, ids::OrganizationId},
    export::manifest::Manifest,
    merkle::{Frontier, Hash, proof::range_nodes},
};

/// What is wrong with an export.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExportFault {
    /// A line is no line of an export.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// The event of a line is not what was recorded.
    #[error(transparent)]
    Event(#[from] EventFault),
    /// The event is of another organization than the export.
    #[error("the event is of the organization {0}")]
    OtherOrganization(OrganizationId),
    /// A line comes after one with the same or a higher sequence.
    #[error("sequence {0} is not in order")]
    OutOfOrder(u64),
    /// A line is of an event that the tree does not have.
    #[error("sequence {sequence} is not in a tree of {size} events")]
    OutsideTree {
        /// Of the line.
        sequence: u64,
        /// Of the tree.
        size: u64,
    },
    /// The events that are left out cannot be covered by so many subtrees.
    #[error("{actual} hashes stand for the events {start} to {end}, which take {expected}")]
    WrongSkip {
        /// First event that is left out.
        start: u64,
        /// Last event that is left out.
        end: u64,
        /// Hashes that there are.
        actual: usize,
        /// Hashes that there should be.
        expected: usize,
    },
    /// The export does not select that event.
    #[error("the event is not one that the manifest says was exported: its {0} does not match")]
    NotSelected(&'static str),
    /// The manifest says something else than the file.
    #[error("{what}: the manifest says {said}, but it is {actual}")]
    Manifest {
        /// Of what.
        what: &'static str,
        /// In the manifest.
        said: String,
        /// In truth.
        actual: String,
    },
    /// The lines lead to another root.
    #[error(
        "the events and the hashes of those left out do not fold to the root of the checkpoint: one \
         of them was changed, left out or added"
    )]
    WrongRoot,
}

/// What an export that is sound has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    /// Events in the file.
    pub rows: u64,
    /// First and last sequence.
    pub sequences: Option<(u64, u64)>,
    /// Events between the first and the last that the file leaves out.
    pub left_out: u64,
    /// Whether it has every one of the sequences that were asked for; false if none were.
    pub has_wanted: bool,
}

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    sequence: u64,
    #[serde(borrow)]
    event: &'a RawValue,
    salt: String,
    leaf_hash: String,
    #[serde(default)]
    skipped: Vec<String>,
}

/// Reads a file and keeps account of its bytes, which are those that the manifest speaks of.
pub struct StoredFile<R> {
    file: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> StoredFile<R> {
    /// Reads `file` from where it stands, which must be its start.
    pub fn new(file: R) -> Self {
        Self { file, hash: Sha256::new(), bytes: 0 }
    }
}

impl<R: Read> Read for StoredFile<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Checks one export. Lines are fed to it in order; memory does not depend on how many there are.
pub struct ExportVerifier<'a> {
    manifest: &'a Manifest,
    tree: Frontier,
    proven: Proven,
    /// The sequences that must be there, and how many of them are.
    wanted: Option<RangeInclusive<u64>>,
    found: u64,
}

impl<'a> ExportVerifier<'a> {
    /// Checks the file that the manifest describes, and whether it has all of the `wanted` sequences.
    pub fn new(manifest: &'a Manifest, wanted: Option<RangeInclusive<u64>>) -> Self {
        let proven = Proven { rows: 0, sequences: None, left_out: 0, has_wanted: false };
        Self { manifest, tree: Frontier::default(), proven, wanted, found: 0 }
    }

    /// Takes the next line, with the newline at its end.
    pub fn line(&mut self, line: &[u8]) -> Result<(), ExportFault> {
        let unreadable = |error: serde_json::Error| ExportFault::Unreadable(error.to_string());
        let read: Line<'_> = serde_json::from_slice(line).map_err(unreadable)?;
        let event = read.event.get().as_bytes();
        let (salt, leaf) = (decoded(&read.salt)?, decoded(&read.leaf_hash)?);
        let leaf = hash_of("leaf_hash", &leaf)?;
        if leaf_of(&salt, event)? != leaf {
            return Err(EventFault::WrongHash.into());
        }
        let logged = read_canonical(event)?;
        if logged.organization_id != self.manifest.organization_id {
            return Err(ExportFault::OtherOrganization(logged.organization_id));
        }
        self.check_selected(&logged)?;
        self.append(read.sequence, leaf, &read.skipped)
    }

    fn append(&mut self, sequence: u64, leaf: Hash, skipped: &[String]) -> Result<(), ExportFault> {
        let (next, size) = (self.tree.size(), self.manifest.tree_size);
        if sequence < next {
            return Err(ExportFault::OutOfOrder(sequence));
        }
        if sequence >= size {
            return Err(ExportFault::OutsideTree { sequence, size });
        }
        self.skip(sequence, skipped)?;
        self.tree.push(leaf);
        self.proven.rows += 1;
        self.found += u64::from(self.wanted.as_ref().is_some_and(|all| all.contains(&sequence)));
        match &mut self.proven.sequences {
            Some((_, last)) => {
                *last = sequence;
                self.proven.left_out += sequence - next;
            }
            None => self.proven.sequences = Some((sequence, sequence)),
        }
        Ok(())
    }

    /// Appends the subtrees over the events up to before `end`.
    fn skip(&mut self, end: u64, skipped: &[String]) -> Result<(), ExportFault> {
        let start = self.tree.size();
        let nodes = range_nodes(start, end);
        if nodes.len() != skipped.len() {
            let (actual, expected) = (skipped.len(), nodes.len());
            let end = end.saturating_sub(1);
            return Err(ExportFault::WrongSkip { start, end, actual, expected });
        }
        for (node, hash) in nodes.iter().zip(skipped) {
            let hash = hash_of("a skipped hash", &decoded(hash)?)?;
            let outside = ExportFault::OutsideTree { sequence: end, size: start };
            self.tree.push_subtree(node.height, hash).ok_or(outside)?;
        }
        Ok(())
    }

    /// Whether the export selects the event.
    fn check_selected(&self, logged: &LoggedEvent) -> Result<(), ExportFault> {
        let (manifest, event) = (self.manifest, &logged.event);
        let in_range = (manifest.range_start..=manifest.range_end).contains(&event.occurred_at);
        let outside = (!in_range).then_some("occurred_at");
        let mismatch = outside.or_else(|| manifest.filter.mismatch(event));
        mismatch.map_or(Ok(()), |what| Err(ExportFault::NotSelected(what)))
    }

    /// Holds everything against the manifest, and the whole against the root of the tree. `stored` has
    /// been read to its end.
    pub fn finish<R>(mut self, stored: StoredFile<R>, root: &Hash) -> Result<Proven, ExportFault> {
        let manifest = self.manifest;
        let text = |number: Option<u64>| number.map_or("none".to_owned(), |n| n.to_string());
        let (first, last) = self.proven.sequences.unzip();
        let digest = hex::encode(stored.hash.finalize());
        for (what, said, actual) in [
            ("rows", manifest.rows.to_string(), self.proven.rows.to_string()),
            ("first sequence", text(manifest.first_sequence), text(first)),
            ("last sequence", text(manifest.last_sequence), text(last)),
            ("bytes", manifest.bytes.to_string(), stored.bytes.to_string()),
            ("SHA-256", manifest.sha256.clone(), digest),
        ] {
            if said != actual {
                return Err(ExportFault::Manifest { what, said, actual });
            }
        }
        self.skip(manifest.tree_size, &manifest.skipped)?;
        // Sequences come in ascending order, so none was counted twice.
        self.proven.has_wanted = self
            .wanted
            .is_some_and(|all| (all.end() - all.start()).checked_add(1) == Some(self.found));
        if self.tree.root() == *root { Ok(self.proven) } else { Err(ExportFault::WrongRoot) }
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, ExportFault> {
    STANDARD.decode(text).map_err(|_| ExportFault::Unreadable(format!("{text:?} is not base64")))
}
