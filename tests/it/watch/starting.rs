//! Where a stream starts.

use audit_logs::{domain::timestamp::Timestamp, proto::v1::watch_events_request::Start};
use prost_types::Timestamp as ProtoTime;
use tonic::Code;

use super::support::{Seen, client_with_events, from, watch_acme, write};
use crate::support::{Engine, Refusal, TestServer, at, on_every_engine};

on_every_engine!(
    a_time_finds_the_first_event_that_was_received_then,
    times_out_of_order_lose_nothing,
    what_was_erased_is_passed_over,
    what_cannot_be_a_start_is_refused,
    an_organization_without_events_can_be_watched,
);

fn since(time: &str) -> audit_logs::proto::v1::WatchEventsRequest {
    watch_acme(Some(Start::FromTime(at(time))))
}

async fn a_time_finds_the_first_event_that_was_received_then(engine: Engine) {
    let noon = Timestamp::parse_rfc3339("2026-11-21T12:00:00Z").unwrap();
    let (server, clock) = TestServer::start_with_clock(engine, noon).await;
    let mut client = client_with_events(&server, 10).await;
    for _ in 0..20 {
        clock.advance_seconds(60);
        write(&mut client, 10).await;
    }
    for (time, expected) in [
        ("2026-11-21T11:00:00Z", 0),
        ("2026-11-21T12:00:00Z", 0),
        ("2026-11-21T12:00:00.000001Z", 10),
        ("2026-11-21T12:07:00Z", 70),
        ("2026-11-21T12:07:30Z", 80),
        ("2026-11-21T12:20:00Z", 200),
        // Ahead of the clock: now.
        ("2026-11-21T12:20:01Z", 210),
        ("2027-01-01T00:00:00Z", 210),
    ] {
        let mut seen = Seen::start(&client, since(time)).await;
        seen.frame().await.unwrap();
        assert_eq!(seen.next, Some(expected), "{time}");
        seen.until_next(210).await;
        assert_eq!(seen.sequences(), (expected..210).collect::<Vec<_>>(), "{time}");
    }
}

/// An event that waited longer stands behind one that was received later.
async fn times_out_of_order_lose_nothing(engine: Engine) {
    let noon = Timestamp::parse_rfc3339("2026-11-21T12:00:00Z").unwrap();
    let (server, clock) = TestServer::start_with_clock(engine, noon).await;
    let mut client = client_with_events(&server, 5).await;
    clock.advance_seconds(30);
    write(&mut client, 1).await;
    clock.advance_seconds(-30);
    write(&mut client, 5).await;
    clock.advance_seconds(300);
    let mut seen = Seen::start(&client, since("2026-11-21T12:00:30Z")).await;
    seen.frame().await.unwrap();
    assert_eq!(seen.next, Some(5));
}

async fn what_was_erased_is_passed_over(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = client_with_events(&server, 600).await;
    // As retention leaves it.
    server.execute("DELETE FROM events WHERE organization_id = 'acme' AND sequence < 512").await;
    for (start, expected) in [(0, 512), (100, 512), (512, 512), (599, 599), (600, 600)] {
        let mut seen = Seen::start(&client, from(start)).await;
        seen.frame().await.unwrap();
        assert_eq!(seen.next, Some(expected));
        seen.until_next(600).await;
        assert_eq!(seen.sequences(), (expected..600).collect::<Vec<_>>());
    }
    let mut seen = Seen::start(&client, since("2026-01-01T00:00:00Z")).await;
    write(&mut client, 1).await;
    seen.until_next(601).await;
    assert_eq!(seen.sequences(), (512..601).collect::<Vec<_>>());
}

async fn what_cannot_be_a_start_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = client_with_events(&server, 2).await;
    // As after a restore from a backup: the client has seen more than there is.
    let refusal = Refusal::of(&client.watch_events(from(3)).await.unwrap_err());
    assert_eq!(refusal.code, Code::InvalidArgument);
    assert!(refusal.names("from_sequence", "OUT_OF_RANGE"), "{refusal:?}");
    let never = ProtoTime { seconds: i64::MAX, nanos: 0 };
    let request = watch_acme(Some(Start::FromTime(never)));
    let refusal = Refusal::of(&client.watch_events(request).await.unwrap_err());
    assert!(refusal.names("from_time", "OUT_OF_RANGE"), "{refusal:?}");
    let mut request = from(0);
    request.organization_id = "nobody".into();
    let refusal = Refusal::of(&client.watch_events(request.clone()).await.unwrap_err());
    let expected = (Code::NotFound, "ORGANIZATION_NOT_FOUND");
    assert_eq!((refusal.code, &*refusal.reason), expected);
    request.organization_id = String::new();
    let refusal = Refusal::of(&client.watch_events(request).await.unwrap_err());
    assert!(refusal.names("organization_id", "REQUIRED"), "{refusal:?}");
    assert_eq!(server.services.watches.hub().watchers(), 0);
}

async fn an_organization_without_events_can_be_watched(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = client_with_events(&server, 0).await;
    let request = audit_logs::proto::v1::OrganizationsCreateRequest {
        name: "Acme".into(),
        organization_id: "acme".into(),
        ..Default::default()
    };
    server.organizations().await.create(request).await.unwrap();
    let mut seen = Seen::start(&client, watch_acme(None)).await;
    seen.frame().await.unwrap();
    assert_eq!(seen.next, Some(0));
    write(&mut client, 3).await;
    seen.until_next(3).await;
    assert_eq!(seen.sequences(), [0, 1, 2]);
}
