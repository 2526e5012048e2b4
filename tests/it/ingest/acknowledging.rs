//! What a client is told, and when.

use std::collections::BTreeMap;

use audit_logs::proto::v1::CreateEventRequest;
use prost::Message as _;

use super::{Ingesting, item, places, status_of};
use crate::support::{Engine, TestServer, create_event, on_every_engine, schema_for, with_text};

on_every_engine!(
    every_item_is_acknowledged_with_its_place,
    a_bad_item_does_not_disturb_the_others,
    acknowledgements_do_not_wait_for_the_end,
    every_receipt_that_was_asked_for_comes,
    repeats_in_a_stream_are_one_event,
    a_stream_of_nothing_ends_well,
    many_errors_come_in_frames_that_can_be_received,
);

async fn every_item_is_acknowledged_with_its_place(engine: Engine) {
    let server = TestServer::start_with(engine, |settings| settings.lanes.count = 3).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let stream = Ingesting::open(&client).await;
    // Numbers of the client's own, with gaps, and more than the service reads ahead.
    let numbers: Vec<u64> = (0..6_000).map(|n| 7 + n * 3).collect();
    let organization = |number: u64| format!("org_{}", number % 20);
    for message in numbers.chunks(700) {
        stream.send(message.iter().map(|n| item(*n, create_event(&organization(*n), "doc.read"))));
    }
    let places = stream.finish_well().await;
    assert!(places.keys().eq(&numbers));
    // In each log the order is that of the stream.
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for (number, place) in &places {
        let next = next.entry(organization(*number)).or_default();
        assert_eq!((place.sequence, place.duplicate), (*next, false), "{number}");
        *next += 1;
    }
    assert_eq!(server.count("events").await, 6_000);
}

async fn a_bad_item_does_not_disturb_the_others(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let good = || create_event("acme", "doc.read");
    let mut no_actor = good();
    no_actor.event.as_mut().unwrap().actor = None;
    let bad = [
        no_actor,
        create_event("acme", "no.such"),
        create_event("not an id", "doc.read"),
        CreateEventRequest::default(),
    ];
    let stream = Ingesting::open(&client).await;
    let items = bad.iter().cloned().flat_map(|bad| [bad, good()]);
    stream.send((1..).zip(items).map(|(number, request)| item(number, request)));
    let mut missing = item(9, good());
    missing.request = None;
    stream.send([missing, item(10, good())]);
    let (mut told, end) = stream.finish().await;
    end.unwrap();
    told.sort_by_key(|one| one.number);
    let (refused, created): (Vec<_>, Vec<_>) = told.into_iter().partition(|n| n.number % 2 == 1);
    let sequences: Vec<_> = places(created).values().map(|place| place.sequence).collect();
    assert_eq!(sequences, [0, 1, 2, 3, 4]);
    // The errors are those of CreateEvent, to the byte.
    for (refused, request) in
        refused.iter().zip(bad.into_iter().chain([CreateEventRequest::default()]))
    {
        let alone = client.create_event(request).await.unwrap_err();
        let told = status_of(refused);
        assert_eq!((told.code(), told.message()), (alone.code(), alone.message()));
        assert_eq!(told.details(), alone.details());
    }
    assert_eq!(server.count("events").await, 5);
}

async fn acknowledgements_do_not_wait_for_the_end(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut stream = Ingesting::open(&client).await;
    for number in 0..5 {
        stream.send([item(number, create_event("acme", "doc.read"))]);
        let told = places(stream.frame().await.unwrap().unwrap());
        assert_eq!(told[&number].sequence, number);
        // It is there, while the stream goes on.
        assert_eq!(server.count("events").await, i64::try_from(number).unwrap() + 1);
    }
    assert!(stream.finish_well().await.is_empty());
}

async fn every_receipt_that_was_asked_for_comes(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    // More than a client receives in one message.
    let request = |number: u64| CreateEventRequest {
        receipt: number.is_multiple_of(2),
        idempotency_key: format!("key {number}"),
        ..with_text(create_event("acme", "doc.read"), 9_000)
    };
    let mut leaves = Vec::new();
    // The second time they are there already.
    for again in [false, true] {
        let stream = Ingesting::open(&client).await;
        for start in (0..1_000).step_by(200) {
            stream.send((start..start + 200).map(|number| item(number, request(number))));
        }
        let places = stream.finish_well().await;
        assert_eq!(places.len(), 1_000);
        for (number, place) in &places {
            assert_eq!(place.duplicate, again);
            assert_eq!(place.receipt.is_some(), number.is_multiple_of(2), "{number}");
            if let Some(receipt) = &place.receipt {
                assert_eq!((receipt.sequence, &receipt.leaf_hash), (*number, &place.leaf_hash));
                assert!(!receipt.tlog_proof.is_empty() && receipt.canonical_event.len() > 9_000);
            }
        }
        leaves.push(places.into_values().map(|place| place.leaf_hash).collect::<Vec<_>>());
    }
    assert_eq!(leaves[0], leaves[1]);
}

async fn repeats_in_a_stream_are_one_event(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let keyed = || CreateEventRequest {
        idempotency_key: "once".into(),
        ..create_event("acme", "doc.read")
    };
    let stream = Ingesting::open(&client).await;
    stream.send([item(1, keyed()), item(2, create_event("acme", "doc.read")), item(3, keyed())]);
    stream.send([item(4, keyed())]);
    let told = stream.finish_well().await;
    let told: Vec<_> = told.values().map(|place| (place.sequence, place.duplicate)).collect();
    assert_eq!(told, [(0, false), (1, false), (0, true), (0, true)]);
    assert_eq!(server.count("events").await, 2);
}

async fn a_stream_of_nothing_ends_well(engine: Engine) {
    let server = TestServer::start(engine).await;
    let stream = Ingesting::open(&server.client().await).await;
    assert!(stream.finish_well().await.is_empty());
}

async fn many_errors_come_in_frames_that_can_be_received(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    // Each has some 3 KiB of details.
    let mut bad = create_event("acme", "doc.read");
    let event = bad.event.as_mut().unwrap();
    event.targets = vec![event.targets[0].clone(); 100];
    event.targets.iter_mut().for_each(|target| target.id.clear());
    let stream = Ingesting::open(&client).await;
    for start in (0..4_000).step_by(1_000) {
        stream.send((start..start + 1_000).map(|number| item(number, bad.clone())));
    }
    let (told, end) = stream.finish().await;
    end.unwrap();
    assert_eq!(told.len(), 4_000);
    for refused in &told {
        // None has to do without its details.
        assert!(status_of(refused).details().len() > 2_500, "{}", refused.encoded_len());
    }
    assert_eq!(server.count("events").await, 0);
}
