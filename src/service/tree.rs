//! The nodes of one log's tree, as far as they were read.

use std::collections::HashMap;

use super::error::{Error, Result};
use crate::{
    domain::{
        ids::OrganizationId,
        violation::{Reason, Violations},
    },
    merkle::{
        Frontier, Hash, NodeId, empty_root,
        proof::{consistency_nodes, fold, range_nodes, verify_consistency},
    },
    store::Store,
};

/// The tree of a log as it stood when its head was read. It only grows.
pub struct Tree<'a> {
    store: &'a Store,
    /// Whose log's.
    pub organization: &'a OrganizationId,
    /// The head.
    pub head: Frontier,
    known: HashMap<NodeId, Hash>,
}

impl<'a> Tree<'a> {
    /// Reads the head.
    pub async fn of(store: &'a Store, organization: &'a OrganizationId) -> Result<Self> {
        let head = store.log_head(organization).await?.unwrap_or_default();
        Ok(Self { store, organization, head, known: HashMap::new() })
    }

    /// Reads the nodes of these groups that are not at hand, all at once. The peaks of the head are.
    pub async fn read(&mut self, groups: &[Vec<NodeId>]) -> Result<()> {
        let mut missing: Vec<NodeId> =
            groups.iter().flatten().filter(|id| self.node(id).is_none()).copied().collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let size = self.head.size();
            let hashes = self.store.tree_nodes(self.organization, size, &missing).await?;
            self.known.extend(missing.into_iter().zip(hashes));
        }
        Ok(())
    }

    fn node(&self, id: &NodeId) -> Option<Hash> {
        self.head.node(*id).or_else(|| self.known.get(id).copied())
    }

    /// The fold of nodes that were read. That of none is the root of the tree without leaves.
    pub fn fold(&self, group: &[NodeId]) -> Result<Hash> {
        let hashes: Option<Vec<Hash>> = group.iter().map(|id| self.node(id)).collect();
        Ok(fold(&hashes.ok_or_else(|| self.broken())?).unwrap_or_else(empty_root))
    }

    /// The fold of each group.
    pub fn folds(&self, groups: &[Vec<NodeId>]) -> Result<Vec<Hash>> {
        groups.iter().map(|group| self.fold(group)).collect()
    }

    /// Root of the tree when it had `size` leaves, at most as many as now. It is held against the head:
    /// whatever was done to the rows, nothing is signed that is no part of the present tree.
    pub async fn root_at(&mut self, size: u64) -> Result<Hash> {
        let peaks = [range_nodes(0, size)];
        let link = consistency_nodes(size, self.head.size()).ok_or_else(|| self.broken())?;
        self.read(&peaks).await?;
        self.read(&link).await?;
        let root = self.fold(&peaks[0])?;
        let hashes = self.folds(&link)?;
        verify_consistency(size, self.head.size(), &root, &self.head.root(), &hashes)
            .map_err(|_| self.broken())?;
        Ok(root)
    }

    /// The asked size, or the present one; notes a violation at `field` if the tree is smaller.
    pub fn size_or_violation(
        &self,
        field: &str,
        asked: Option<u64>,
        violations: &mut Violations,
    ) -> u64 {
        let present = self.head.size();
        let size = asked.unwrap_or(present);
        if size > present {
            let description = format!("{field} must be at most {present}, the size of the log");
            violations.add(field, Reason::OutOfRange, description);
        }
        size
    }

    /// The rows of the log contradict each other.
    pub fn broken(&self) -> Error {
        Error::Internal(format!(
            "the rows of the log of {} do not fit its tree; run `audit-logs verify database`",
            self.organization
        ))
    }
}
