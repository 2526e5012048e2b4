//! Streams that break, and what is resumed after them: nothing is lost and nothing is doubled.

use std::sync::Arc;

use audit_logs::{client::Client, domain::clock::SystemClock};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{Ingesting, Persistent, item, places};
use crate::{
    lanes::{Blockade, server_with},
    operations::proxy::{Line, Proxy},
    program::process::Program,
    support::{
        Engine, Refusal, TestServer, create_event, on_every_engine,
        postgres::is_available,
        schema_for,
        server::{ROOT_KEY, fresh_settings},
        until,
    },
};

on_every_engine!(
    a_connection_is_cut_in_the_middle,
    the_server_is_killed_in_the_middle,
    a_shutdown_acknowledges_what_was_taken,
    what_was_taken_from_a_client_that_is_gone_is_recorded,
);

const EVENTS: u64 = 3_000;

fn expect_retry(status: &Status, reasons: &[&str]) {
    let refusal = Refusal::of(status);
    assert_eq!(refusal.code, Code::Unavailable);
    assert!(reasons.contains(&&*refusal.reason), "{refusal:?}");
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
}

async fn a_connection_is_cut_in_the_middle(engine: Engine) {
    let server = TestServer::start(engine).await;
    server.client().await.create_action_schema(schema_for("doc.read")).await.unwrap();
    let (mut proxy, through) = Proxy::open(&server.url).await;
    let mut client = Persistent::with(EVENTS);
    for enough in [100, 1_000, 2_000] {
        proxy.set(Line::Open);
        let connection = Client::connect(&through, ROOT_KEY).await.unwrap().audit_logs();
        let ended = client.try_once(&connection, async |recorded| {
            if recorded >= enough {
                proxy.set(Line::Cut);
            }
        });
        ended.await.unwrap_err();
    }
    proxy.set(Line::Open);
    let connection = Client::connect(&through, ROOT_KEY).await.unwrap().audit_logs();
    client.try_once(&connection, async |_| {}).await.unwrap();
    client.check(EVENTS);
    assert_eq!(server.count("events").await, i64::try_from(EVENTS).unwrap());
}

async fn the_server_is_killed_in_the_middle(engine: Engine) {
    let program = Program::on(engine).await;
    let mut server = program.serve().await;
    server.client().await.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut client = Persistent::with(EVENTS);
    for enough in [1, 1_500] {
        let connection = server.client().await;
        let mut server_to_kill = Some(server);
        let ended = client.try_once(&connection, async |recorded| {
            if recorded >= enough
                && let Some(server) = server_to_kill.take()
            {
                server.kill();
            }
        });
        ended.await.unwrap_err();
        server = program.serve().await;
    }
    client.try_once(&server.client().await, async |_| {}).await.unwrap();
    client.check(EVENTS);
    drop(server);
    program.run(&["verify", "database"]).await.expect_success();
}

async fn a_shutdown_acknowledges_what_was_taken(engine: Engine) {
    let mut server = TestServer::start(engine).await;
    server.client().await.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut client = Persistent::with(EVENTS);
    let connection = server.client().await;
    // One that rests is ended as well.
    let mut rests = Ingesting::open(&connection).await;
    rests.send([item(1, create_event("other", "doc.read"))]);
    rests.frame().await.unwrap().unwrap();
    let (stop, stopping) = tokio::sync::oneshot::channel();
    let settings = server.settings.clone();
    let stopped = tokio::spawn(async move {
        let _: Result<(), _> = stopping.await;
        server.stop().await;
        server
    });
    let mut stop = Some(stop);
    let ended = client.try_once(&connection, async |_| {
        if let Some(stop) = stop.take() {
            stop.send(()).unwrap();
        }
    });
    expect_retry(&ended.await.unwrap_err(), &["SERVICE_UNAVAILABLE"]);
    expect_retry(&rests.frame().await.unwrap_err(), &["SERVICE_UNAVAILABLE"]);
    // Keeps the directory.
    let _first = stopped.await.unwrap();
    let server = TestServer::over(engine, settings, Arc::new(SystemClock)).await;
    // What was taken was acknowledged before the end.
    let recorded = i64::try_from(client.recorded.len()).unwrap();
    assert_eq!(server.count("events").await, recorded + 1);
    assert!(client.recorded.values().all(|place| !place.duplicate));
    client.try_once(&server.client().await, async |_| {}).await.unwrap();
    client.check(EVENTS);
}

async fn what_was_taken_from_a_client_that_is_gone_is_recorded(engine: Engine) {
    let (server, client) = server_with(engine, |_| {}).await;
    let mut stream = Ingesting::open(&client).await;
    stream.send([item(0, create_event("acme", "doc.read"))]);
    assert_eq!(places(stream.frame().await.unwrap().unwrap()).len(), 1);
    let blockade = Blockade::begin(engine, &server).await;
    stream.send((1..=100).map(|number| item(number, create_event("acme", "doc.read"))));
    // The item that is refused at once shows that those before it were taken.
    stream.send([item(101, create_event("acme", "no.such"))]);
    stream.frame().await.unwrap().unwrap();
    drop(stream);
    blockade.end().await;
    until("what was taken is recorded", async || {
        (server.count("events").await == 101).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_database_ends_streams_and_loses_nothing() {
    if !is_available() {
        return;
    }
    let (mut settings, _directory) = fresh_settings(Engine::Postgres).await;
    let (mut proxy, through) = Proxy::open(&settings.database_url()).await;
    settings.database_url = Some((&*through).into());
    let server = TestServer::over(Engine::Postgres, settings, Arc::new(SystemClock)).await;
    let connection = server.client().await;
    connection.clone().create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut client = Persistent::with(EVENTS);
    let ended = client.try_once(&connection, async |recorded| {
        if recorded >= 500 {
            proxy.set(Line::Cut);
        }
    });
    expect_retry(&ended.await.unwrap_err(), &["DATABASE_UNAVAILABLE", "SERVICE_UNAVAILABLE"]);
    assert!(!client.open.is_empty());
    proxy.set(Line::Open);
    until("the stream is served again", async || {
        client.try_once(&connection, async |_| {}).await.ok()
    })
    .await;
    client.check(EVENTS);
    assert_eq!(server.count("events").await, i64::try_from(EVENTS).unwrap());
}
