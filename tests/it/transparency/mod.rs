//! The proofs of what a log holds, checked with our own code and with that of others.

mod history;
mod interop;
mod keys;
mod large;
mod proofs;
mod receipts;
mod refusals;
mod tiles;

use audit_logs::{
    client::Bearer,
    merkle::{Checkpoint, Hash, TlogProof, VerifierKey, leaf_hash, proof::verify_inclusion},
    proto::v1::{
        BatchCreateEventsRequest, CreateEventRequest, CreateEventResponse, GetCheckpointRequest,
        GetCheckpointResponse, GetInclusionProofRequest, Receipt,
        batch_create_events_result::Result::Created, get_inclusion_proof_request::Event,
        transparency_log_client::TransparencyLogClient,
    },
};
use tonic::{service::interceptor::InterceptedService, transport::Channel};

use crate::support::{TestServer, create_event, schema_for, server::ROOT_KEY};

/// A client of the proofs.
pub type Log = TransparencyLogClient<InterceptedService<Channel, Bearer>>;

pub async fn log(server: &TestServer) -> Log {
    log_as(server, ROOT_KEY).await
}

pub async fn log_as(server: &TestServer, key: &str) -> Log {
    TransparencyLogClient::with_interceptor(server.channel().await, Bearer::new(key).unwrap())
}

/// Appends events, and returns the answers to them.
pub async fn grow(
    server: &TestServer,
    organization: &str,
    events: usize,
) -> Vec<CreateEventResponse> {
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut answers = Vec::with_capacity(events);
    let requests = vec![create_event(organization, "doc.read"); events];
    for requests in requests.chunks(1_000) {
        answers.extend(create_batch(server, requests.to_vec(), true).await);
    }
    answers
}

/// Records events that are all taken.
pub async fn create_batch(
    server: &TestServer,
    requests: Vec<CreateEventRequest>,
    atomic: bool,
) -> Vec<CreateEventResponse> {
    let batch = BatchCreateEventsRequest { requests, atomic };
    let answer = server.client().await.batch_create_events(batch).await.unwrap().into_inner();
    let created = answer.results.into_iter().map(|result| match result.result {
        Some(Created(created)) => created,
        other => panic!("{other:?}"),
    });
    created.collect()
}

pub fn hash(bytes: &[u8]) -> Hash {
    bytes.try_into().unwrap()
}

/// Hashes of the new leaves, in order.
pub fn leaves(answers: &[CreateEventResponse]) -> Vec<Hash> {
    answers.iter().map(|answer| hash(&answer.leaf_hash)).collect()
}

pub async fn checkpoint(server: &TestServer, organization: &str) -> GetCheckpointResponse {
    let request = GetCheckpointRequest { organization_id: organization.into() };
    log(server).await.get_checkpoint(request).await.unwrap().into_inner()
}

/// The present key of a log.
pub async fn key_of(server: &TestServer, organization: &str) -> VerifierKey {
    checkpoint(server, organization).await.verifier_key.parse().unwrap()
}

pub fn by_sequence(
    organization: &str,
    sequence: u64,
    tree_size: Option<u64>,
) -> GetInclusionProofRequest {
    let event = Some(Event::Sequence(sequence));
    GetInclusionProofRequest { organization_id: organization.into(), event, tree_size }
}

/// Checks a receipt as a verifier does, who has nothing but the key, and returns its checkpoint.
pub fn check_receipt(receipt: &Receipt, key: &VerifierKey) -> Checkpoint {
    let salt = receipt.salt.as_slice().try_into().unwrap();
    let leaf = leaf_hash(&salt, &receipt.canonical_event);
    assert_eq!(leaf.to_vec(), receipt.leaf_hash);
    let event: serde_json::Value = serde_json::from_slice(&receipt.canonical_event).unwrap();
    assert_eq!(event["id"], receipt.event_id);
    let proof: TlogProof = receipt.tlog_proof.parse().unwrap();
    assert_eq!(proof.index, receipt.sequence);
    let checkpoint = Checkpoint::open(&proof.checkpoint, std::slice::from_ref(key)).unwrap();
    let Checkpoint { size, root, .. } = &checkpoint;
    verify_inclusion(&leaf, proof.index, *size, &proof.hashes, root).unwrap();
    let hashes = proof.hashes.iter().map(|hash| tlog_tiles::Hash(*hash)).collect();
    let (root, leaf) = (tlog_tiles::Hash(*root), tlog_tiles::Hash(leaf));
    tlog_tiles::check_record(&hashes, *size, root, proof.index, leaf).unwrap();
    checkpoint
}
