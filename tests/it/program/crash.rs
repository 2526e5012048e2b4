//! Promises 1 and 2, against a power button: what was acknowledged survives `kill -9`.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use audit_logs::{
    client::AuditLogs,
    proto::v1::{
        Actor, BatchCreateEventsRequest, CreateEventRequest, CreateEventResponse, EventRecord,
        ListEventsRequest, SortOrder, batch_create_events_result::Result as ItemResult,
    },
};
use rand::RngExt;

use super::process::Program;
use crate::support::{Engine, an_event, on_every_engine, schema_for, until};

on_every_engine!(what_was_acknowledged_survives_a_kill);

const ROUNDS: u64 = 4;
const WRITERS: u64 = 3;
const BATCH: u64 = 20;

/// An event whose actor and idempotency key are `name`.
fn named(name: &str) -> CreateEventRequest {
    let mut event = an_event("doc.read");
    let actor = Actor { id: name.into(), ..event.actor.unwrap_or_default() };
    event.actor = Some(actor);
    CreateEventRequest {
        organization_id: "acme".into(),
        event: Some(event),
        idempotency_key: name.into(),
        receipt: false,
    }
}

/// What a writer knows when the server is gone.
struct Written {
    acknowledged: Vec<(String, CreateEventResponse)>,
    /// What was sent but not answered.
    unanswered: Vec<CreateEventRequest>,
}

/// Sends one event after the other until the server is gone.
async fn write_singles(mut client: AuditLogs, name: String, count: Arc<AtomicU64>) -> Written {
    let mut acknowledged = Vec::new();
    for number in 0_u64.. {
        let name = format!("{name}-{number}");
        let request = named(&name);
        match client.create_event(request.clone()).await {
            Ok(created) => acknowledged.push((name, created.into_inner())),
            Err(_) => return Written { acknowledged, unanswered: vec![request] },
        }
        count.fetch_add(1, Ordering::SeqCst);
    }
    unreachable!("the server is killed before that")
}

/// Sends one batch after the other until the server is gone.
async fn write_batches(mut client: AuditLogs, name: String, count: Arc<AtomicU64>) -> Written {
    let mut acknowledged = Vec::new();
    for number in 0_u64.. {
        let names: Vec<_> = (0..BATCH).map(|item| format!("{name}-{number}-{item}")).collect();
        let requests: Vec<_> = names.iter().map(|name| named(name)).collect();
        let request = BatchCreateEventsRequest { requests: requests.clone(), atomic: true };
        let Ok(response) = client.batch_create_events(request).await else {
            return Written { acknowledged, unanswered: requests };
        };
        for (name, result) in names.into_iter().zip(response.into_inner().results) {
            let Some(ItemResult::Created(created)) = result.result else { panic!("{result:?}") };
            acknowledged.push((name, created));
        }
        count.fetch_add(BATCH, Ordering::SeqCst);
    }
    unreachable!("the server is killed before that")
}

/// Starts a server, writes, and kills it at some moment while writing goes on.
async fn write_and_kill(program: &Program, round: u64) -> Vec<Written> {
    let server = program.serve().await;
    let client = server.client().await;
    client.clone().create_action_schema(schema_for("doc.read")).await.unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|writer| format!("single-{round}-{writer}"))
        .map(|name| tokio::spawn(write_singles(client.clone(), name, count.clone())))
        .collect();
    let batches = write_batches(client.clone(), format!("batch-{round}"), count.clone());
    writers.push(tokio::spawn(batches));
    let moment = rand::rng().random_range(1..150);
    until("enough was acknowledged", async || {
        (count.load(Ordering::SeqCst) >= moment).then_some(())
    })
    .await;
    server.kill();
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.unwrap());
    }
    written
}

/// The whole log, from its start.
async fn read_log(client: &mut AuditLogs) -> Vec<EventRecord> {
    let mut log = Vec::new();
    let mut request = ListEventsRequest {
        organization_id: "acme".into(),
        limit: 100,
        order: SortOrder::Asc.into(),
        ..Default::default()
    };
    loop {
        let page = client.list_events(request.clone()).await.unwrap().into_inner();
        log.extend(page.events);
        request.after = page.list_metadata.unwrap().after;
        if request.after.is_empty() {
            return log;
        }
    }
}

fn actor(record: &EventRecord) -> &str {
    &record.event.as_ref().unwrap().actor.as_ref().unwrap().id
}

async fn what_was_acknowledged_survives_a_kill(engine: Engine) {
    let program = Program::on(engine).await;
    let mut written = Vec::new();
    for round in 0..ROUNDS {
        written.extend(write_and_kill(&program, round).await);
    }
    let server = program.serve().await;
    let mut client = server.client().await;
    let log = read_log(&mut client).await;
    let sequences: Vec<_> = log.iter().map(|record| record.sequence).collect();
    assert_eq!(sequences, (0..).take(log.len()).collect::<Vec<_>>());
    let by_actor: HashMap<_, _> = log.iter().map(|record| (actor(record), record)).collect();
    assert_eq!(by_actor.len(), log.len(), "an event is there twice");
    for (name, created) in written.iter().flat_map(|written| &written.acknowledged) {
        let record = by_actor.get(&**name).unwrap_or_else(|| panic!("{name} is lost"));
        let place = (&record.id, record.sequence, &record.leaf_hash);
        assert_eq!(place, (&created.event_id, created.sequence, &created.leaf_hash));
    }
    // A batch that was not answered is there as a whole or not at all.
    for unanswered in written.iter().map(|written| &written.unanswered) {
        let is_there =
            |request: &CreateEventRequest| by_actor.contains_key(&*request.idempotency_key);
        let there = unanswered.iter().filter(|request| is_there(request)).count();
        assert!(there == 0 || there == unanswered.len(), "{there} of {}", unanswered.len());
    }
    // Whoever got no answer repeats, and then it is there exactly once.
    let unanswered = written.iter().flat_map(|written| &written.unanswered);
    for request in unanswered.clone() {
        let created = client.create_event(request.clone()).await.unwrap().into_inner();
        assert_eq!(created.duplicate, by_actor.contains_key(&*request.idempotency_key));
    }
    let acknowledged = written.iter().map(|written| written.acknowledged.len()).sum::<usize>();
    let log = read_log(&mut client).await;
    let actors: HashSet<_> = log.iter().map(actor).collect();
    assert_eq!(actors.len(), log.len());
    assert_eq!(log.len(), acknowledged + unanswered.count());
}
