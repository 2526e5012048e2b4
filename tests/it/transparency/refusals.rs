//! What the proofs refuse, and how they say so.

use audit_logs::proto::v1::{
    GetCheckpointRequest, GetConsistencyProofRequest, GetInclusionProofRequest,
    get_inclusion_proof_request::Event,
};
use tonic::{Code, Status};

use super::{by_sequence, grow, log, log_as};
use crate::support::{Engine, Refusal, TestServer, on_every_engine};

on_every_engine!(
    what_is_beyond_the_log_is_out_of_range,
    an_event_must_be_named_and_exist,
    rows_that_contradict_each_other_are_not_proven,
    an_altered_past_is_not_signed,
);

fn inclusion(event: Option<Event>, tree_size: Option<u64>) -> GetInclusionProofRequest {
    GetInclusionProofRequest { organization_id: "acme".into(), event, tree_size }
}

fn consistency(first: u64, second: Option<u64>) -> GetConsistencyProofRequest {
    GetConsistencyProofRequest {
        organization_id: "acme".into(),
        first_tree_size: first,
        second_tree_size: second,
    }
}

/// Fails unless it is about that one field, and tells the size of the log where that matters.
fn assert_field(status: &Status, field: &str, reason: &str) {
    let refusal = Refusal::of(status);
    assert_eq!((refusal.code, &*refusal.reason), (Code::InvalidArgument, "INVALID_REQUEST"));
    assert_eq!(refusal.fields, [(field.to_owned(), reason.to_owned())], "{status:?}");
}

async fn what_is_beyond_the_log_is_out_of_range(engine: Engine) {
    let server = TestServer::start(engine).await;
    let answers = grow(&server, "acme", 3).await;
    let mut log = log(&server).await;
    let by_id = |tree_size| inclusion(Some(Event::EventId(answers[2].event_id.clone())), tree_size);
    for (request, field) in [
        (by_sequence("acme", 3, None), "sequence"),
        (by_sequence("acme", u64::MAX, None), "sequence"),
        (by_sequence("acme", 2, Some(2)), "sequence"),
        (by_sequence("acme", 0, Some(0)), "sequence"),
        (by_sequence("acme", 0, Some(4)), "tree_size"),
        (by_sequence("acme", 0, Some(u64::MAX)), "tree_size"),
        (by_id(Some(2)), "tree_size"),
        (by_id(Some(4)), "tree_size"),
    ] {
        let status = log.get_inclusion_proof(request).await.unwrap_err();
        assert_field(&status, field, "OUT_OF_RANGE");
        assert!(status.message().contains('3'), "{status:?}");
    }
    for (request, field) in [
        (consistency(4, Some(3)), "first_tree_size"),
        (consistency(u64::MAX, Some(3)), "first_tree_size"),
        (consistency(4, None), "first_tree_size"),
        (consistency(1, Some(4)), "second_tree_size"),
        (consistency(2, Some(1)), "second_tree_size"),
    ] {
        let status = log.get_consistency_proof(request).await.unwrap_err();
        assert_field(&status, field, "OUT_OF_RANGE");
    }
}

async fn an_event_must_be_named_and_exist(engine: Engine) {
    let server = TestServer::start(engine).await;
    grow(&server, "acme", 1).await;
    let theirs = grow(&server, "beta", 1).await[0].event_id.clone();
    let mut client = log(&server).await;
    let status = client.get_inclusion_proof(inclusion(None, None)).await.unwrap_err();
    assert_field(&status, "event", "REQUIRED");
    let empty = inclusion(Some(Event::EventId(String::new())), None);
    let status = client.get_inclusion_proof(empty).await.unwrap_err();
    assert_field(&status, "event_id", "REQUIRED");
    // An event of another organization is not in this log.
    for id in ["audit_event_01JQ4X7Z6E5M2K9T8V3B1N0CDA", &theirs] {
        let request = inclusion(Some(Event::EventId(id.to_owned())), None);
        let refusal = Refusal::of(&client.get_inclusion_proof(request).await.unwrap_err());
        assert_eq!((refusal.code, &*refusal.reason), (Code::NotFound, "EVENT_NOT_FOUND"));
    }
    let limited = server.key_with(&["events:read"], &["beta"]).await;
    let request = GetCheckpointRequest { organization_id: "acme".into() };
    let mut limited = log_as(&server, &limited).await;
    let refusal = Refusal::of(&limited.get_checkpoint(request).await.unwrap_err());
    assert_eq!((refusal.code, &*refusal.reason), (Code::NotFound, "ORGANIZATION_NOT_FOUND"));
}

/// A proof that does not prove would be of no use, and must not go unnoticed.
async fn rows_that_contradict_each_other_are_not_proven(engine: Engine) {
    let server = TestServer::start(engine).await;
    grow(&server, "acme", 258).await;
    let mut log = log(&server).await;
    let mut refused = async |request| {
        let refusal = Refusal::of(&log.get_inclusion_proof(request).await.unwrap_err());
        assert_eq!((refusal.code, &*refusal.reason), (Code::Internal, "INTERNAL"));
    };
    server.execute("UPDATE events SET salt = leaf_hash WHERE sequence = 256").await;
    refused(by_sequence("acme", 256, None)).await;
    server.execute("DELETE FROM events WHERE sequence = 256").await;
    refused(by_sequence("acme", 257, None)).await;
    server.execute("UPDATE events SET payload = salt WHERE sequence = 7").await;
    refused(by_sequence("acme", 7, None)).await;
    server.execute("UPDATE log_tiles SET hashes = root").await;
    refused(by_sequence("acme", 8, None)).await;
    server.execute("DELETE FROM log_tiles").await;
    refused(by_sequence("acme", 8, None)).await;
}

/// At a size below the head, the altered rows agree with each other; the head tells on them.
async fn an_altered_past_is_not_signed(engine: Engine) {
    let server = TestServer::start(engine).await;
    grow(&server, "acme", 300).await;
    let (mut hashes, _) = server.query_bytes("SELECT hashes, root FROM log_tiles").await;
    hashes[5 * 32] ^= 1;
    let altered = match engine {
        Engine::Sqlite => format!("x'{}'", hex::encode(hashes)),
        Engine::Postgres => format!("'\\x{}'::bytea", hex::encode(hashes)),
    };
    server.execute(&format!("UPDATE log_tiles SET hashes = {altered}")).await;
    let mut log = log(&server).await;
    for size in [6, 200, 255, 256, 299, 300] {
        let request = by_sequence("acme", 4, Some(size));
        let status = log.get_inclusion_proof(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{size}");
        let status = log.get_consistency_proof(consistency(5, Some(size))).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{size}");
    }
}
