//! A service with a stream to a receiver.

use std::sync::Arc;

use audit_logs::{
    client::AuditLogs,
    config::Settings,
    domain::clock::{Clock, SystemClock},
    proto::v1::{
        DatadogDestination, DeadLetter, GenericHttpsDestination, HttpHeader, LogStream,
        LogStreamDestination, LogStreamState, LogStreamStatus, LogStreamsCreateRequest,
        LogStreamsGetRequest, LogStreamsGetStatusRequest, LogStreamsListDeadLettersRequest,
        OrganizationsCreateRequest, log_stream_destination::Kind,
    },
};

use crate::{
    receivers::{Datadog, GenericHttps, Protocol, Receiver, RequestForm},
    support::{Engine, TestServer, create_event, schema_for, until},
};

/// What receivers ask for.
pub const TOKEN: &str = "s3cr3t-t0k3n-of-the-receiver";
/// Encrypts the secrets of tests.
pub const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Settings that let the service dial this machine.
pub fn settings(settings: &mut Settings) {
    settings.log_streams.allowed_networks = "127.0.0.0/8".into();
    settings.secrets.key = Some(KEY.into());
}

/// A server that can forward to this machine, with the action `doc.read`.
pub async fn server(engine: Engine) -> TestServer {
    server_with(engine, Arc::new(SystemClock)).await
}

pub async fn server_with(engine: Engine, clock: Arc<dyn Clock>) -> TestServer {
    let server = TestServer::start_at(engine, settings, clock).await;
    prepare(&server).await;
    server
}

/// The organization `acme` and the action.
pub async fn prepare(server: &TestServer) {
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    add_organization(server, "acme").await;
}

pub async fn add_organization(server: &TestServer, id: &str) {
    let organization = OrganizationsCreateRequest {
        name: id.into(),
        organization_id: id.into(),
        ..Default::default()
    };
    server.organizations().await.create(organization).await.unwrap();
}

/// Records so many events; returns their ids.
pub async fn record(client: &mut AuditLogs, organization: &str, count: usize) -> Vec<String> {
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        let created = client.create_event(create_event(organization, "doc.read")).await.unwrap();
        ids.push(created.into_inner().event_id);
    }
    ids
}

/// A receiver as WorkOS documents it.
pub async fn https_receiver() -> Receiver<GenericHttps> {
    Receiver::start(GenericHttps::new(TOKEN, RequestForm::Json)).await
}

pub async fn datadog_receiver() -> Receiver<Datadog> {
    Receiver::start(Datadog::new(TOKEN)).await
}

fn destination(kind: Kind, ca_pem: &str) -> LogStreamDestination {
    LogStreamDestination { kind: Some(kind), ca_certificates_pem: ca_pem.to_owned() }
}

/// The destination that is this receiver.
pub fn to_https<P: Protocol>(receiver: &Receiver<P>, token: &str) -> LogStreamDestination {
    let authorization = HttpHeader {
        name: "Authorization".to_owned(),
        value: if token.is_empty() { String::new() } else { format!("Bearer {token}") },
    };
    let kind = Kind::GenericHttps(GenericHttpsDestination {
        url: receiver.url(),
        headers: vec![authorization],
        ..Default::default()
    });
    destination(kind, receiver.ca_pem())
}

pub fn to_datadog(receiver: &Receiver<Datadog>) -> LogStreamDestination {
    to_datadog_with(receiver, TOKEN)
}

pub fn to_datadog_with(receiver: &Receiver<Datadog>, key: &str) -> LogStreamDestination {
    let kind = Kind::Datadog(DatadogDestination {
        api_key: key.to_owned(),
        endpoint: receiver.url(),
        ..Default::default()
    });
    destination(kind, receiver.ca_pem())
}

/// A request for a stream of acme.
pub fn stream_of_acme(destination: LogStreamDestination) -> LogStreamsCreateRequest {
    LogStreamsCreateRequest {
        organization_id: "acme".into(),
        destination: Some(destination),
        ..Default::default()
    }
}

/// Creates a stream; returns its id.
pub async fn create(server: &TestServer, request: LogStreamsCreateRequest) -> String {
    let created = server.log_streams().await.create(request).await.unwrap();
    created.into_inner().log_stream.unwrap().id
}

pub async fn get(server: &TestServer, id: &str) -> LogStream {
    let request = LogStreamsGetRequest { log_stream_id: id.to_owned() };
    server.log_streams().await.get(request).await.unwrap().into_inner().log_stream.unwrap()
}

pub async fn status(server: &TestServer, id: &str) -> LogStreamStatus {
    let request = LogStreamsGetStatusRequest { log_stream_id: id.to_owned(), watch: Some(false) };
    let mut frames = server.log_streams().await.get_status(request).await.unwrap().into_inner();
    frames.message().await.unwrap().unwrap().status.unwrap()
}

pub async fn until_state(server: &TestServer, id: &str, state: LogStreamState) {
    until(&format!("the stream is {state:?}"), async || {
        (get(server, id).await.state() == state).then_some(())
    })
    .await;
}

/// Waits until the cursor is there.
pub async fn until_next(server: &TestServer, id: &str, next: u64) {
    until(&format!("the cursor is at {next}"), async || {
        (get(server, id).await.next_sequence == next).then_some(())
    })
    .await;
}

/// Waits until so many events have arrived.
pub async fn until_arrived<P: Protocol>(receiver: &Receiver<P>, count: usize) {
    until(&format!("{count} events have arrived"), async || {
        (receiver.count() >= count).then_some(())
    })
    .await;
}

pub async fn dead_letters(server: &TestServer, id: &str) -> Vec<DeadLetter> {
    let request =
        LogStreamsListDeadLettersRequest { log_stream_id: id.to_owned(), limit: 100, after: None };
    let page = server.log_streams().await.list_dead_letters(request).await.unwrap().into_inner();
    page.dead_letters
}

/// The first of each, in order.
pub fn without_repetitions(ids: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    ids.into_iter().filter(|id| seen.insert(id.clone())).collect()
}
