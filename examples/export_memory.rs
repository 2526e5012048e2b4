//! Shows that an export takes constant memory: starts a server, fills one log, exports it, and prints
//! the server's resident size before and at its highest during the export. Fails above 64 MiB.
//!
//! `cargo run --release --example export_memory -- 1000000 [postgres://...]` (Linux; reads `/proc`).

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use audit_logs::{
    client::{AuditLogs, Client},
    proto::v1::{
        Actor, BatchCreateEventsRequest, Context as EventContext, CreateActionSchemaRequest,
        CreateEventRequest, CreateExportRequest, Event, SchemaTarget, Target,
    },
};
use prost_types::Timestamp;

const KEY: &str = "sk_example_0123456789abcdefghijklmnopqrstuvwxyz";
const ADDRESS: &str = "127.0.0.1:50991";
const BATCH: u64 = 1_000;
/// 2026-01-01T00:00:00Z
const START: i64 = 1_767_225_600;
const LIMIT_MIB: f64 = 64.0;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let events: u64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let directory = env::temp_dir().join(format!("audit-logs-memory-{}", std::process::id()));
    let mut server = start(&directory, arguments.next().as_deref())?;
    let result = measure(server.id(), events, &directory).await;
    server.kill()?;
    server.wait()?;
    fs::remove_dir_all(&directory)?;
    result
}

fn start(directory: &Path, database_url: Option<&str>) -> Result<Child> {
    // Examples are built into a directory beside the program.
    let program = env::current_exe()?.with_file_name("../audit-logs");
    fs::create_dir_all(directory)?;
    let mut command = Command::new(&program);
    command
        .args(["serve", "--migrate", "--listen", ADDRESS, "--data-dir"])
        .arg(directory)
        .env("AUDIT_LOGS_BOOTSTRAP_API_KEY", KEY)
        .env("RUST_LOG", "warn")
        .stdout(Stdio::null());
    if let Some(url) = database_url {
        command.args(["--database-url", url]);
    }
    command.spawn().with_context(|| format!("build {} first", program.display()))
}

async fn measure(server: u32, events: u64, directory: &Path) -> Result<()> {
    let client = connect().await?;
    let start = Instant::now();
    fill(&mut client.audit_logs(), events).await?;
    let fill_rate = rate(events, start);
    let before = resident_mib(server)?;
    let mut highest = before;
    let request = CreateExportRequest {
        organization_id: "memory".to_owned(),
        range_start: Some(Timestamp { seconds: START, nanos: 0 }),
        range_end: Some(Timestamp { seconds: START + 100_000_000, nanos: 0 }),
        ..Default::default()
    };
    let start = Instant::now();
    let path = directory.join("export.csv");
    let frames = AtomicU32::new(0);
    let export = client.export(request, &path, |_| _ = frames.fetch_add(1, Ordering::Relaxed));
    tokio::pin!(export);
    let export = loop {
        tokio::select! {
            export = &mut export => break export?,
            () = tokio::time::sleep(Duration::from_millis(10)) => {
                highest = highest.max(resident_mib(server)?);
            }
        }
    };
    println!("events            {events}, filled at {fill_rate:.0}/s");
    println!(
        "rows              {}, exported and downloaded at {:.0}/s",
        export.rows_written,
        rate(events, start)
    );
    println!("bytes             {}", export.bytes_written);
    println!("status frames     {}", frames.load(Ordering::Relaxed));
    println!("resident before   {before:.1} MiB");
    println!("resident highest  {highest:.1} MiB");
    println!("added             {:.1} MiB (limit {LIMIT_MIB} MiB)", highest - before);
    ensure!(export.rows_written == events, "rows are missing");
    ensure!(highest - before < LIMIT_MIB, "the export takes too much memory");
    Ok(())
}

async fn connect() -> Result<Client> {
    let start = Instant::now();
    loop {
        let client = Client::connect(&format!("http://{ADDRESS}"), KEY).await;
        let ready = match &client {
            Ok(client) => client
                .audit_logs()
                .list_actions(audit_logs::proto::v1::ListActionsRequest::default())
                .await
                .is_ok(),
            Err(_) => false,
        };
        if ready || start.elapsed() > Duration::from_secs(20) {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn fill(client: &mut AuditLogs, events: u64) -> Result<()> {
    let schema = CreateActionSchemaRequest {
        action_name: "report.downloaded".to_owned(),
        targets: vec![SchemaTarget { r#type: "report".to_owned(), metadata: None }],
        ..Default::default()
    };
    client.create_action_schema(schema).await?;
    for first in (0..events).step_by(usize::try_from(BATCH)?) {
        let requests = (first..events.min(first + BATCH)).map(request).collect();
        let batch = BatchCreateEventsRequest { requests, atomic: true };
        client.batch_create_events(batch).await?;
    }
    Ok(())
}

fn request(number: u64) -> CreateEventRequest {
    let party = (format!("user_{}", number % 997), format!("report_{}", number % 9_973));
    CreateEventRequest {
        organization_id: "memory".to_owned(),
        idempotency_key: String::new(),
        receipt: false,
        event: Some(Event {
            action: "report.downloaded".to_owned(),
            occurred_at: Some(Timestamp {
                seconds: START + i64::try_from(number).unwrap_or(0),
                nanos: 0,
            }),
            actor: Some(Actor {
                id: party.0,
                r#type: "user".to_owned(),
                name: "Some Body".to_owned(),
                metadata: None,
            }),
            targets: vec![Target {
                id: party.1,
                r#type: "report".to_owned(),
                name: "Quarterly figures".to_owned(),
                metadata: None,
            }],
            context: Some(EventContext {
                location: "203.0.113.9".to_owned(),
                user_agent:
                    "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"
                        .to_owned(),
            }),
            ..Default::default()
        }),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate to be read by people")]
fn rate(events: u64, start: Instant) -> f64 {
    events as f64 / start.elapsed().as_secs_f64()
}

/// Resident memory of a process (proc(5), `VmRSS`).
fn resident_mib(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no size")?.parse()?;
    Ok(kib / 1_024.0)
}
