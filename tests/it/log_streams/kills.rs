//! The service is killed and the receiver goes away, again and again, while events are recorded: each
//! arrives, and in order when it first does.

use std::{collections::HashMap, time::Duration};

use audit_logs::{
    client::{AuditLogs, Client},
    proto::v1::{
        LogStreamsCreateRequest, OrganizationsCreateRequest, log_streams_client::LogStreamsClient,
        organizations_client::OrganizationsClient,
    },
};
use rand::RngExt;
use tonic::{service::interceptor::InterceptedService, transport::Channel};

use super::support::{KEY, TOKEN, stream_of_acme, to_https, without_repetitions};
use crate::{
    program::process::{Program, Server},
    receivers::{Fault, GenericHttps, Receiver, RequestForm},
    support::{Engine, create_event, on_every_engine, schema_for, server::ROOT_KEY, until},
};

on_every_engine!(nothing_is_lost_when_either_side_dies);

/// Disasters; `just torture-streams` asks for more.
fn rounds() -> u32 {
    std::env::var("AUDIT_LOGS_TEST_STREAM_ROUNDS").map_or(4, |text| text.parse().unwrap())
}

async fn start(program: &Program) -> Server {
    program.serve().await
}

async fn channel(server: &Server) -> Channel {
    Channel::from_shared(server.url.clone()).unwrap().connect().await.unwrap()
}

async fn create_stream(server: &Server, receiver: &Receiver<GenericHttps>) {
    let bearer = || audit_logs::client::Bearer::new(ROOT_KEY).unwrap();
    let mut client = Client::connect(&server.url, ROOT_KEY).await.unwrap().audit_logs();
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut organizations: OrganizationsClient<InterceptedService<Channel, _>> =
        OrganizationsClient::with_interceptor(channel(server).await, bearer());
    let acme = OrganizationsCreateRequest {
        name: "acme".into(),
        organization_id: "acme".into(),
        ..Default::default()
    };
    organizations.create(acme).await.unwrap();
    let mut streams: LogStreamsClient<InterceptedService<Channel, _>> =
        LogStreamsClient::with_interceptor(channel(server).await, bearer());
    let request: LogStreamsCreateRequest = stream_of_acme(to_https(receiver, TOKEN));
    streams.create(request).await.unwrap();
}

/// Records until the service dies; what was acknowledged goes into `sequences`.
async fn write_until_dead(mut client: AuditLogs, sequences: &mut HashMap<String, u64>) {
    while let Ok(created) = client.create_event(create_event("acme", "doc.read")).await {
        let created = created.into_inner();
        sequences.insert(created.event_id, created.sequence);
    }
}

async fn nothing_is_lost_when_either_side_dies(engine: Engine) {
    let program = Program::on(engine)
        .await
        .with("AUDIT_LOGS_LOG_STREAMS_ALLOWED_NETWORKS", "127.0.0.0/8")
        .with("AUDIT_LOGS_SECRETS_KEY", KEY);
    let protocol = || GenericHttps::new(TOKEN, RequestForm::Json);
    let mut receiver = Receiver::start(protocol()).await;
    let port = receiver.port();
    let mut server = start(&program).await;
    create_stream(&server, &receiver).await;
    let (mut acknowledged, mut arrived) = (HashMap::new(), Vec::new());
    for round in 0..rounds() {
        let client = Client::connect(&server.url, ROOT_KEY).await.unwrap().audit_logs();
        let writing = write_until_dead(client, &mut acknowledged);
        let random = |from, to| Duration::from_millis(rand::rng().random_range(from..to));
        let disaster = async {
            tokio::time::sleep(random(50, 600)).await;
            if round % 2 == 0 {
                receiver.misbehave(Fault::CloseInAnswer, 1);
                tokio::time::sleep(random(10, 200)).await;
            }
            server.kill();
        };
        tokio::join!(writing, disaster);
        arrived.extend(receiver.ids());
        drop(receiver);
        // The service is back before its receiver.
        server = start(&program).await;
        // A lease of the dead one runs out by itself; the test does not wait for that.
        program.execute("UPDATE log_streams SET lease_until = 0, next_attempt_at = NULL").await;
        tokio::time::sleep(random(10, 300)).await;
        receiver = Receiver::start_at(protocol(), port).await;
    }
    program.execute("UPDATE log_streams SET next_attempt_at = NULL").await;
    let mut all = Vec::new();
    until("every acknowledged event has arrived", async || {
        all = [&arrived[..], &receiver.ids()].concat();
        let known: std::collections::HashSet<_> = all.iter().collect();
        acknowledged.keys().all(|id| known.contains(id)).then_some(())
    })
    .await;
    let first = without_repetitions(all.clone());
    let sequences: Vec<_> = first.iter().filter_map(|id| acknowledged.get(id)).collect();
    assert!(sequences.is_sorted(), "first deliveries are in the order of the log");
    println!(
        "{engine:?}: {} acknowledged, {} arrived, {} of them again",
        acknowledged.len(),
        all.len(),
        all.len() - first.len()
    );
}
