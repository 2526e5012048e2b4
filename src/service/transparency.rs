//! Proving what a log holds: checkpoints, proofs, receipts, keys.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    error::{Error, Kind, Result},
    not_found,
    organizations::{Organizations, check_id},
    permit,
    receipts::Receipt,
    signer::CheckpointSigner,
    system_log::{SystemEvent, SystemLog},
    tree::Tree,
};
use crate::{
    domain::{
        caller::{Caller, Tenant},
        clock::Clock,
        ids::EventId,
        limits,
        permissions::Operation,
        timestamp::Timestamp,
        violation::{Reason, Violations},
    },
    merkle::{
        Hash, NodeId, TlogProof, VerifierKey, leaf_hash,
        proof::{consistency_nodes, inclusion_nodes, verify_consistency, verify_inclusion},
    },
    store::{Leaf, LeafKey, Store},
};

/// Proves what logs hold.
#[derive(Clone)]
pub struct Transparency {
    pub(super) store: Store,
    clock: Arc<dyn Clock>,
    organizations: Organizations,
    signer: CheckpointSigner,
    pub(super) system_log: SystemLog,
}

/// The signed head of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// The signed note.
    pub checkpoint: String,
    /// Leaves of the tree.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
    /// What checks the signature, as C2SP writes it.
    pub verifier_key: String,
}

/// The event that a caller wants a proof of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventChoice {
    /// None was named.
    Missing,
    /// The one with that id.
    Id(String),
    /// The one at that position.
    Sequence(u64),
}

/// The proof that an event is in its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// The proof with all that it takes to check it.
    pub receipt: Receipt,
    /// Leaves of the tree that it leads to.
    pub size: u64,
    /// Root of that tree.
    pub root: Hash,
    /// The hashes, from the leaf's sibling up.
    pub hashes: Vec<Hash>,
}

/// The proof that one tree is the beginning of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// Leaves and root of the earlier tree.
    pub first: (u64, Hash),
    /// Leaves and root of the later tree.
    pub second: (u64, Hash),
    /// The hashes.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint of the later tree.
    pub checkpoint: String,
}

/// A key that signs, or signed, the checkpoints of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    /// The key under the log's name, as C2SP writes it.
    pub verifier_key: String,
    /// The Ed25519 public key.
    pub public_key: [u8; 32],
    /// When a server first started with it.
    pub created_at: Timestamp,
    /// When a server first started with another one instead.
    pub retired_at: Option<Timestamp>,
    /// Whether this server signs with it.
    pub current: bool,
}

impl Transparency {
    /// Proves what is in `store`; `signer` signs. Reads of events are recorded in `system_log`.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        organizations: Organizations,
        signer: CheckpointSigner,
        system_log: SystemLog,
    ) -> Self {
        Self { store, clock, organizations, signer, system_log }
    }

    /// Who signs.
    pub fn signer(&self) -> &CheckpointSigner {
        &self.signer
    }

    /// Makes the public half of the signing key known, and retires those before it. To be called once
    /// the database is ready.
    pub async fn register_key(&self) -> Result<()> {
        Ok(self.store.register_signing_key(self.signer.public_key(), self.clock.now()).await?)
    }

    /// Signs the present head of a log.
    pub async fn checkpoint(&self, caller: &Caller, organization: &str) -> Result<SignedHead> {
        let tenant = self.readable(caller, Operation::GetCheckpoint, organization).await?;
        let head = Tree::of(&self.store, &tenant.organization).await?.head;
        let (organization, size, root) = (&tenant.organization, head.size(), head.root());
        Ok(SignedHead {
            checkpoint: self.signer.sign(organization, size, root)?,
            size,
            root,
            verifier_key: self.signer.verifier_key(organization).to_string(),
        })
    }

    /// Proves that an event is in its log's tree of `size` leaves; `None` means the present size.
    pub async fn inclusion_proof(
        &self,
        caller: &Caller,
        organization: &str,
        choice: EventChoice,
        size: Option<u64>,
    ) -> Result<InclusionProof> {
        permit(caller, Operation::GetInclusionProof)?;
        let mut violations = Violations::default();
        check_id("organization_id", organization, &mut violations);
        let key = event_key(choice, &mut violations);
        let Some(key) = key else { return Err(violations.into_found().into()) };
        violations.into_result(())?;
        let tenant = self.organizations.tenant(caller, organization).await?;
        // Before the head: an event that is found is within a head that is read afterwards.
        let leaf = self.store.leaf(&tenant.organization, &key).await?;
        let mut tree = Tree::of(&self.store, &tenant.organization).await?;
        let mut violations = Violations::default();
        let size = tree.size_or_violation("tree_size", size, &mut violations);
        let sequence = match (&key, &leaf) {
            (LeafKey::Sequence(sequence), _) => *sequence,
            (LeafKey::Id(_), Some(leaf)) => leaf.sequence,
            (LeafKey::Id(id), None) => return Err(not_found(Kind::Event, "event_id", id.as_str())),
        };
        if violations.is_empty() && sequence >= size {
            let (field, what) = match key {
                LeafKey::Sequence(_) => ("sequence", format!("sequence must be below {size}")),
                LeafKey::Id(_) => ("tree_size", format!("tree_size must be above {sequence}")),
            };
            let description = format!("{what}; the log has {} events", tree.head.size());
            violations.add(field, Reason::OutOfRange, description);
        }
        violations.into_result(())?;
        let leaf = leaf.unwrap_or(Leaf { event_id: None, sequence, data: None });
        let proof = self.prove(&mut tree, vec![leaf], size).await?.pop();
        let proof = proof.ok_or_else(|| tree.broken())?;
        // It has the event.
        let read = SystemEvent::by(caller, "event.proved").on("organization", organization);
        let read = match &proof.receipt.event_id {
            Some(id) => read.on("event", id),
            None => read,
        };
        self.system_log.record_read(read.with("sequence", sequence)).await;
        Ok(proof)
    }

    /// A receipt of the event at `sequence`, which is in the log, at the log's present head.
    pub async fn receipt(&self, tenant: &Tenant, sequence: u64) -> Result<Receipt> {
        let receipt = self.receipts(tenant, &BTreeSet::from([sequence])).await?.pop();
        receipt.ok_or_else(|| Error::Internal("no receipt was made".to_owned()))
    }

    /// The receipts of several events of one log, in their order. Reads and signs once for all.
    pub async fn receipts(
        &self,
        tenant: &Tenant,
        sequences: &BTreeSet<u64>,
    ) -> Result<Vec<Receipt>> {
        let rows = self.store.leaves(&tenant.organization, sequences).await?;
        let mut rows: HashMap<u64, Leaf> =
            rows.into_iter().map(|leaf| (leaf.sequence, leaf)).collect();
        let leaf = |sequence: &u64| {
            let erased = Leaf { event_id: None, sequence: *sequence, data: None };
            rows.remove(sequence).unwrap_or(erased)
        };
        let leaves = sequences.iter().map(leaf).collect();
        let mut tree = Tree::of(&self.store, &tenant.organization).await?;
        let size = tree.head.size();
        let proofs = self.prove(&mut tree, leaves, size).await?;
        Ok(proofs.into_iter().map(|proof| proof.receipt).collect())
    }

    /// Proves that the tree of `first` leaves is the beginning of that of `second` leaves; `None`
    /// means the present size.
    pub async fn consistency_proof(
        &self,
        caller: &Caller,
        organization: &str,
        first: u64,
        second: Option<u64>,
    ) -> Result<ConsistencyProof> {
        let tenant = self.readable(caller, Operation::GetConsistencyProof, organization).await?;
        let mut tree = Tree::of(&self.store, &tenant.organization).await?;
        let mut violations = Violations::default();
        tree.size_or_violation("first_tree_size", Some(first), &mut violations);
        let second = tree.size_or_violation("second_tree_size", second, &mut violations);
        let nodes = consistency_nodes(first, second);
        if violations.is_empty() && nodes.is_none() {
            let description = "second_tree_size must not be below first_tree_size";
            violations.add("second_tree_size", Reason::OutOfRange, description);
        }
        violations.into_result(())?;
        let nodes = nodes.unwrap_or_default();
        tree.read(&nodes).await?;
        let (first_root, second_root) = (tree.root_at(first).await?, tree.root_at(second).await?);
        let hashes = tree.folds(&nodes)?;
        verify_consistency(first, second, &first_root, &second_root, &hashes)
            .map_err(|_| tree.broken())?;
        Ok(ConsistencyProof {
            first: (first, first_root),
            second: (second, second_root),
            hashes,
            checkpoint: self.signer.sign(&tenant.organization, second, second_root)?,
        })
    }

    /// The keys that sign, or signed, a log's checkpoints, newest first.
    pub async fn public_keys(&self, caller: &Caller, organization: &str) -> Result<Vec<LogKey>> {
        let tenant = self.readable(caller, Operation::GetPublicKey, organization).await?;
        let current = self.signer.verifier_key(&tenant.organization);
        let keys = self.store.signing_keys().await?.into_iter().map(|key| {
            let (name, public_key) = (current.name.clone(), key.public_key);
            LogKey {
                verifier_key: VerifierKey { name, public_key }.to_string(),
                public_key: public_key.0,
                created_at: key.created_at,
                retired_at: key.retired_at,
                current: public_key == current.public_key,
            }
        });
        Ok(keys.collect())
    }

    /// The organization, if the caller may do that with its events.
    pub(super) async fn readable(
        &self,
        caller: &Caller,
        operation: Operation,
        organization: &str,
    ) -> Result<Tenant> {
        permit(caller, operation)?;
        self.organizations.tenant(caller, organization).await
    }

    /// Proves that leaves, of which these are the rows that are left, are in the tree of `size` leaves.
    /// All is within the tree.
    async fn prove(
        &self,
        tree: &mut Tree<'_>,
        leaves: Vec<Leaf>,
        size: u64,
    ) -> Result<Vec<InclusionProof>> {
        let mut needed = Vec::new();
        for leaf in &leaves {
            needed.extend(inclusion_nodes(leaf.sequence, size).ok_or_else(|| tree.broken())?);
            needed.push(vec![leaf_node(leaf.sequence)]);
        }
        tree.read(&needed).await?;
        let root = tree.root_at(size).await?;
        let checkpoint = self.signer.sign(tree.organization, size, root)?;
        let proof = |leaf| proof(tree, leaf, size, root, checkpoint.clone());
        leaves.into_iter().map(proof).collect()
    }
}

fn leaf_node(sequence: u64) -> NodeId {
    NodeId { height: 0, index: sequence }
}

/// The proof of one leaf, whose nodes were read.
fn proof(
    tree: &Tree<'_>,
    leaf: Leaf,
    size: u64,
    root: Hash,
    checkpoint: String,
) -> Result<InclusionProof> {
    let Leaf { event_id, sequence, data } = leaf;
    let groups = inclusion_nodes(sequence, size).ok_or_else(|| tree.broken())?;
    let (hashes, hash) = (tree.folds(&groups)?, tree.fold(&[leaf_node(sequence)])?);
    // A proof that does not prove is of no use to the caller, and must not go unnoticed.
    verify_inclusion(&hash, sequence, size, &hashes, &root).map_err(|_| tree.broken())?;
    if data.as_ref().is_some_and(|data| leaf_hash(&data.salt, &data.canonical_event) != hash) {
        return Err(tree.broken());
    }
    let tlog_proof = TlogProof { extra: None, index: sequence, hashes: hashes.clone(), checkpoint };
    let tlog_proof = tlog_proof.to_string();
    let receipt = Receipt { event_id, sequence, leaf_hash: hash, data, tlog_proof };
    Ok(InclusionProof { receipt, size, root, hashes })
}

fn event_key(choice: EventChoice, violations: &mut Violations) -> Option<LeafKey> {
    match choice {
        EventChoice::Missing => {
            let description = "event_id or sequence is required";
            violations.add("event", Reason::Required, description);
            None
        }
        EventChoice::Id(id) => {
            violations.required_text("event_id", &id, limits::SHORT_TEXT_CHARS);
            Some(LeafKey::Id(EventId::from_stored(id)))
        }
        EventChoice::Sequence(sequence) => Some(LeafKey::Sequence(sequence)),
    }
}
