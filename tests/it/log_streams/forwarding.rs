//! What arrives, from where on, and in which order.

use std::sync::Arc;

use audit_logs::{
    domain::{
        clock::{Clock, ManualClock},
        timestamp::Timestamp,
    },
    proto::v1::{
        LogStreamState, LogStreamsDeleteRequest, LogStreamsPauseRequest, LogStreamsReplayRequest,
        LogStreamsResumeRequest, LogStreamsTestRequest, OrganizationsDeleteRequest,
        log_streams_create_request::Start, log_streams_replay_request::Start as ReplayStart,
    },
};

use super::support::{
    TOKEN, add_organization, create, datadog_receiver, get, https_receiver, record, server,
    server_with, stream_of_acme, to_datadog, to_https, until_arrived, until_next, until_state,
};
use crate::support::{Engine, on_every_engine, until};

on_every_engine!(
    all_that_is_recorded_arrives_in_order,
    a_stream_begins_where_it_is_told_to,
    a_pause_of_days_loses_nothing,
    a_replay_delivers_again,
    a_test_tells_what_the_destination_says,
    what_is_deleted_is_forwarded_no_more,
    a_slow_destination_gets_full_batches,
);

async fn all_that_is_recorded_arrives_in_order(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    let mut client = server.client().await;
    let mut ids = record(&mut client, "acme", 30).await;
    let request = stream_of_acme(to_https(&receiver, TOKEN));
    let id = create(&server, {
        let start = Some(Start::FromSequence(0));
        audit_logs::proto::v1::LogStreamsCreateRequest { start, ..request }
    })
    .await;
    ids.extend(record(&mut client, "acme", 30).await);
    until_arrived(&receiver, 60).await;
    assert_eq!(receiver.ids(), ids);
    until_next(&server, &id, 60).await;
    let stream = get(&server, &id).await;
    assert_eq!((stream.state(), stream.error.as_str()), (LogStreamState::Active, ""));
    assert!(stream.last_synced_at.is_some());
    // What another organization records does not.
    add_organization(&server, "beta").await;
    record(&mut client, "beta", 3).await;
    ids.extend(record(&mut client, "acme", 1).await);
    until_arrived(&receiver, 61).await;
    assert_eq!(receiver.ids(), ids);
}

async fn a_stream_begins_where_it_is_told_to(engine: Engine) {
    let (clock, start) = clock();
    let server = server_with(engine, clock.clone()).await;
    let mut client = server.client().await;
    record(&mut client, "acme", 5).await;
    clock.advance_seconds(3_600);
    let later = clock.now();
    let mut ids = record(&mut client, "acme", 5).await;
    let [now, by_time, by_sequence] =
        [https_receiver().await, https_receiver().await, https_receiver().await];
    let request = |receiver, start| audit_logs::proto::v1::LogStreamsCreateRequest {
        start,
        ..stream_of_acme(to_https(receiver, TOKEN))
    };
    assert!(later > start);
    let time = prost_types::Timestamp { seconds: later.seconds(), nanos: 0 };
    create(&server, request(&now, None)).await;
    create(&server, request(&by_time, Some(Start::FromTime(time)))).await;
    create(&server, request(&by_sequence, Some(Start::FromSequence(7)))).await;
    ids.extend(record(&mut client, "acme", 2).await);
    for (receiver, first) in [(&now, 5), (&by_time, 0), (&by_sequence, 2)] {
        until_arrived(receiver, ids.len() - first).await;
        assert_eq!(receiver.ids(), ids[first..]);
    }
}

async fn a_pause_of_days_loses_nothing(engine: Engine) {
    let (clock, _) = clock();
    let (server, receiver) = (server_with(engine, clock.clone()).await, datadog_receiver().await);
    let id = create(&server, stream_of_acme(to_datadog(&receiver))).await;
    let mut client = server.client().await;
    let mut ids = record(&mut client, "acme", 3).await;
    until_next(&server, &id, 3).await;
    let pause = LogStreamsPauseRequest { log_stream_id: id.clone() };
    let paused = server.log_streams().await.pause(pause).await.unwrap().into_inner();
    assert_eq!(paused.log_stream.unwrap().state(), LogStreamState::Inactive);
    for _ in 0..3 {
        ids.extend(record(&mut client, "acme", 10).await);
        clock.advance_seconds(20 * 3_600);
    }
    let status = super::support::status(&server, &id).await;
    assert_eq!((status.lag_events, status.state()), (30, LogStreamState::Inactive));
    // Said before it matters: Datadog takes nothing that is dated 18 hours back.
    assert!(status.warnings.iter().any(|warning| warning.contains("18 hours")), "{status:?}");
    assert_eq!(receiver.count(), 3);
    let resume = LogStreamsResumeRequest { log_stream_id: id.clone() };
    server.log_streams().await.resume(resume).await.unwrap();
    until_arrived(&receiver, 33).await;
    assert_eq!(receiver.ids(), ids);
    until_next(&server, &id, 33).await;
}

async fn a_replay_delivers_again(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let ids = record(&mut server.client().await, "acme", 10).await;
    until_next(&server, &id, 10).await;
    let replay = |sequence| LogStreamsReplayRequest {
        log_stream_id: id.clone(),
        start: Some(ReplayStart::FromSequence(sequence)),
    };
    server.log_streams().await.replay(replay(4)).await.unwrap();
    until_arrived(&receiver, 16).await;
    assert_eq!(receiver.ids(), [&ids[..], &ids[4..]].concat());
    until_next(&server, &id, 10).await;
    // Forward: what lies between is left out.
    server
        .log_streams()
        .await
        .pause(LogStreamsPauseRequest { log_stream_id: id.clone() })
        .await
        .unwrap();
    let more = record(&mut server.client().await, "acme", 6).await;
    server.log_streams().await.replay(replay(13)).await.unwrap();
    server
        .log_streams()
        .await
        .resume(LogStreamsResumeRequest { log_stream_id: id.clone() })
        .await
        .unwrap();
    until_arrived(&receiver, 19).await;
    assert_eq!(receiver.ids()[16..], more[3..]);
    let beyond = server.log_streams().await.replay(replay(17)).await.unwrap_err();
    assert!(crate::support::status::Refusal::of(&beyond).names("from_sequence", "OUT_OF_RANGE"));
    // Every move is in the environment's own log.
    let moves = "SELECT CAST(COUNT(*) AS BIGINT) FROM events WHERE action = 'log_stream.replayed'";
    assert_eq!(server.query_integers(moves).await, [2]);
}

async fn a_test_tells_what_the_destination_says(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let test = || LogStreamsTestRequest { log_stream_id: id.clone() };
    let answer = server.log_streams().await.test(test()).await.unwrap().into_inner();
    assert!(answer.delivered && answer.http_status == 200 && answer.answer == "thank you");
    assert_eq!(receiver.accepted()[0]["action"], "audit_logs.log_stream_tested");
    receiver.protocol().set_token("another");
    let answer = server.log_streams().await.test(test()).await.unwrap().into_inner();
    assert_eq!((answer.delivered, answer.http_status), (false, 401));
    assert!(answer.answer.contains("who are you?"), "{answer:?}");
    assert_eq!(answer.state(), LogStreamState::Invalid);
    // The stream itself is what it was.
    let stream = get(&server, &id).await;
    assert_eq!((stream.state(), stream.next_sequence), (LogStreamState::Active, 0));
}

async fn what_is_deleted_is_forwarded_no_more(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    let first = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let second = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let mut client = server.client().await;
    record(&mut client, "acme", 1).await;
    until_arrived(&receiver, 2).await;
    let delete = LogStreamsDeleteRequest { log_stream_id: first.clone() };
    server.log_streams().await.delete(delete.clone()).await.unwrap();
    let gone = server.log_streams().await.delete(delete).await.unwrap_err();
    assert_eq!(crate::support::status::Refusal::of(&gone).reason, "LOG_STREAM_NOT_FOUND");
    until("nobody forwards it", async || {
        let held = "SELECT CAST(COUNT(*) AS BIGINT) FROM log_streams WHERE lease_owner IS NOT NULL";
        (server.query_integers(held).await == [1]).then_some(())
    })
    .await;
    record(&mut client, "acme", 1).await;
    until_next(&server, &second, 2).await;
    assert_eq!(receiver.count(), 3);
    // With its organization a stream is gone too, and its worker lets go of it.
    let delete = OrganizationsDeleteRequest { organization_id: "acme".into() };
    server.organizations().await.delete(delete).await.unwrap();
    let request = audit_logs::proto::v1::LogStreamsGetRequest { log_stream_id: second };
    let gone = server.log_streams().await.get(request).await.unwrap_err();
    assert_eq!(crate::support::status::Refusal::of(&gone).reason, "LOG_STREAM_NOT_FOUND");
    until("nobody holds it", async || {
        let held = "SELECT CAST(COUNT(*) AS BIGINT) FROM log_streams WHERE lease_owner IS NOT NULL";
        (server.query_integers(held).await == [0]).then_some(())
    })
    .await;
}

async fn a_slow_destination_gets_full_batches(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    let mut client = server.client().await;
    for _ in 0..5 {
        crate::watch::support::write(&mut client, 500).await;
    }
    let request = stream_of_acme(to_https(&receiver, TOKEN));
    let start = Some(Start::FromSequence(0));
    let id =
        create(&server, audit_logs::proto::v1::LogStreamsCreateRequest { start, ..request }).await;
    until_next(&server, &id, 2_500).await;
    assert_eq!(receiver.count(), 2_500);
    assert!(receiver.requests() <= 50, "{} requests for 2,500 events", receiver.requests());
    until_state(&server, &id, LogStreamState::Active).await;
}

fn clock() -> (Arc<ManualClock>, Timestamp) {
    let start = Timestamp::parse_rfc3339("2026-11-02T08:00:00Z").unwrap();
    (Arc::new(ManualClock::new(start)), start)
}
