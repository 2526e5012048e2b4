//! Secrets are encrypted at rest, never told, and survive a change of the key.

use std::sync::Arc;

use audit_logs::{
    domain::clock::SystemClock,
    proto::v1::{
        LogStreamState, LogStreamsCreateRequest, LogStreamsListRequest, LogStreamsResumeRequest,
        OrganizationsDeleteRequest,
    },
};
use prost::Message;
use tonic::Code;

use super::support::{
    KEY, TOKEN, add_organization, create, get, https_receiver, prepare, record, server, settings,
    stream_of_acme, to_https, until_arrived, until_next, until_state,
};
use crate::{
    receivers::Fault,
    support::{Engine, TestServer, on_every_engine, status::Refusal, until},
};

on_every_engine!(
    without_a_key_secrets_are_refused,
    secrets_are_neither_told_nor_readable_in_the_database,
    the_key_can_be_changed,
    they_go_with_their_organization,
);

/// Another key.
const NEW_KEY: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=";

async fn without_a_key_secrets_are_refused(engine: Engine) {
    let server = TestServer::start_with(engine, |changed| {
        settings(changed);
        changed.secrets.key = None;
    })
    .await;
    prepare(&server).await;
    let receiver = https_receiver().await;
    let mut streams = server.log_streams().await;
    let refused = streams.create(stream_of_acme(to_https(&receiver, TOKEN))).await.unwrap_err();
    let refusal = Refusal::of(&refused);
    assert_eq!((refusal.code, &*refusal.reason), (Code::FailedPrecondition, "SECRETS_KEY_MISSING"));
    assert!(refused.message().contains("secrets.key"), "{}", refused.message());
    assert_eq!(server.count("log_streams").await, 0);
}

async fn secrets_are_neither_told_nor_readable_in_the_database(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let told = get(&server, &id).await.encode_to_vec();
    let list = server.log_streams().await.list(LogStreamsListRequest::default()).await.unwrap();
    let listed = list.into_inner().encode_to_vec();
    let (destination, secrets) = server
        .query_bytes(
            "SELECT CAST(destination AS BYTEA), secrets FROM log_streams"
                .replace("BYTEA", if engine == Engine::Sqlite { "BLOB" } else { "BYTEA" })
                .as_str(),
        )
        .await;
    for bytes in [told, listed, destination, secrets] {
        let has_it = bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
        assert!(!has_it && !bytes.is_empty());
    }
    // What the receiver repeats of it is not told either.
    receiver.misbehave(crate::receivers::Fault::Echo, usize::MAX);
    record(&mut server.client().await, "acme", 1).await;
    let test = audit_logs::proto::v1::LogStreamsTestRequest { log_stream_id: id.clone() };
    let answer = server.log_streams().await.test(test).await.unwrap().into_inner();
    assert!(!answer.answer.contains(TOKEN), "{}", answer.answer);
    until("the event is given up", async || {
        (!super::support::dead_letters(&server, &id).await.is_empty()).then_some(())
    })
    .await;
    assert!(!super::support::dead_letters(&server, &id).await[0].reason.contains(TOKEN));
}

async fn the_key_can_be_changed(engine: Engine) {
    let (mut server, receiver) = (server(engine).await, https_receiver().await);
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let mut ids = record(&mut server.client().await, "acme", 1).await;
    until_next(&server, &id, 1).await;
    server.stop().await;
    let restarted = async |current: &str, previous: Option<&str>| {
        let mut changed = server.settings.clone();
        changed.secrets.key = Some(current.into());
        changed.secrets.previous_keys = previous.map(Into::into);
        TestServer::over(engine, changed, Arc::new(SystemClock)).await
    };
    // The new one alone cannot read what the old one wrote: the stream says so, and waits.
    let mut alone = restarted(NEW_KEY, None).await;
    until_state(&alone, &id, LogStreamState::Invalid).await;
    assert!(get(&alone, &id).await.error.contains("key"));
    ids.extend(record(&mut alone.client().await, "acme", 1).await);
    alone.stop().await;
    let sealed = "SELECT secrets, secrets FROM log_streams";
    let before = alone.query_bytes(sealed).await;
    let mut both = restarted(NEW_KEY, Some(KEY)).await;
    let resume = LogStreamsResumeRequest { log_stream_id: id.clone() };
    both.log_streams().await.resume(resume.clone()).await.unwrap();
    until_arrived(&receiver, 2).await;
    until("it is encrypted anew", async || {
        (both.query_bytes(sealed).await != before).then_some(())
    })
    .await;
    both.stop().await;
    // From then on the old one is not needed.
    let new = restarted(NEW_KEY, None).await;
    ids.extend(record(&mut new.client().await, "acme", 1).await);
    until_arrived(&receiver, 3).await;
    assert_eq!(receiver.ids(), ids);
}

async fn they_go_with_their_organization(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    add_organization(&server, "other").await;
    receiver.misbehave(Fault::Echo, 1);
    create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let other = LogStreamsCreateRequest {
        organization_id: "other".into(),
        ..stream_of_acme(to_https(&receiver, TOKEN))
    };
    let other = create(&server, other).await;
    record(&mut server.client().await, "acme", 1).await;
    until("there is a dead letter", async || {
        (server.count("log_stream_dead_letters").await == 1).then_some(())
    })
    .await;
    let request = OrganizationsDeleteRequest { organization_id: "acme".into() };
    server.organizations().await.delete(request).await.unwrap();
    assert_eq!(server.count("log_stream_dead_letters").await, 0);
    assert_eq!(server.count("log_streams").await, 1);
    record(&mut server.client().await, "other", 1).await;
    until_next(&server, &other, 1).await;
}
