//! The keys of logs, and what happens when they change.

use std::{path::Path, sync::Arc};

use audit_logs::{
    config::Settings,
    domain::clock::{Clock, ManualClock},
    domain::timestamp::Timestamp,
    merkle::{Checkpoint, CheckpointError, NoteError, SigningKey, VerifierKey},
    proto::v1::{self, CreateEventRequest, GetPublicKeyRequest},
};

use super::{check_receipt, key_of, log};
use crate::support::{
    Engine, TestServer, create_event, on_every_engine, schema_for, server::fresh_settings,
};

on_every_engine!(a_rotation_keeps_what_was_signed_before, replicas_that_share_a_key_retire_nothing,);

const NOW: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);

fn write_key(path: &Path, seed: u8) {
    let key = SigningKey::from_seed([seed; 32]).to_pem().unwrap();
    std::fs::write(path, key.as_bytes()).unwrap();
}

async fn keys(server: &TestServer) -> Vec<v1::VerifierKey> {
    let request = GetPublicKeyRequest { organization_id: "acme".into() };
    log(server).await.get_public_key(request).await.unwrap().into_inner().keys
}

fn parsed(key: &v1::VerifierKey) -> VerifierKey {
    let parsed: VerifierKey = key.verifier_key.parse().unwrap();
    assert_eq!(parsed.public_key.0.to_vec(), key.public_key);
    parsed
}

/// A server with the key of `seed`, its clock `seconds` after [`NOW`].
async fn with_key(engine: Engine, settings: &Settings, seed: u8, seconds: i64) -> TestServer {
    write_key(settings.signing_key_file.as_ref().unwrap(), seed);
    let clock = ManualClock::new(NOW.plus_seconds(seconds));
    TestServer::over(engine, settings.clone(), Arc::new(clock)).await
}

async fn receipt(server: &TestServer) -> v1::Receipt {
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let request = CreateEventRequest { receipt: true, ..create_event("acme", "doc.read") };
    client.create_event(request).await.unwrap().into_inner().receipt.unwrap()
}

async fn a_rotation_keeps_what_was_signed_before(engine: Engine) {
    let (mut settings, directory) = fresh_settings(engine).await;
    settings.signing_key_file = Some(directory.path().join("key.pem"));
    let mut server = with_key(engine, &settings, 1, 0).await;
    let old_receipt = receipt(&server).await;
    let [old] = keys(&server).await.try_into().unwrap();
    assert!(old.current && old.retired_at.is_none());
    assert_eq!(parsed(&old), key_of(&server, "acme").await);
    server.stop().await;

    let mut server = with_key(engine, &settings, 2, 60).await;
    let new_receipt = receipt(&server).await;
    let [new, retired] = keys(&server).await.try_into().unwrap();
    assert!(new.current && new.retired_at.is_none());
    assert_eq!(parsed(&new), key_of(&server, "acme").await);
    assert_eq!(retired.public_key, old.public_key);
    assert!(!retired.current);
    let times = [&retired.created_at, &retired.retired_at].map(|time| time.unwrap().seconds);
    assert_eq!(times[1] - times[0], 60);
    let [old, new] = [parsed(&old), parsed(&new)];
    assert_eq!(check_receipt(&old_receipt, &old).size, 1);
    assert_eq!(check_receipt(&new_receipt, &new).size, 2);
    let note = old_receipt.tlog_proof.split_once("\n\n").unwrap().1;
    let refused = Checkpoint::open(note, &[new]).unwrap_err();
    assert_eq!(refused, CheckpointError::Note(NoteError::NoKnownKey));
    server.stop().await;

    // The old key comes back.
    let server = with_key(engine, &settings, 1, 120).await;
    let listed = keys(&server).await;
    let retired: Vec<_> = listed.iter().map(|key| key.retired_at.is_some()).collect();
    assert_eq!(retired, [true, false], "the newer one is retired, and still listed first");
    assert!(listed[1].current);
}

async fn replicas_that_share_a_key_retire_nothing(engine: Engine) {
    let (mut settings, directory) = fresh_settings(engine).await;
    settings.signing_key_file = Some(directory.path().join("key.pem"));
    write_key(settings.signing_key_file.as_ref().unwrap(), 1);
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW));
    let one = TestServer::over(engine, settings.clone(), clock.clone()).await;
    let other = TestServer::over(engine, settings, clock).await;
    let [ones, others] = [receipt(&one).await, receipt(&other).await];
    let [key] = keys(&one).await.try_into().unwrap();
    assert!(key.current && key.retired_at.is_none());
    assert_eq!(keys(&other).await, std::slice::from_ref(&key));
    check_receipt(&ones, &parsed(&key));
    check_receipt(&others, &parsed(&key));
}
