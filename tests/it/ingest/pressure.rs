//! More than can be written, more than is read, and very many small things.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use audit_logs::{
    client::AuditLogs,
    proto::v1::{CreateEventRequest, IngestEventsRequest, ListActionsRequest},
};
use prost::Message as _;
use tonic::Code;

use super::{Ingesting, item, places, status_of};
use crate::{
    lanes::{Blockade, server_with},
    program::process::{Program, Server},
    support::{
        Engine, Refusal, create_event, on_every_engine, schema_for, server::ROOT_KEY, until,
        with_text,
    },
    tenancy::raw,
};

on_every_engine!(
    a_full_queue_makes_a_stream_wait,
    streams_leave_room_for_calls,
    a_stream_that_waits_does_not_hold_up_its_connection,
    very_many_tiny_frames_are_nothing_special,
);

async fn a_full_queue_makes_a_stream_wait(engine: Engine) {
    let (server, client) = server_with(engine, |lanes| lanes.queue_events = 20).await;
    let streams = [Ingesting::open(&client).await, Ingesting::open(&client).await];
    for (which, stream) in streams.iter().enumerate() {
        let organization = format!("org_{which}");
        for start in (0..600).step_by(7) {
            let items = start..start + 7;
            stream.send(items.map(|number| item(number, create_event(&organization, "doc.read"))));
        }
        // More than the queue ever holds.
        let items = 1_000..1_100;
        stream.send(items.map(|number| item(number, create_event(&organization, "doc.read"))));
    }
    for stream in streams {
        let places = stream.finish_well().await;
        assert!(places.values().map(|place| place.sequence).eq(0..702));
    }
    assert_eq!(server.count("events").await, 1_404);
}

async fn streams_leave_room_for_calls(engine: Engine) {
    let (server, client) = server_with(engine, |lanes| lanes.queue_events = 20).await;
    client.clone().create_event(create_event("acme", "doc.read")).await.unwrap();
    let blockade = Blockade::begin(engine, &server).await;
    let stream = Ingesting::open(&client).await;
    for number in 0..100 {
        stream.send([item(number, create_event("acme", "doc.read"))]);
    }
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.create_event(create_event("acme", "doc.read")).await })
        })
        .collect();
    // These are answered while nothing can be written, so the calls before them had their chance.
    for _ in 0..20 {
        client.clone().list_actions(ListActionsRequest::default()).await.unwrap();
    }
    blockade.end().await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(stream.finish_well().await.len(), 100);
    assert_eq!(server.count("events").await, 111);
}

async fn a_stream_that_waits_does_not_hold_up_its_connection(engine: Engine) {
    let (server, client) = server_with(engine, |_| {}).await;
    client.clone().create_event(create_event("acme", "doc.read")).await.unwrap();
    let blockade = Blockade::begin(engine, &server).await;
    let stream = Ingesting::open(&client).await;
    // Far more than the service reads ahead.
    for number in 0..3_000 {
        stream.send([item(number, with_text(create_event("acme", "doc.read"), 10_000))]);
    }
    let size = |texts| ListActionsRequest { after: "x".repeat(texts), ..Default::default() };
    for _ in 0..50 {
        let refused = client.clone().list_actions(size(100_000)).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
    blockade.end().await;
    assert_eq!(stream.finish_well().await.len(), 3_000);
}

const MEBIBYTE: u64 = 1_024 * 1_024;

/// A server in a process of its own, and a client.
async fn process(engine: Engine) -> (Program, Server, AuditLogs) {
    let program = Program::on(engine).await.with("AUDIT_LOGS_STREAMS_SLOW_READER_SECONDS", "2");
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    (program, server, client)
}

async fn very_many_tiny_frames_are_nothing_special(engine: Engine) {
    let (_program, server, client) = process(engine).await;
    let before = server.process.most_memory();
    let stream = Ingesting::open(&client).await;
    for number in 0..20_000 {
        let mut tiny = item(number, create_event("acme", "doc.read"));
        if number % 100 != 0 {
            tiny.request = None;
        }
        stream.send([tiny]);
    }
    let (told, end) = stream.finish().await;
    end.unwrap();
    assert_eq!(told.len(), 20_000);
    let (created, refused): (Vec<_>, Vec<_>) = told.into_iter().partition(|n| n.number % 100 == 0);
    assert_eq!(places(created).len(), 200);
    assert_eq!(Refusal::of(&status_of(&refused[0])).code, Code::InvalidArgument);
    let most = server.process.most_memory();
    assert!(most < before + 64 * MEBIBYTE, "{most} after {before}");
}

/// The client sends on and on, and never looks at what it is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_no_acknowledgements_loses_its_stream() {
    let (_program, server, mut client) = process(Engine::Sqlite).await;
    // What a client costs that does read: the window, the lanes and the allocator at work.
    let reading = Ingesting::open(&client).await;
    for start in (0..6_000).step_by(100) {
        reading.send((start..start + 100).map(|number| {
            item(number, CreateEventRequest { receipt: true, ..create_event("acme", "doc.read") })
        }));
    }
    assert_eq!(reading.finish_well().await.len(), 6_000);
    let before = server.process.most_memory();
    let channel = tonic::transport::Channel::from_shared(server.url.clone()).unwrap();
    let channel = channel.connect().await.unwrap();
    let message = |number: u64| {
        let items = (number * 100..(number + 1) * 100)
            .map(|number| {
                let mut request = create_event("acme", "doc.read");
                request.receipt = true;
                item(number, request)
            })
            .collect();
        bytes::Bytes::from(IngestEventsRequest { items }.encode_to_vec())
    };
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let messages = tokio_stream::iter((0..).map(move |number| {
        counter.fetch_add(1, Ordering::SeqCst);
        message(number)
    }));
    let key = Some(raw::bearer(ROOT_KEY));
    let mut frames = raw::stream(&channel, "AuditLogs/IngestEvents", key, messages).await.unwrap();
    // The service stops reading, and gives the stream up when it has stood still for 2 s. That can only
    // be seen by not looking for some longer.
    let (mut last, mut still) = (0, 0);
    while still < 8 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = sent.load(Ordering::SeqCst);
        still = if now == last { still + 1 } else { 0 };
        last = now;
    }
    // Nothing else is disturbed.
    client.create_event(create_event("beta", "doc.read")).await.unwrap();
    let most = server.process.most_memory();
    assert!(most < before + 64 * MEBIBYTE, "{most} after {before}");
    let end = until("the stream ends", async || frames.message().await.err()).await;
    let refusal = Refusal::of(&end);
    let expected = (Code::ResourceExhausted, "ACKNOWLEDGEMENTS_NOT_READ");
    assert_eq!((refusal.code, &*refusal.reason), expected);
}
