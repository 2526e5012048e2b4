//! Proofs of inclusion and consistency between trees of many sizes, against another implementation.

use audit_logs::{
    merkle::{
        Checkpoint, Hash, VerifierKey, empty_root,
        proof::{verify_consistency, verify_inclusion},
    },
    proto::v1::{
        GetConsistencyProofRequest, GetInclusionProofRequest, GetInclusionProofResponse,
        get_inclusion_proof_request::Event,
    },
};

use super::{by_sequence, check_receipt, checkpoint, grow, hash, key_of, leaves, log};
use crate::support::{Engine, TestServer, on_every_engine};

on_every_engine!(
    checkpoints_state_size_and_root,
    every_kind_of_proof_at_every_boundary,
    the_defaults_are_the_present_tree,
);

/// Sizes at which tiles are empty, partial, just full, and more than one.
const SIZES: [u64; 8] = [0, 1, 2, 255, 256, 257, 512, 600];

/// The hashes that another implementation stores for the same leaves.
struct Stored(Vec<tlog_tiles::Hash>);

impl tlog_tiles::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        let at = |index: &u64| self.0[usize::try_from(*index).unwrap()];
        Ok(indexes.iter().map(at).collect())
    }
}

impl Stored {
    fn new(leaves: &[Hash]) -> Self {
        let mut stored = Self(Vec::new());
        for (sequence, leaf) in (0..).zip(leaves) {
            let leaf = tlog_tiles::Hash(*leaf);
            let new = tlog_tiles::stored_hashes_for_record_hash(sequence, leaf, &stored).unwrap();
            stored.0.extend(new);
        }
        stored
    }

    fn root(&self, size: u64) -> Hash {
        // It has no root for no leaves.
        if size == 0 { empty_root() } else { tlog_tiles::tree_hash(size, self).unwrap().0 }
    }
}

fn hashes(bytes: &[Vec<u8>]) -> Vec<Hash> {
    bytes.iter().map(|bytes| hash(bytes)).collect()
}

async fn checkpoints_state_size_and_root(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut stored = Vec::new();
    for batch in [1, 254, 1, 1] {
        stored.extend(leaves(&grow(&server, "acme", batch).await));
        let answer = checkpoint(&server, "acme").await;
        assert_eq!(answer.tree_size, stored.len() as u64);
        assert_eq!(hash(&answer.root_hash), Stored::new(&stored).root(answer.tree_size));
        let key: VerifierKey = answer.verifier_key.parse().unwrap();
        let opened = Checkpoint::open(&answer.checkpoint, &[key]).unwrap();
        let (size, root) = (answer.tree_size, hash(&answer.root_hash));
        let origin = format!("{}/acme", server.settings.log_name);
        assert_eq!(opened, Checkpoint { origin, size, root });
        // Others read it, too.
        let note = signed_note::Note::from_bytes(answer.checkpoint.as_bytes()).unwrap();
        let verifier = signed_note::StandardVerifier::new(&answer.verifier_key).unwrap();
        note.verify(&signed_note::VerifierList::new(vec![Box::new(verifier)])).unwrap();
        let theirs = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
        assert_eq!((theirs.size(), theirs.hash().0), (size, root));
    }
    // An organization without events has the empty tree.
    let organization = audit_logs::proto::v1::OrganizationsCreateRequest {
        organization_id: "empty".into(),
        name: "Empty".into(),
        ..Default::default()
    };
    server.organizations().await.create(organization).await.unwrap();
    let answer = checkpoint(&server, "empty").await;
    assert_eq!((answer.tree_size, hash(&answer.root_hash)), (0, empty_root()));
}

async fn every_kind_of_proof_at_every_boundary(engine: Engine) {
    let server = TestServer::start(engine).await;
    let answers = grow(&server, "acme", 600).await;
    let (leaves, key) = (leaves(&answers), key_of(&server, "acme").await);
    let stored = Stored::new(&leaves);
    let mut log = log(&server).await;
    for size in SIZES {
        for sequence in [0, 1, 254, 255, 256, 511, 512, 599].into_iter().filter(|at| *at < size) {
            let request = by_sequence("acme", sequence, Some(size));
            let answer = log.get_inclusion_proof(request).await.unwrap().into_inner();
            let theirs = tlog_tiles::prove_record(size, sequence, &stored).unwrap();
            let theirs: Vec<Hash> = theirs.iter().map(|hash| hash.0).collect();
            assert_eq!(hashes(&answer.hashes), theirs);
            assert_eq!((answer.tree_size, hash(&answer.root_hash)), (size, stored.root(size)));
            let leaf = leaves[usize::try_from(sequence).unwrap()];
            verify_inclusion(&leaf, sequence, size, &theirs, &stored.root(size)).unwrap();
            let opened = check_receipt(&answer.receipt.unwrap(), &key);
            assert_eq!((opened.size, opened.root), (size, stored.root(size)));
        }
        for first in SIZES.into_iter().filter(|first| *first <= size) {
            let request = GetConsistencyProofRequest {
                organization_id: "acme".into(),
                first_tree_size: first,
                second_tree_size: Some(size),
            };
            let answer = log.get_consistency_proof(request).await.unwrap().into_inner();
            assert_eq!((answer.first_tree_size, answer.second_tree_size), (first, size));
            let roots = [&answer.first_root_hash, &answer.second_root_hash].map(|root| hash(root));
            assert_eq!(roots, [stored.root(first), stored.root(size)]);
            let proof = hashes(&answer.hashes);
            verify_consistency(first, size, &roots[0], &roots[1], &proof).unwrap();
            if first > 0 {
                let theirs = tlog_tiles::prove_tree(size, first, &stored).unwrap();
                assert_eq!(proof, theirs.iter().map(|hash| hash.0).collect::<Vec<_>>());
            }
            let opened = Checkpoint::open(&answer.checkpoint, std::slice::from_ref(&key)).unwrap();
            assert_eq!((opened.size, opened.root), (size, roots[1]));
        }
    }
}

async fn the_defaults_are_the_present_tree(engine: Engine) {
    let server = TestServer::start(engine).await;
    let answers = grow(&server, "acme", 3).await;
    let mut log = log(&server).await;
    let request = GetInclusionProofRequest {
        organization_id: "acme".into(),
        event: Some(Event::EventId(answers[1].event_id.clone())),
        tree_size: None,
    };
    let by_id = log.get_inclusion_proof(request).await.unwrap().into_inner();
    let by_sequence = by_sequence("acme", 1, None);
    let by_sequence = log.get_inclusion_proof(by_sequence).await.unwrap().into_inner();
    assert_eq!(by_id, by_sequence);
    let GetInclusionProofResponse { tree_size, receipt: Some(receipt), .. } = by_id else {
        panic!("no receipt");
    };
    assert_eq!((tree_size, &receipt.event_id), (3, &answers[1].event_id));
    let request = GetConsistencyProofRequest {
        organization_id: "acme".into(),
        ..GetConsistencyProofRequest::default()
    };
    let answer = log.get_consistency_proof(request).await.unwrap().into_inner();
    assert_eq!((answer.first_tree_size, answer.second_tree_size), (0, 3));
    assert_eq!(hash(&answer.first_root_hash), empty_root());
    assert!(answer.hashes.is_empty());
    assert_eq!(answer.checkpoint, checkpoint(&server, "acme").await.checkpoint);
}
