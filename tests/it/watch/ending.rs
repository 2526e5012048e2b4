//! How a stream ends: with the reason, and with where to resume.

use audit_logs::{
    client::AuditLogs,
    config::Settings,
    proto::v1::{ApiKeysListRequest, ApiKeysRevokeRequest, OrganizationsDeleteRequest},
};
use tonic::Code;
use tonic_types::StatusExt;

use super::support::{Seen, client_with_events, from, resume_at, watch_acme, write};
use crate::support::{Engine, Refusal, TestServer, on_every_engine, until};

on_every_engine!(
    a_shutdown_says_where_to_resume,
    a_deleted_organization_ends_the_stream,
    a_revoked_key_ends_the_stream,
    who_does_not_read_is_ended_and_resumes_without_a_gap,
    a_client_that_leaves_is_forgotten,
    a_key_and_a_replica_have_only_so_many_watchers,
);

async fn a_shutdown_says_where_to_resume(engine: Engine) {
    let mut server = TestServer::start(engine).await;
    let client = client_with_events(&server, 3).await;
    let mut seen = Seen::start(&client, watch_acme(None)).await;
    seen.until_next(3).await;
    let stop = tokio::spawn(async move { server.stop().await });
    let end = seen.until_end().await;
    let refusal = Refusal::of(&end);
    assert_eq!((refusal.code, &*refusal.reason), (Code::Unavailable, "SERVICE_UNAVAILABLE"));
    assert_eq!(resume_at(&end), 3);
    assert!(end.get_details_retry_info().is_some());
    stop.await.unwrap();
}

async fn a_deleted_organization_ends_the_stream(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = client_with_events(&server, 3).await;
    let mut seen = Seen::start(&client, from(0)).await;
    seen.until_next(3).await;
    let request = OrganizationsDeleteRequest { organization_id: "acme".into() };
    server.organizations().await.delete(request).await.unwrap();
    let end = seen.until_end().await;
    let refusal = Refusal::of(&end);
    assert_eq!((refusal.code, &*refusal.reason), (Code::NotFound, "ORGANIZATION_NOT_FOUND"));
    assert_eq!(resume_at(&end), 3);
}

async fn a_revoked_key_ends_the_stream(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = client_with_events(&server, 1).await;
    let key = server.key_with(&["events:read"], &["acme"]).await;
    let mut keys = server.keys().await;
    let list = keys.list(ApiKeysListRequest::default()).await.unwrap().into_inner();
    let id = &list.api_keys.iter().find(|listed| key.ends_with(&listed.hint)).unwrap().id;
    let mut seen = Seen::start(&server.client_as(&key).await, from(0)).await;
    let mut other = Seen::start(&client, from(0)).await;
    seen.until_next(1).await;
    keys.revoke(ApiKeysRevokeRequest { api_key_id: id.clone() }).await.unwrap();
    let end = seen.until_end().await;
    let refusal = Refusal::of(&end);
    assert_eq!((refusal.code, &*refusal.reason), (Code::Unauthenticated, "API_KEY_INVALID"));
    // The stream of another key goes on.
    write(&mut client.clone(), 1).await;
    other.until_next(2).await;
}

async fn who_does_not_read_is_ended_and_resumes_without_a_gap(engine: Engine) {
    /// More than the buffers on the way hold.
    const EVENTS: u64 = 15_000;
    let server = TestServer::start_with(engine, |s| s.streams.slow_reader_seconds = 1).await;
    let mut client = client_with_events(&server, 1).await;
    let mut slow = Seen::start(&server.client().await, from(0)).await;
    let mut quick = Seen::start(&server.client().await, from(0)).await;
    let hub = server.services.watches.hub();
    assert_eq!(hub.watchers(), 2);
    let reader = tokio::spawn(async move {
        quick.until_next(EVENTS).await;
        quick
    });
    // Nobody waits for the one who does not read.
    write(&mut client, EVENTS - 1).await;
    let quick = reader.await.unwrap();
    assert_eq!(quick.sequences(), (0..EVENTS).collect::<Vec<_>>());
    drop(quick);
    until("the slow watcher is ended", async || (hub.watchers() == 0).then_some(())).await;

    let end = slow.until_end().await;
    let refusal = Refusal::of(&end);
    assert_eq!((refusal.code, &*refusal.reason), (Code::ResourceExhausted, "WATCHER_TOO_SLOW"));
    let next = resume_at(&end);
    // What was under way came first, all of it.
    assert_eq!(slow.sequences(), (0..next).collect::<Vec<_>>());
    assert!(next < EVENTS);
    let mut resumed = Seen::start(&client, from(next)).await;
    resumed.until_next(EVENTS).await;
    assert_eq!(resumed.sequences(), (next..EVENTS).collect::<Vec<_>>());
}

async fn a_client_that_leaves_is_forgotten(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = client_with_events(&server, 1).await;
    let hub = server.services.watches.hub();
    let mut seen = Seen::start(&client, watch_acme(None)).await;
    seen.until_next(1).await;
    assert_eq!(hub.watchers(), 1);
    drop(seen);
    until("nobody watches", async || (hub.watchers() == 0).then_some(())).await;
}

async fn a_key_and_a_replica_have_only_so_many_watchers(engine: Engine) {
    let limits = |settings: &mut Settings| {
        settings.streams.watchers = 2;
        settings.streams.watchers_per_key = 1;
    };
    let server = TestServer::start_with(engine, limits).await;
    let client = client_with_events(&server, 1).await;
    let second = server.client_as(&server.key_with(&["events:read"], &["acme"]).await).await;
    let third = server.client_as(&server.key_with(&["events:read"], &["acme"]).await).await;
    let mut first = Seen::start(&client, from(0)).await;
    first.until_next(1).await;
    let refused = async |client: &AuditLogs| {
        let refused = client.clone().watch_events(from(0)).await.unwrap_err();
        let refusal = Refusal::of(&refused);
        assert_eq!(refusal.code, Code::ResourceExhausted);
        assert_eq!(refusal.reason, "TOO_MANY_WATCHERS");
    };
    refused(&client).await;
    let mut other = Seen::start(&second, from(0)).await;
    other.until_next(1).await;
    refused(&third).await;
    // A place that was given up is free.
    drop(first);
    let hub = server.services.watches.hub();
    until("the first has left", async || (hub.watchers() == 1).then_some(())).await;
    Seen::start(&client, from(0)).await.until_next(1).await;
}
