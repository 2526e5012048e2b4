//! Destinations that misbehave: the stream tells, tries again, loses nothing, and disturbs nobody.

use audit_logs::proto::v1::{
    LogStreamDestination, LogStreamState, LogStreamsCreateRequest, LogStreamsPauseRequest,
    LogStreamsRedriveDeadLettersRequest, LogStreamsResumeRequest, LogStreamsUpdateRequest,
    S3Destination, log_stream_destination::Kind, log_streams_create_request::Start,
};

use super::support::{
    TOKEN, add_organization, create, dead_letters, get, https_receiver, prepare, record, server,
    settings, status, stream_of_acme, to_https, until_arrived, until_next, until_state,
    without_repetitions,
};
use crate::{
    receivers::{Fault, FlakyBucket},
    support::{Engine, TestServer, create_event, on_every_engine, until, with_text},
};

on_every_engine!(
    what_fails_is_tried_again_until_it_is_taken,
    a_refused_credential_makes_it_invalid_until_it_is_right,
    one_impossible_event_does_not_stop_the_rest,
    a_destination_that_refuses_everything_keeps_the_log,
    a_destination_that_finds_everything_too_large_keeps_the_log,
    what_is_too_large_is_split,
    one_turn_is_enough_for_a_backlog_and_dead_letters,
    a_dead_letter_that_is_gone_makes_nothing_well,
    a_hanging_destination_disturbs_nobody,
    the_wish_to_be_left_alone_is_heard,
    what_was_taken_of_a_batch_is_not_sent_again,
);

async fn what_fails_is_tried_again_until_it_is_taken(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let mut client = server.client().await;
    let mut ids = Vec::new();
    let faults = [
        Fault::Status(500, None),
        Fault::Status(503, None),
        Fault::CloseInRequest,
        Fault::CloseInAnswer,
        Fault::Status(408, None),
    ];
    for fault in faults {
        receiver.misbehave(fault.clone(), 1);
        ids.extend(record(&mut client, "acme", 3).await);
        until_next(&server, &id, ids.len() as u64).await;
        until_state(&server, &id, LogStreamState::Active).await;
        assert_eq!(without_repetitions(receiver.ids()), ids, "{fault:?}");
    }
    let status = status(&server, &id).await;
    assert!(status.last_error_at.is_some() && status.consecutive_failures == 0, "{status:?}");
    assert_eq!((status.dead_letters, status.next_attempt_at), (0, None));
    // Every change of its state is in the environment's own log, and no secret.
    let changes =
        "SELECT CAST(COUNT(*) AS BIGINT) FROM events WHERE action = 'log_stream.state_changed'";
    assert!(server.query_integers(changes).await[0] >= 2);
}

async fn a_refused_credential_makes_it_invalid_until_it_is_right(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    let id = create(&server, stream_of_acme(to_https(&receiver, "a wrong one"))).await;
    let ids = record(&mut server.client().await, "acme", 5).await;
    until_state(&server, &id, LogStreamState::Invalid).await;
    let stream = get(&server, &id).await;
    assert!(stream.error.contains("401"), "{}", stream.error);
    assert_eq!((receiver.count(), stream.next_sequence), (0, 0));
    // An update is tried at once, though the next try is minutes away.
    let update = LogStreamsUpdateRequest {
        log_stream_id: id.clone(),
        destination: Some(to_https(&receiver, TOKEN)),
        ..Default::default()
    };
    server.log_streams().await.update(update).await.unwrap();
    until_next(&server, &id, 5).await;
    until_state(&server, &id, LogStreamState::Active).await;
    assert_eq!(receiver.ids(), ids);
}

async fn one_impossible_event_does_not_stop_the_rest(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    // Takes bodies of 20 kB, so that an event of 24 kB never fits.
    receiver.misbehave(Fault::TooLargeAbove(20_000), usize::MAX);
    let mut client = server.client().await;
    let mut ids = record(&mut client, "acme", 4).await;
    let large = with_text(create_event("acme", "doc.read"), 24_000);
    let large = client.create_event(large).await.unwrap().into_inner();
    ids.extend(record(&mut client, "acme", 4).await);
    let id = create(
        &server,
        LogStreamsCreateRequest {
            start: Some(Start::FromSequence(0)),
            ..stream_of_acme(to_https(&receiver, TOKEN))
        },
    )
    .await;
    until_next(&server, &id, 9).await;
    assert_eq!(receiver.ids(), ids);
    let letters = dead_letters(&server, &id).await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].sequence, &letters[0].event_id), (4, &large.event_id));
    assert!(letters[0].reason.contains("413"), "{}", letters[0].reason);
    assert_eq!(status(&server, &id).await.dead_letters, 1);
    // In vain at first, then the destination takes it.
    let redrive =
        || LogStreamsRedriveDeadLettersRequest { log_stream_id: id.clone(), sequences: Vec::new() };
    let redriven = server.log_streams().await.redrive_dead_letters(redrive()).await.unwrap();
    assert_eq!(redriven.into_inner().count, 1);
    until("it was sent in vain", async || {
        (dead_letters(&server, &id).await[0].redrives == 1).then_some(())
    })
    .await;
    receiver.heal();
    server.log_streams().await.redrive_dead_letters(redrive()).await.unwrap();
    until("it is no dead letter any more", async || {
        dead_letters(&server, &id).await.is_empty().then_some(())
    })
    .await;
    assert_eq!(receiver.ids().last(), Some(&large.event_id));
    // And the stream goes on.
    ids.extend(record(&mut client, "acme", 1).await);
    until_next(&server, &id, 10).await;
}

async fn a_destination_that_refuses_everything_keeps_the_log(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    receiver.misbehave(Fault::Says(422, "I do not like it"), usize::MAX);
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let ids = record(&mut server.client().await, "acme", 60).await;
    until_state(&server, &id, LogStreamState::Invalid).await;
    let stream = get(&server, &id).await;
    assert!(stream.error.contains("20 events in a row"), "{}", stream.error);
    let given_up = dead_letters(&server, &id).await.len();
    assert_eq!((given_up, stream.next_sequence), (20, 20));
    receiver.heal();
    let resume = LogStreamsResumeRequest { log_stream_id: id.clone() };
    server.log_streams().await.resume(resume).await.unwrap();
    until_next(&server, &id, 60).await;
    assert_eq!(receiver.ids(), ids[20..]);
    let redrive =
        LogStreamsRedriveDeadLettersRequest { log_stream_id: id.clone(), sequences: vec![3, 5] };
    server.log_streams().await.redrive_dead_letters(redrive).await.unwrap();
    until_arrived(&receiver, 42).await;
    assert_eq!(receiver.ids()[40..], [ids[3].clone(), ids[5].clone()]);
}

/// A proxy on the way, say, that answers 413 to whatever comes.
async fn a_destination_that_finds_everything_too_large_keeps_the_log(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    receiver.misbehave(Fault::TooLargeAbove(0), usize::MAX);
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let ids = record(&mut server.client().await, "acme", 60).await;
    until_state(&server, &id, LogStreamState::Invalid).await;
    assert_eq!(
        (dead_letters(&server, &id).await.len(), get(&server, &id).await.next_sequence),
        (20, 20)
    );
    receiver.heal();
    let resume = LogStreamsResumeRequest { log_stream_id: id.clone() };
    server.log_streams().await.resume(resume).await.unwrap();
    until_next(&server, &id, 60).await;
    assert_eq!(receiver.ids(), ids[20..]);
}

async fn what_is_too_large_is_split(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    receiver.misbehave(Fault::TooLargeAbove(4_000), usize::MAX);
    let mut client = server.client().await;
    let ids = record(&mut client, "acme", 50).await;
    let id = create(
        &server,
        LogStreamsCreateRequest {
            start: Some(Start::FromSequence(0)),
            ..stream_of_acme(to_https(&receiver, TOKEN))
        },
    )
    .await;
    until_next(&server, &id, 50).await;
    assert_eq!(receiver.ids(), ids);
    assert!(dead_letters(&server, &id).await.is_empty());
}

async fn one_turn_is_enough_for_a_backlog_and_dead_letters(engine: Engine) {
    let server = TestServer::start_with(engine, |changed| {
        settings(changed);
        changed.log_streams.deliveries = 1;
    })
    .await;
    prepare(&server).await;
    let receiver = https_receiver().await;
    receiver.misbehave(Fault::Says(422, "no"), usize::MAX);
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let mut client = server.client().await;
    record(&mut client, "acme", 15).await;
    until_next(&server, &id, 15).await;
    receiver.heal();
    let mut streams = server.log_streams().await;
    streams.pause(LogStreamsPauseRequest { log_stream_id: id.clone() }).await.unwrap();
    for _ in 0..5 {
        crate::watch::support::write(&mut client, 500).await;
    }
    let redrive =
        LogStreamsRedriveDeadLettersRequest { log_stream_id: id.clone(), sequences: Vec::new() };
    streams.redrive_dead_letters(redrive).await.unwrap();
    streams.resume(LogStreamsResumeRequest { log_stream_id: id.clone() }).await.unwrap();
    until_next(&server, &id, 2_515).await;
    until_arrived(&receiver, 2_515).await;
    assert!(dead_letters(&server, &id).await.is_empty());
}

async fn a_dead_letter_that_is_gone_makes_nothing_well(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    receiver.misbehave(Fault::Says(422, "no"), usize::MAX);
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let mut client = server.client().await;
    record(&mut client, "acme", 1).await;
    until_next(&server, &id, 1).await;
    receiver.misbehave(Fault::Status(503, None), usize::MAX);
    record(&mut client, "acme", 1).await;
    until_state(&server, &id, LogStreamState::Error).await;
    // As retention does it.
    server.execute("DELETE FROM events WHERE organization_id = 'acme' AND sequence = 0").await;
    let before = status(&server, &id).await.consecutive_failures;
    let redrive =
        LogStreamsRedriveDeadLettersRequest { log_stream_id: id.clone(), sequences: Vec::new() };
    server.log_streams().await.redrive_dead_letters(redrive).await.unwrap();
    until("it is no dead letter any more", async || {
        dead_letters(&server, &id).await.is_empty().then_some(())
    })
    .await;
    until("the next event was tried again", async || {
        (status(&server, &id).await.consecutive_failures > before).then_some(())
    })
    .await;
    // It never was anything else: no change was recorded but the first.
    let changes =
        "SELECT CAST(COUNT(*) AS BIGINT) FROM events WHERE action = 'log_stream.state_changed'";
    assert_eq!(server.query_integers(changes).await, [1]);
}

async fn a_hanging_destination_disturbs_nobody(engine: Engine) {
    let (server, well) = (server(engine).await, https_receiver().await);
    let hanging = https_receiver().await;
    hanging.misbehave(Fault::Hang, usize::MAX);
    let mut client = server.client().await;
    // As many as have a turn, and more.
    for number in 0..40 {
        let organization = format!("stuck_{number}");
        add_organization(&server, &organization).await;
        create(
            &server,
            LogStreamsCreateRequest {
                organization_id: organization.clone(),
                ..stream_of_acme(to_https(&hanging, TOKEN))
            },
        )
        .await;
        record(&mut client, &organization, 1).await;
    }
    let id = create(&server, stream_of_acme(to_https(&well, TOKEN))).await;
    let ids = record(&mut client, "acme", 10).await;
    until_next(&server, &id, 10).await;
    assert_eq!(well.ids(), ids);
}

async fn the_wish_to_be_left_alone_is_heard(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    receiver.misbehave(Fault::Status(429, Some("3600")), 1);
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let ids = record(&mut server.client().await, "acme", 1).await;
    until_state(&server, &id, LogStreamState::Error).await;
    let status = status(&server, &id).await;
    let wait = status.next_attempt_at.unwrap().seconds - status.last_error_at.unwrap().seconds;
    assert!((3_599..=3_601).contains(&wait), "{wait}");
    assert_eq!((receiver.requests(), status.consecutive_failures), (1, 1));
    // Who knows better says so.
    let resume = LogStreamsResumeRequest { log_stream_id: id.clone() };
    server.log_streams().await.resume(resume).await.unwrap();
    until_arrived(&receiver, 1).await;
    assert_eq!(receiver.ids(), ids);
}

/// A bucket with a file for each event keeps what it took of a batch, and the cursor knows.
async fn what_was_taken_of_a_batch_is_not_sent_again(engine: Engine) {
    let server = TestServer::start_with(engine, |changed| {
        settings(changed);
        changed.log_streams.allow_http = true;
    })
    .await;
    prepare(&server).await;
    let bucket = FlakyBucket::start().await;
    let ids = record(&mut server.client().await, "acme", 20).await;
    bucket.contents().never = Some(ids[12].clone());
    let destination = S3Destination {
        bucket: "logs".into(),
        access_key_id: "AKIA".into(),
        secret_access_key: TOKEN.into(),
        endpoint: bucket.url.clone(),
        ..Default::default()
    };
    let destination =
        LogStreamDestination { kind: Some(Kind::S3(destination)), ..Default::default() };
    let id = create(
        &server,
        LogStreamsCreateRequest {
            start: Some(Start::FromSequence(0)),
            ..stream_of_acme(destination)
        },
    )
    .await;
    until_state(&server, &id, LogStreamState::Error).await;
    until_next(&server, &id, 12).await;
    bucket.contents().never = None;
    until_next(&server, &id, 20).await;
    until_state(&server, &id, LogStreamState::Active).await;
    assert_eq!(bucket.contents().objects.len(), 20);
}
