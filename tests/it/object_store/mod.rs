//! Exports in a bucket, on a real S3 server, with and without harm; and workers that are killed.

pub mod bucket;
mod takeover;

use std::{sync::Arc, time::Duration};

use audit_logs::{
    client::AuditLogs,
    domain::{
        clock::{Clock, ManualClock, SystemClock},
        timestamp::Timestamp,
    },
    export::files::ExportFiles,
    proto::v1::{BatchCreateEventsRequest, CreateExportRequest, Export, ExportFormat, ExportState},
    store::{Store, StoreOptions},
    worker::housekeeping::Housekeeper,
};
use reqwest::header;

use self::bucket::{Bucket, Fault};
use crate::{
    export_jobs::{export_of, follow, look, start},
    program::process::Program,
    support::{Engine, create_event, metadata, on_every_engine, schema_for, until},
};

on_every_engine!(a_killed_worker_leaves_no_upload, a_killed_worker_leaves_no_half_file);

const EVENTS: usize = 700;
const ALWAYS: usize = usize::MAX;

/// Events that make a file of some 14 MiB: two parts.
async fn fill(client: &mut AuditLogs) {
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    for _ in 0..EVENTS / 100 {
        let requests = (0..100).map(|_| {
            let mut request = create_event("acme", "doc.read");
            let text = "x".repeat(500);
            let keys: Vec<_> = (0..40).map(|number| format!("key_{number:02}")).collect();
            let pairs = keys.iter().map(|key| (key.as_str(), text.as_str().into()));
            let pairs: Vec<_> = pairs.collect();
            request.event.as_mut().unwrap().metadata = Some(metadata(&pairs));
            request
        });
        let batch = BatchCreateEventsRequest { requests: requests.collect(), atomic: true };
        client.batch_create_events(batch).await.unwrap();
    }
}

fn json_lines() -> CreateExportRequest {
    CreateExportRequest { format: ExportFormat::JsonLines.into(), ..export_of("acme") }
}

async fn download(export: &Export) -> Vec<u8> {
    let response = reqwest::get(&export.url).await.unwrap().error_for_status().unwrap();
    let bytes = response.bytes().await.unwrap().to_vec();
    assert_eq!(bytes.len() as u64, export.bytes_written);
    assert_eq!(bytes.split(|byte| *byte == b'\n').count(), EVENTS + 1);
    bytes
}

/// Holds the file against its manifest, which is fetched from the bucket.
async fn assert_proved(program: &Program, export: &Export) {
    program.write("file.jsonl", download(export).await);
    let link = export.manifest_url.as_str();
    let said = program.run(&["verify", "export", "file.jsonl", "--manifest", link]).await;
    let said = said.expect_success();
    let whole = format!("{EVENTS} events, complete from sequence 0 to {}", EVENTS - 1);
    assert!(said.contains(&whole), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_live_in_the_bucket() {
    if !bucket::is_installed() {
        return;
    }
    let bucket = Bucket::start().await;
    let program = bucket.serves(Program::on(Engine::Sqlite).await);
    let server = program.serve().await;
    let mut client = server.client().await;
    fill(&mut client).await;
    let id = start(&mut client, json_lines()).await.id;
    let export = follow(&mut client, &id).await.pop().unwrap();
    assert_eq!((export.state(), export.error.as_str()), (ExportState::Ready, ""));
    // Links are the bucket's own, and name the file.
    let response = reqwest::get(&export.url).await.unwrap();
    let disposition = response.headers()[header::CONTENT_DISPOSITION].to_str().unwrap();
    assert_eq!(disposition, format!("attachment; filename=\"{id}.jsonl\""));
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/jsonl");
    let made_of_parts = response.headers()[header::ETAG].to_str().unwrap().contains("-2");
    assert!(made_of_parts, "{:?}", response.headers());
    for part in ["X-Amz-Signature=", "X-Amz-Expires=600", "some/prefix"] {
        assert!(export.url.contains(part), "{}", export.url);
    }
    assert_proved(&program, &export).await;
    assert_eq!((bucket.files().await, bucket.uploads().await), (2, 0));

    let far = SystemClock.now().plus_seconds(31 * 86_400);
    housekeeper(&program, &bucket, far).await.round().await;
    let expired = look(&mut client, &id).await;
    assert_eq!((expired.state(), expired.url.as_str()), (ExportState::Expired, ""));
    assert_eq!(bucket.files().await, 0);
    // Links of the service work as well, for buckets that only it can reach.
    server.stop().await;
    let program = program.with("AUDIT_LOGS_EXPORTS_PRESIGNED_URLS", "false");
    let server = program.serve().await;
    let mut client = server.client().await;
    let id = start(&mut client, json_lines()).await.id;
    let export = follow(&mut client, &id).await.pop().unwrap();
    assert!(export.url.starts_with(&server.url), "{}", export.url);
    download(&export).await;
}

async fn housekeeper(program: &Program, bucket: &Bucket, now: Timestamp) -> Housekeeper {
    let options = StoreOptions { url: program.database_url().to_owned(), max_connections: 2 };
    let patience = Duration::from_secs(10);
    let url = "s3://audit-exports/some/prefix";
    Housekeeper {
        store: Store::connect(&options).await.unwrap(),
        clock: Arc::new(ManualClock::new(now)),
        files: ExportFiles::open_url(url, bucket.variables(), patience).unwrap(),
        export_retention: 30 * 86_400,
        idempotency_window: 86_400,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_tried_again() {
    if !bucket::is_installed() {
        return;
    }
    let bucket = Bucket::start().await;
    let program = bucket.serves(Program::on(Engine::Sqlite).await);
    let program = program.with("AUDIT_LOGS_EXPORTS_STORE_PATIENCE_SECONDS", "5");
    let server = program.serve().await;
    let mut client = server.client().await;
    fill(&mut client).await;
    for (pass, harm, fault) in [
        (0, 2, Fault::Internal),
        (1, 2, Fault::SlowDown),
        (2, 2, Fault::Cut),
        // The patience is over before the answer comes: another attempt.
        (2, 1, Fault::Hang),
    ] {
        bucket.harm(pass, harm, fault);
        let id = start(&mut client, json_lines()).await.id;
        let export = follow(&mut client, &id).await.pop().unwrap();
        assert_eq!((export.state(), export.error.as_str()), (ExportState::Ready, ""), "{fault:?}");
        assert_proved(&program, &export).await;
        assert_eq!(bucket.uploads().await, 0, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_for_good_is_an_error_with_a_reason() {
    if !bucket::is_installed() {
        return;
    }
    let bucket = Bucket::start().await;
    let program = bucket.serves(Program::on(Engine::Sqlite).await);
    let program = program.with("AUDIT_LOGS_EXPORTS_STORE_PATIENCE_SECONDS", "1");
    let server = program.serve().await;
    let mut client = server.client().await;
    fill(&mut client).await;
    for (pass, fault) in [(0, Fault::Internal), (1, Fault::SlowDown), (2, Fault::Hang)] {
        bucket.harm(pass, ALWAYS, fault);
        let id = start(&mut client, json_lines()).await.id;
        let export = follow(&mut client, &id).await.pop().unwrap();
        assert_eq!((export.state(), export.url.as_str()), (ExportState::Error, ""), "{fault:?}");
        // What the bucket answers names it and the key to it.
        assert_eq!(export.error, "the export store failed");
        let nothing = async || (bucket.uploads().await == 0).then_some(());
        until("nothing is left", nothing).await;
        assert_eq!(bucket.files().await, 0, "{fault:?}");
    }
}

async fn a_killed_worker_leaves_no_upload(engine: Engine) {
    if !bucket::is_installed() {
        return;
    }
    let bucket = Bucket::start().await;
    let program = bucket.serves(Program::on(engine).await);
    let server = program.serve().await;
    let mut client = server.client().await;
    fill(&mut client).await;
    // The upload is begun and its first part arrives; the second never does.
    bucket.harm(2, ALWAYS, Fault::Hang);
    let id = start(&mut client, json_lines()).await.id;
    until("an upload", async || (bucket.uploads().await == 1).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.kill();
    assert_eq!((bucket.files().await, bucket.uploads().await), (0, 1));
    bucket.heal();
    program.execute("UPDATE exports SET lease_until = 0").await;
    let server = program.serve().await;
    let mut client = server.client().await;
    let export = follow(&mut client, &id).await.pop().unwrap();
    assert_eq!((export.state(), export.error.as_str()), (ExportState::Ready, ""));
    assert_proved(&program, &export).await;
    assert_eq!((bucket.files().await, bucket.uploads().await), (2, 0));
}

async fn a_killed_worker_leaves_no_half_file(engine: Engine) {
    let program = Program::on(engine).await;
    let server = program.serve().await;
    let mut client = server.client().await;
    fill(&mut client).await;
    let id = start(&mut client, json_lines()).await.id;
    let directory = program.path("data/exports").join(&id);
    until("the file is begun", async || directory.exists().then_some(())).await;
    server.kill();
    // Either it was killed in time, or it had come to an end.
    let before: Vec<_> = program.files_in(&format!("data/exports/{id}"));
    program.execute("UPDATE exports SET lease_until = 0").await;
    let server = program.serve().await;
    let mut client = server.client().await;
    let export = follow(&mut client, &id).await.pop().unwrap();
    assert_eq!((export.state(), export.rows_written), (ExportState::Ready, EVENTS as u64));
    download(&export).await;
    let after = program.files_in(&format!("data/exports/{id}"));
    assert_eq!(after.len(), 2, "{before:?} {after:?}");
    assert!(after.iter().all(|name| !name.contains(".part")), "{after:?}");
}
