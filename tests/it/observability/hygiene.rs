//! Nothing that is printed, exported or measured has a key, a secret, a signed link or anything of an
//! event, however much is logged and whatever is called.

use audit_logs::{
    client::AuditLogs,
    proto::v1::{
        ApiKeysCreateRequest, BatchCreateEventsRequest, CreateEventRequest, CreateExportRequest,
        ExportState, GetExportRequest, HttpHeader, IngestEventsRequest, IngestItem,
        ListEventsRequest, LogStreamsCreateRequest, LogStreamsTestRequest,
        OrganizationsCreateRequest, SplunkDestination, WatchEventsRequest,
        api_keys_client::ApiKeysClient, log_stream_destination::Kind,
        log_streams_client::LogStreamsClient, organizations_client::OrganizationsClient,
    },
};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use prost_reflect::{DynamicMessage, Kind as FieldKind, MapKey, MessageDescriptor, Value};
use reqwest::Method;
use serde_json::{Value as Json, json};
use tonic::{Request, metadata::MetadataValue, transport::Channel};

use super::sink::Sink;
use crate::{
    log_streams::support::{KEY, to_https},
    program::process::Server,
    receivers::{Fault, GenericHttps, Receiver, RequestForm},
    support::{Engine, at, create_event, metadata, on_every_engine, schema_for, until},
    tenancy::raw,
};

on_every_engine!(nothing_that_is_nobodys_business_is_told);

/// Is in everything that must not be told.
const MARK: &str = "zqxmark";
const ROOT: &str = "sk_zqxmark0123456789abcdefghijklmnopqrstuvwxyz";
const WRONG: &str = "sk_zqxmarkwrong456789abcdefghijklmnopqrstuvwxyz";
/// How deep messages are filled: a schema may hold schemas.
const DEPTH: usize = 4;

async fn nothing_that_is_nobodys_business_is_told(engine: Engine) {
    let sink = Sink::start().await;
    let program = super::traces::traced(engine, &sink)
        .await
        .with("AUDIT_LOGS_BOOTSTRAP_API_KEY", ROOT)
        .with("AUDIT_LOGS_METRICS_LISTEN", "127.0.0.1:0")
        .with("AUDIT_LOGS_LOG_STREAMS_ALLOWED_NETWORKS", "127.0.0.0/8")
        .with("AUDIT_LOGS_SECRETS_KEY", KEY)
        .with("RUST_LOG", "trace");
    let server = program.serve().await;
    let mut secrets = vec![MARK.to_owned()];
    let channel = Channel::from_shared(server.url.clone()).unwrap().connect().await.unwrap();
    let mut client = server.client_as(ROOT).await;
    secrets.extend(prepare(&channel, &mut client).await);
    record(&mut client).await;
    let receiver = Receiver::start(GenericHttps::new(MARK, RequestForm::Json)).await;
    forward(&channel, &mut client, &receiver).await;
    secrets.extend(export(&mut client).await);
    call_everything(&channel).await;
    request_everything(&server).await;
    let page = reqwest::get(format!("{}/metrics", metrics_url(&server))).await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("rpc_server_call_duration_seconds_bucket"), "{page}");

    let outcome = server.stop().await;
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stderr.contains(r#""level":"TRACE""#), "everything is logged");
    assert!(outcome.stderr.contains("a log stream changed its state"));
    let spans = ExportTraceServiceRequest { resource_spans: sink.resources() };
    let spans = String::from_utf8_lossy(&spans.encode_to_vec()).into_owned();
    assert!(spans.contains("forward batch") && spans.contains("write export"));
    for secret in secrets {
        for (what, text) in [
            ("standard error", &outcome.stderr),
            ("standard output", &outcome.stdout),
            ("the metrics", &page),
            ("the traces", &spans),
        ] {
            let found = text.lines().find(|line| line.contains(&secret));
            assert_eq!(found, None, "{what} has {secret}");
        }
    }
}

/// Where a server tells its metrics, which its log says.
pub fn metrics_url(server: &Server) -> String {
    let log = server.process.stderr.text();
    let (_, rest) = log.split_once(r#""message":"metrics are served","address":""#).unwrap();
    format!("http://{}", rest.split_once('"').unwrap().0)
}

pub fn with_key<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value: MetadataValue<_> = format!("Bearer {key}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// An organization, an action and a key, whose value is returned.
async fn prepare(channel: &Channel, client: &mut AuditLogs) -> Vec<String> {
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let organization = OrganizationsCreateRequest {
        name: format!("{MARK} name"),
        organization_id: "acme".to_owned(),
        ..Default::default()
    };
    let mut organizations = OrganizationsClient::new(channel.clone());
    organizations.create(with_key(organization, ROOT)).await.unwrap();
    let key = ApiKeysCreateRequest {
        name: format!("{MARK} key"),
        scopes: vec!["events:write".to_owned()],
        ..Default::default()
    };
    let created = ApiKeysClient::new(channel.clone()).create(with_key(key, ROOT)).await.unwrap();
    vec![created.into_inner().value]
}

/// An event everything of which is a secret.
fn secret_event(number: u64) -> CreateEventRequest {
    let mut request = create_event("acme", "doc.read");
    let event = request.event.as_mut().unwrap();
    let actor = event.actor.as_mut().unwrap();
    actor.id = format!("{MARK} actor {number}");
    actor.name = format!("{MARK} name");
    actor.metadata = Some(metadata(&[(MARK, MARK.into())]));
    event.targets[0].name = format!("{MARK} target");
    event.context.as_mut().unwrap().location = format!("{MARK} place");
    event.metadata = Some(metadata(&[(MARK, MARK.into())]));
    request.idempotency_key = format!("{MARK} key {number}");
    request
}

/// Events that are taken, repeated, refused, listed and watched.
async fn record(client: &mut AuditLogs) {
    for number in [1, 1, 2] {
        client.create_event(secret_event(number)).await.unwrap();
    }
    let mut refused = secret_event(3);
    refused.event.as_mut().unwrap().targets[0].r#type.push_str(MARK);
    client.create_event(refused.clone()).await.unwrap_err();
    let requests = vec![secret_event(4), refused.clone()];
    let batch = BatchCreateEventsRequest { requests, atomic: false };
    client.batch_create_events(batch).await.unwrap();
    let items = [secret_event(5), refused].into_iter().zip(1..);
    let items = items.map(|(request, number)| IngestItem { number, request: Some(request) });
    let message = IngestEventsRequest { items: items.collect() };
    let answer = client.ingest_events(tokio_stream::iter([message])).await.unwrap();
    let mut acknowledged = answer.into_inner();
    while acknowledged.message().await.unwrap().is_some() {}
    let list = ListEventsRequest { organization_id: "acme".to_owned(), ..Default::default() };
    assert!(client.list_events(list).await.unwrap().into_inner().events.len() >= 4);
    let watch = WatchEventsRequest { organization_id: "acme".to_owned(), ..Default::default() };
    let mut watched = client.watch_events(watch).await.unwrap().into_inner();
    client.create_event(secret_event(6)).await.unwrap();
    watched.message().await.unwrap();
}

/// Log streams: to a destination that repeats what it was sent, and to one that is not there.
async fn forward(channel: &Channel, client: &mut AuditLogs, receiver: &Receiver<GenericHttps>) {
    receiver.misbehave(Fault::Echo, 2);
    let mut streams = LogStreamsClient::new(channel.clone());
    let mut echoing = to_https(receiver, MARK);
    if let Some(Kind::GenericHttps(config)) = &mut echoing.kind {
        let value = format!("{MARK} header");
        config.headers.push(HttpHeader { name: "X-Secret".to_owned(), value });
    }
    let mut nowhere = echoing.clone();
    nowhere.kind = Some(Kind::Splunk(SplunkDestination {
        hec_token: format!("{MARK}-token"),
        url: "https://127.0.0.1:9".to_owned(),
        ..Default::default()
    }));
    for destination in [echoing, nowhere] {
        let stream = LogStreamsCreateRequest {
            organization_id: "acme".to_owned(),
            destination: Some(destination),
            ..Default::default()
        };
        let created = streams.create(with_key(stream, ROOT)).await.unwrap().into_inner();
        let log_stream_id = created.log_stream.unwrap().id;
        let test = LogStreamsTestRequest { log_stream_id: log_stream_id.clone() };
        let _ = streams.test(with_key(test, ROOT)).await;
    }
    client.create_event(secret_event(7)).await.unwrap();
    client.create_event(secret_event(8)).await.unwrap();
    until("something was delivered", async || (receiver.count() > 0).then_some(())).await;
}

/// An export and its download; returns the signature of the link.
async fn export(client: &mut AuditLogs) -> Vec<String> {
    let request = CreateExportRequest {
        organization_id: "acme".to_owned(),
        range_start: Some(at("2020-01-01T00:00:00Z")),
        range_end: Some(at("2030-01-01T00:00:00Z")),
        actor_names: vec![format!("{MARK} name")],
        ..Default::default()
    };
    let created = client.create_export(request).await.unwrap().into_inner().export.unwrap();
    let watch = GetExportRequest { export_id: created.id, watch: Some(true) };
    let mut views = client.get_export(watch).await.unwrap().into_inner();
    let mut last = None;
    while let Some(view) = views.message().await.unwrap() {
        last = view.export;
    }
    let export = last.unwrap();
    assert_eq!(export.state(), ExportState::Ready);
    let file = reqwest::get(&export.url).await.unwrap().text().await.unwrap();
    assert!(file.contains(MARK), "{file}");
    let (_, query) = export.url.split_once('?').unwrap();
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    values.map(|(_, value)| value.to_owned()).filter(|value| value.len() > 20).collect()
}

/// A message all of whose texts are marked.
fn marked(descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let one = match field.kind() {
            FieldKind::String => Value::String(format!("{MARK} {}", field.name())),
            FieldKind::Bytes => Value::Bytes(Bytes::from_static(MARK.as_bytes())),
            FieldKind::Message(inner) if field.is_map() => {
                let value = inner.map_entry_value_field();
                let FieldKind::Message(value) = value.kind() else { continue };
                if depth > 0 {
                    let value = Value::Message(marked(&value, depth - 1));
                    let map = [(MapKey::String(MARK.to_owned()), value)];
                    message.set_field(&field, Value::Map(map.into_iter().collect()));
                }
                continue;
            }
            FieldKind::Message(inner) if depth > 0 => Value::Message(marked(&inner, depth - 1)),
            _ => continue,
        };
        let value = if field.is_list() { Value::List(vec![one]) } else { one };
        message.set_field(&field, value);
    }
    message
}

/// Every RPC, with the key, with a wrong one and without, and with what is no message.
async fn call_everything(channel: &Channel) {
    for method in raw::methods() {
        let message = marked(&method.input(), DEPTH).encode_to_vec();
        let name = raw::name(&method);
        for key in [Some(ROOT), Some(WRONG), None] {
            // Whether it is taken does not matter here.
            let _ = raw::call(channel, &name, key.map(raw::bearer), message.clone()).await;
        }
        let garbage = [&[0xff], MARK.as_bytes()].concat();
        let _ = raw::call(channel, &name, Some(raw::bearer(ROOT)), garbage).await;
    }
}

/// Every route of the REST API and those beside it, likewise.
async fn request_everything(server: &Server) {
    let http = reqwest::Client::builder().build().unwrap();
    let openapi = http.get(format!("{}/openapi.json", server.url)).send().await.unwrap();
    let openapi: Json = serde_json::from_slice(&openapi.bytes().await.unwrap()).unwrap();
    let mut requests: Vec<(Method, String)> = Vec::new();
    for (path, operations) in openapi["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            requests.push((method, path.clone()));
        }
    }
    assert!(requests.len() > 20, "the description has no routes");
    for path in ["/v1/exports/{id}", "/tlog/{id}/checkpoint", "/tlog/{id}/tile/0/000", "/{id}"] {
        requests.push((Method::GET, path.to_owned()));
    }
    let party = json!({"id": MARK, "type": "user", "name": MARK, "metadata": {MARK: MARK}});
    let body = json!({
        "organization_id": "acme", "name": MARK, "url": MARK, "key": MARK,
        "event": {
            "action": "doc.read", "occurred_at": "2026-01-02T03:04:05Z", "actor": party,
            "targets": [{"id": MARK, "type": "document"}], "context": {"location": MARK},
            "metadata": {MARK: MARK},
        },
        "destination": {"type": "splunk", "hec_token": MARK, "url": "https://127.0.0.1:9"},
    });
    for (method, path) in requests {
        let path = path.split('/').map(|part| if part.starts_with('{') { MARK } else { part });
        let path = path.collect::<Vec<_>>().join("/");
        for (key, body) in
            [(ROOT, body.to_string()), (WRONG, body.to_string()), (ROOT, format!("{{{MARK}"))]
        {
            let request = http
                .request(method.clone(), format!("{}{path}?token={MARK}&after={MARK}", server.url))
                .bearer_auth(key)
                .header("idempotency-key", MARK)
                .header("content-type", "application/json");
            let _ = request.body(body).send().await.unwrap();
        }
    }
}
