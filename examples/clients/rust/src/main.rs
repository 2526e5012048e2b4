//! Records an event, watches the log until it comes by, and exports it: the service from Rust.
//!
//! `AUDIT_LOGS_SERVER` is the address (http://127.0.0.1:50051), `AUDIT_LOGS_API_KEY` the key, and
//! `AUDIT_LOGS_ORGANIZATION` the log (org_acme). The argument is the file of the export (export.csv).

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::time::{Duration, SystemTime};

use prost_types::{ListValue, Struct, Value, value::Kind};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::{Interceptor, interceptor::InterceptedService};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

use auditlogs::audit_logs_client::AuditLogsClient;
use auditlogs::watch_events_request::Start;
use auditlogs::watch_events_response::Content;
use auditlogs::{
    Actor, Context, CreateActionSchemaRequest, CreateEventRequest, CreateEventResponse,
    CreateExportRequest, Event, Export, ExportState, GetExportRequest, SchemaTarget, Target,
    WatchEventsRequest, WatchEventsResponse,
};

mod auditlogs {
    tonic::include_proto!("auditlogs.v1");
}

const ACTION: &str = "document.signed";
const CALL: Duration = Duration::from_secs(15);
/// A log may be silent for long, and this program waits for an event that is there already.
const WATCH: Duration = Duration::from_secs(60);
const WATCH_ATTEMPTS: u32 = 5;

type Failure = Box<dyn Error + Send + Sync>;
type Stub = AuditLogsClient<InterceptedService<Channel, Key>>;

#[tokio::main]
async fn main() {
    if let Err(error) = run().await {
        match error.downcast_ref::<Status>() {
            Some(status) => eprintln!("error: {:?}: {}", status.code(), status.message()),
            None => eprintln!("error: {error}"),
        }
        std::process::exit(1);
    }
}

async fn run() -> Result<(), Failure> {
    println!("client: {}", env!("VERSIONS"));
    let key = env::var("AUDIT_LOGS_API_KEY").map_err(|_| "AUDIT_LOGS_API_KEY is not set")?;
    let server = variable("AUDIT_LOGS_SERVER", "http://127.0.0.1:50051");
    let file = env::args().nth(1).unwrap_or_else(|| "export.csv".to_owned());

    let key = Key(format!("Bearer {key}").parse()?);
    let client = Client {
        stub: AuditLogsClient::with_interceptor(connect(server)?, key),
        organization_id: variable("AUDIT_LOGS_ORGANIZATION", "org_acme"),
    };
    client.ensure_schema().await?;
    let created = client.emit().await?;
    client.emit_invalid().await?;
    client.watch_for(&created).await?;
    client.export(&created, &file).await
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn connect(address: String) -> Result<Channel, Failure> {
    let secure = address.starts_with("https:");
    let mut endpoint = Endpoint::from_shared(address)?.connect_timeout(CALL);
    if secure {
        endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
    }
    Ok(endpoint.connect_lazy())
}

/// Adds the API key to every call.
#[derive(Clone)]
struct Key(MetadataValue<Ascii>);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Repeats a call while it is worth it, all attempts within one deadline.
///
/// tonic has no gRPC service config, so this is its `retryPolicy` by hand (gRPC proposal A6): 5
/// attempts, 0.1 s doubled up to 2 s, at random below that, for UNAVAILABLE and RESOURCE_EXHAUSTED.
/// Only for what may be repeated: CreateEvent because every event here has an idempotency key;
/// CreateExport not, since each call makes one.
async fn with_retries<Message: Clone, Answer>(
    message: Message,
    limit: Duration,
    call: impl AsyncFn(Request<Message>) -> Result<Response<Answer>, Status>,
) -> Result<Answer, Status> {
    let deadline = Instant::now() + limit;
    let mut backoff = Duration::from_millis(100);
    for attempt in 1.. {
        let mut request = Request::new(message.clone());
        // The server is told the deadline, and gives up when nobody waits any more.
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        let answer = timeout_at(deadline, call(request)).await;
        match answer.map_err(|_| Status::deadline_exceeded("no answer in time"))? {
            Err(status) if attempt < 5 && worth_a_retry(&status) => {
                let pause = backoff.mul_f64(fastrand::f64());
                if Instant::now() + pause >= deadline {
                    return Err(status);
                }
                sleep(pause).await;
                backoff = (backoff * 2).min(Duration::from_secs(2));
            }
            answer => return answer.map(Response::into_inner),
        }
    }
    unreachable!("the loop ends by returning")
}

fn worth_a_retry(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
}

struct Client {
    /// Clones share the connection.
    stub: Stub,
    organization_id: String,
}

impl Client {
    /// Makes sure that the action has the schema. Sending one that is there makes no version.
    async fn ensure_schema(&self) -> Result<(), Failure> {
        let pages = record([("type", text("integer")), ("minimum", number(1.0))]);
        let required = Kind::ListValue(ListValue { values: vec![text("pages")] });
        let schema = Struct {
            fields: fields([
                ("type", text("object")),
                ("required", Value { kind: Some(required) }),
                ("properties", record([("pages", pages)])),
            ]),
        };
        let request = CreateActionSchemaRequest {
            action_name: ACTION.to_owned(),
            targets: vec![SchemaTarget { r#type: "document".to_owned(), metadata: Some(schema) }],
            ..Default::default()
        };
        let answer = with_retries(request, CALL, async |request| {
            self.stub.clone().create_action_schema(request).await
        })
        .await?;
        let version = answer.schema.map(|schema| schema.version).unwrap_or_default();
        println!("schema: {ACTION} version {version}, new: {}", answer.created);
        Ok(())
    }

    fn new_event(&self, pages: Value) -> CreateEventRequest {
        let document = Target {
            id: "doc_1".to_owned(),
            r#type: "document".to_owned(),
            metadata: Some(Struct { fields: fields([("pages", pages)]) }),
            ..Default::default()
        };
        let event = Event {
            action: ACTION.to_owned(),
            occurred_at: Some(SystemTime::now().into()),
            actor: Some(Actor {
                id: "user_1".to_owned(),
                r#type: "user".to_owned(),
                name: "Ada".to_owned(),
                metadata: None,
            }),
            targets: vec![document],
            context: Some(Context {
                location: "203.0.113.9".to_owned(),
                user_agent: "example/rust".to_owned(),
            }),
            ..Default::default()
        };
        CreateEventRequest {
            organization_id: self.organization_id.clone(),
            idempotency_key: uuid::Uuid::new_v4().to_string(),
            event: Some(event),
            receipt: false,
        }
    }

    async fn create_event(&self, pages: Value) -> Result<CreateEventResponse, Status> {
        with_retries(self.new_event(pages), CALL, async |request| {
            self.stub.clone().create_event(request).await
        })
        .await
    }

    /// Records an event. The answer means that it is durable and has its place in the log.
    async fn emit(&self) -> Result<CreateEventResponse, Status> {
        let created = self.create_event(number(12.0)).await?;
        // A duplicate: an attempt whose answer was lost had stored it, and the retry nothing more.
        println!(
            "event: {} is at sequence {}, duplicate: {}",
            created.event_id, created.sequence, created.duplicate
        );
        Ok(created)
    }

    /// Sends an event that does not fit its schema, and reads what the service says about it.
    async fn emit_invalid(&self) -> Result<(), Failure> {
        let refusal = match self.create_event(text("twelve")).await {
            Ok(_) => return Err("an event that does not fit its schema was not refused".into()),
            Err(status) if status.code() != Code::InvalidArgument => return Err(status.into()),
            Err(status) => status,
        };
        if let Some(info) = refusal.get_details_error_info() {
            println!("refused: {} of {}", info.reason, info.domain);
        }
        if let Some(request) = refusal.get_details_bad_request() {
            for violation in request.field_violations {
                let (field, reason) = (violation.field, violation.reason);
                println!("refused: {field}: {reason}: {}", violation.description);
            }
        }
        Ok(())
    }

    /// Watches the log from a little before the event until it comes by. A stream that ends is resumed
    /// where its last frame said: nothing is missed and nothing comes twice.
    async fn watch_for(&self, created: &CreateEventResponse) -> Result<(), Failure> {
        let mut next = created.sequence.saturating_sub(10);
        for _ in 0..WATCH_ATTEMPTS {
            let ending = match self.watch_once(&mut next, &created.event_id).await {
                Ok(true) => return Ok(()),
                Ok(false) => Code::Ok,
                Err(status) if worth_a_retry(&status) => status.code(),
                Err(status) => return Err(status.into()),
            };
            println!("watch: ended with {ending:?}, resuming at sequence {next}");
        }
        Err("the event never came by".into())
    }

    /// Tells whether the event came by before the stream ended, and keeps where to resume.
    async fn watch_once(&self, next: &mut u64, event_id: &str) -> Result<bool, Status> {
        let request = WatchEventsRequest {
            organization_id: self.organization_id.clone(),
            start: Some(Start::FromSequence(*next)),
            ..Default::default()
        };
        let mut frames = with_retries(request, WATCH, async |request| {
            self.stub.clone().watch_events(request).await
        })
        .await?;
        while let Some(frame) = frames.message().await? {
            *next = frame.next_sequence;
            if saw(frame, event_id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the last hour to a CSV file, follows it until it is ready, and downloads it.
    async fn export(&self, created: &CreateEventResponse, file: &str) -> Result<(), Failure> {
        let now = SystemTime::now();
        let mut request = Request::new(CreateExportRequest {
            organization_id: self.organization_id.clone(),
            range_start: Some((now - Duration::from_secs(3600)).into()),
            range_end: Some(now.into()),
            ..Default::default()
        });
        request.set_timeout(CALL);
        let answer = self.stub.clone().create_export(request).await?.into_inner();
        let export = self.follow(answer.export.unwrap_or_default().id).await?;
        let to = file.to_owned();
        tokio::task::spawn_blocking(move || download(&export.url, &to)).await??;
        // An id needs no quotes in CSV, so the beginning of a line tells.
        let csv = fs::read_to_string(file)?;
        if !csv.lines().any(|line| line.starts_with(&format!("{},", created.event_id))) {
            return Err(format!("{file} does not have the event {}", created.event_id).into());
        }
        println!("export: {file} has the event among {}", csv.lines().count() - 1);
        Ok(())
    }

    async fn follow(&self, export_id: String) -> Result<Export, Failure> {
        let request = GetExportRequest { export_id, watch: None };
        let mut frames = with_retries(request, WATCH, async |request| {
            self.stub.clone().get_export(request).await
        })
        .await?;
        while let Some(frame) = frames.message().await? {
            let export = frame.export.unwrap_or_default();
            println!("export: {}, {} rows", export.state().as_str_name(), export.rows_written);
            match export.state() {
                ExportState::Ready => return Ok(export),
                ExportState::Pending => {}
                state => return Err(format!("{}: {}", state.as_str_name(), export.error).into()),
            }
        }
        Err("the export was not followed to its end".into())
    }
}

/// Prints a frame, and tells whether the event is in it.
fn saw(frame: WatchEventsResponse, event_id: &str) -> bool {
    match frame.content {
        Some(Content::Heartbeat(heartbeat)) => {
            println!("watch: heartbeat, the log has {} events", heartbeat.tree_size);
            false
        }
        Some(Content::Events(events)) => events.events.into_iter().any(|record| {
            let event = record.event.unwrap_or_default();
            let actor = event.actor.unwrap_or_default();
            println!("watch: sequence {} is {} by {}", record.sequence, event.action, actor.id);
            record.id == event_id
        }),
        None => false,
    }
}

/// Fetches the signed link, which needs no key.
fn download(url: &str, file: &str) -> Result<(), Failure> {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder().timeout_global(Some(CALL)).build(),
    );
    let mut body = agent.get(url).call()?.into_body().into_reader();
    io::copy(&mut body, &mut File::create(file)?)?;
    Ok(())
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

fn number(number: f64) -> Value {
    Value { kind: Some(Kind::NumberValue(number)) }
}

fn record<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value { kind: Some(Kind::StructValue(Struct { fields: fields(members) })) }
}

fn fields<Fields: FromIterator<(String, Value)>, const N: usize>(
    members: [(&str, Value); N],
) -> Fields {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
