//! Many callers, one event.

use std::sync::Arc;

use audit_logs::proto::v1::{CreateEventRequest, CreateEventResponse, ListEventsRequest};
use tokio::{sync::Barrier, task::JoinSet};

use super::{load::ACTION, rounds};
use crate::{
    program::process::Program,
    support::{Engine, create_event, on_every_engine, schema_for},
};

on_every_engine!(two_hundred_identical_requests_are_one_event);

const CALLERS: usize = 200;

async fn two_hundred_identical_requests_are_one_event(engine: Engine) {
    let program = Program::on(engine).await;
    let mut servers = vec![program.serve().await];
    if engine == Engine::Postgres {
        servers.push(program.serve().await);
    }
    let mut clients = Vec::new();
    for server in &servers {
        clients.push(server.client().await);
    }
    clients[0].create_action_schema(schema_for(ACTION)).await.unwrap();
    for round in 0..rounds() {
        let idempotency_key = format!("round {round}");
        let request = CreateEventRequest { idempotency_key, ..create_event("acme", ACTION) };
        let start = Arc::new(Barrier::new(CALLERS));
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let mut client = clients[caller % clients.len()].clone();
            let (request, start) = (request.clone(), start.clone());
            callers.spawn(async move {
                start.wait().await;
                client.create_event(request).await.unwrap().into_inner()
            });
        }
        let answers = callers.join_all().await;
        let firsts: Vec<_> = answers.iter().filter(|answer| !answer.duplicate).collect();
        let [first] = *firsts else { panic!("{} events for one key", firsts.len()) };
        assert_eq!(first.sequence, round);
        let repeated = CreateEventResponse { duplicate: true, ..first.clone() };
        assert_eq!(answers.iter().filter(|answer| **answer == repeated).count(), CALLERS - 1);
        let request = ListEventsRequest {
            organization_id: "acme".to_owned(),
            sequence_start: Some(round),
            ..Default::default()
        };
        let listed = clients[0].list_events(request).await.unwrap().into_inner().events;
        let ids: Vec<_> = listed.into_iter().map(|record| record.id).collect();
        assert_eq!(ids, [&*first.event_id]);
    }
    let (replicas, rounds) = (servers.len(), rounds());
    println!("torture: race over {replicas} replicas, {engine:?}: {rounds} rounds of {CALLERS}");
}
