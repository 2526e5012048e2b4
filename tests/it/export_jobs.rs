//! Exports as jobs: compressed, called off, taken in turns, given up.

use std::{io::Read, sync::Arc};

use audit_logs::{
    app::open_files,
    client::AuditLogs,
    domain::clock::{Clock, ManualClock, SystemClock},
    proto::v1::{
        ApiKeysCreateRequest, ApiKeysRevokeRequest, BatchCreateEventsRequest, CancelExportRequest,
        CreateExportRequest, Export, ExportCompression, ExportFormat, ExportState,
        GetExportRequest,
    },
    worker::housekeeping::Housekeeper,
};
use futures::StreamExt;
use reqwest::{StatusCode, header};
use sha2::Digest;
use tonic::Code;

use crate::support::{
    Engine, Refusal, TestServer, at, create_event, on_every_engine, schema_for, until,
};

on_every_engine!(
    compressed_files_hold_the_same,
    an_unknown_compression_is_refused,
    a_cancelled_export_ends_and_leaves_nothing,
    what_has_ended_is_not_cancelled,
    a_revoked_key_ends_the_stream,
    organizations_take_turns,
    a_job_that_ends_its_workers_is_given_up,
    the_estimate_is_honest,
    a_file_that_was_cut_off_is_not_handed_out,
    the_number_of_pending_exports_is_bounded,
);

pub fn export_of(organization: &str) -> CreateExportRequest {
    CreateExportRequest {
        organization_id: organization.to_owned(),
        range_start: Some(at("2020-01-01T00:00:00Z")),
        range_end: Some(at("2030-01-01T00:00:00Z")),
        ..Default::default()
    }
}

pub async fn fill(client: &mut AuditLogs, organization: &str, events: usize) {
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut left = events;
    while left > 0 {
        let size = left.min(1_000);
        let requests = (0..size).map(|_| create_event(organization, "doc.read")).collect();
        let batch = BatchCreateEventsRequest { requests, atomic: true };
        client.batch_create_events(batch).await.unwrap();
        left -= size;
    }
}

pub async fn start(client: &mut AuditLogs, request: CreateExportRequest) -> Export {
    client.create_export(request).await.unwrap().into_inner().export.unwrap()
}

/// Every frame until the export ends.
pub async fn follow(client: &mut AuditLogs, id: &str) -> Vec<Export> {
    let request = GetExportRequest { export_id: id.to_owned(), watch: None };
    let frames = client.get_export(request).await.unwrap().into_inner();
    frames.map(|frame| frame.unwrap().export.unwrap()).collect().await
}

pub async fn look(client: &mut AuditLogs, id: &str) -> Export {
    let request = GetExportRequest { export_id: id.to_owned(), watch: Some(false) };
    let mut frames = client.get_export(request).await.unwrap().into_inner();
    frames.message().await.unwrap().unwrap().export.unwrap()
}

async fn cancel(client: &mut AuditLogs, id: &str) -> Export {
    let request = CancelExportRequest { export_id: id.to_owned() };
    client.cancel_export(request).await.unwrap().into_inner().export.unwrap()
}

async fn bytes(url: &str) -> Vec<u8> {
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.bytes().await.unwrap().to_vec()
}

async fn compressed_files_hold_the_same(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 2_500).await;
    for (format, extension) in [(ExportFormat::Csv, "csv"), (ExportFormat::JsonLines, "jsonl")] {
        let plain = CreateExportRequest { format: format.into(), ..export_of("acme") };
        let gzip = ExportCompression::Gzip.into();
        let packed = CreateExportRequest { compression: gzip, ..plain.clone() };
        let plain = start(&mut client, plain).await;
        let plain = follow(&mut client, &plain.id).await.pop().unwrap();
        assert_eq!(plain.compression(), ExportCompression::None);
        let packed = start(&mut client, packed).await;
        let packed = follow(&mut client, &packed.id).await.pop().unwrap();
        assert_eq!(
            (packed.state(), packed.compression(), packed.rows_written),
            (ExportState::Ready, ExportCompression::Gzip, 2_500)
        );
        let response = reqwest::get(&packed.url).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/gzip");
        assert!(!response.headers().contains_key(header::CONTENT_ENCODING));
        let disposition = format!("attachment; filename=\"{}.{extension}.gz\"", packed.id);
        assert_eq!(response.headers()[header::CONTENT_DISPOSITION], disposition.as_str());
        let stored = response.bytes().await.unwrap();
        assert_eq!(stored.len() as u64, packed.bytes_written);
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&stored[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, bytes(&plain.url).await, "{extension}");
        let manifest: serde_json::Value =
            serde_json::from_slice(&bytes(&packed.manifest_url).await).unwrap();
        assert_eq!(manifest["compression"], "gzip");
        assert_eq!(manifest["bytes"], stored.len());
        assert_eq!(manifest["sha256"], hex::encode(sha2::Sha256::digest(&stored)));
    }
}

async fn an_unknown_compression_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 1).await;
    let request = CreateExportRequest { compression: 9, ..export_of("acme") };
    let refused = Refusal::of(&client.create_export(request).await.unwrap_err());
    assert_eq!(refused.code, Code::InvalidArgument);
}

/// Makes every pending job look as if a worker elsewhere had it.
async fn hold(server: &TestServer) {
    let sql = "UPDATE exports SET state = 'pending', lease_owner = 'elsewhere', error = NULL, \
               lease_until = 9000000000000000000, rows_written = 0, bytes_written = 0";
    server.execute(sql).await;
}

async fn a_cancelled_export_ends_and_leaves_nothing(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 100).await;
    // One that a worker elsewhere has.
    let id = start(&mut client, export_of("acme")).await.id;
    follow(&mut client, &id).await;
    hold(&server).await;
    let request = GetExportRequest { export_id: id.clone(), watch: None };
    let mut frames = client.get_export(request).await.unwrap().into_inner();
    frames.next().await.unwrap().unwrap();
    let cancelled = cancel(&mut client, &id).await;
    assert_eq!((cancelled.state(), cancelled.url.as_str()), (ExportState::Cancelled, ""));
    let rest: Vec<_> = frames.map(|frame| frame.unwrap().export.unwrap()).collect().await;
    assert_eq!(rest.last().unwrap().state(), ExportState::Cancelled);
    // Again, and after its worker's lease ran out: it stays what it is.
    assert_eq!(cancel(&mut client, &id).await.state(), ExportState::Cancelled);
    server.execute("UPDATE exports SET lease_until = 0").await;
    // A worker that looks for work finds the next job, not this one.
    let next = start(&mut client, export_of("acme")).await.id;
    assert_eq!(follow(&mut client, &next).await.pop().unwrap().state(), ExportState::Ready);
    assert_eq!(look(&mut client, &id).await.state(), ExportState::Cancelled);

    // One that is being written here: the worker stops within a second, and takes everything back.
    fill(&mut client, "acme", 30_000).await;
    let packed = ExportCompression::Gzip.into();
    let id = start(&mut client, CreateExportRequest { compression: packed, ..export_of("acme") });
    let id = id.await.id;
    let directory = server.settings.data_dir.join("exports").join(&id);
    until("the worker begins", async || directory.exists().then_some(())).await;
    let cancelled = cancel(&mut client, &id).await;
    if cancelled.state() == ExportState::Cancelled {
        let gone = async || (!directory.exists()).then_some(());
        until("nothing is left", gone).await;
        assert_eq!(follow(&mut client, &id).await.len(), 1);
    }
    let unknown = CancelExportRequest { export_id: "audit_log_export_0".into() };
    let refused = Refusal::of(&client.cancel_export(unknown).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::NotFound, "EXPORT_NOT_FOUND"));
}

/// Who must not have the file gets no link from a stream that was opened before.
async fn a_revoked_key_ends_the_stream(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 3).await;
    let id = start(&mut client, export_of("acme")).await.id;
    follow(&mut client, &id).await;
    hold(&server).await;
    let mut keys = server.keys().await;
    let request = ApiKeysCreateRequest {
        name: "leaked".to_owned(),
        scopes: vec!["exports".to_owned()],
        ..Default::default()
    };
    let created = keys.create(request).await.unwrap().into_inner();
    let mut revoked = server.client_as(&created.value).await;
    let request = GetExportRequest { export_id: id.clone(), watch: None };
    let mut frames = revoked.get_export(request).await.unwrap().into_inner();
    assert_eq!(frames.message().await.unwrap().unwrap().export.unwrap().url, "");
    let revoke = ApiKeysRevokeRequest { api_key_id: created.api_key.unwrap().id };
    keys.revoke(revoke).await.unwrap();
    server.execute("UPDATE exports SET lease_until = 0").await;
    let last = loop {
        match frames.message().await {
            Ok(frame) => assert_eq!(frame.unwrap().export.unwrap().url, ""),
            Err(status) => break Refusal::of(&status),
        }
    };
    assert_eq!(last.code, Code::Unauthenticated);
    assert_eq!(follow(&mut client, &id).await.pop().unwrap().state(), ExportState::Ready);
}

async fn what_has_ended_is_not_cancelled(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 3).await;
    let id = start(&mut client, export_of("acme")).await.id;
    let ready = follow(&mut client, &id).await.pop().unwrap();
    let after = cancel(&mut client, &id).await;
    assert_eq!((after.state(), after.rows_written), (ExportState::Ready, ready.rows_written));
    assert!(!after.url.is_empty());
}

/// However many jobs one organization has waiting, the next of another comes at its next turn.
async fn organizations_take_turns(engine: Engine) {
    let server = TestServer::start_with(engine, |settings| settings.exports.workers = 1).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 1).await;
    fill(&mut client, "umbrella", 1).await;
    let mut ids = Vec::new();
    for organization in ["acme", "acme", "acme", "acme", "umbrella", "umbrella"] {
        ids.push(start(&mut client, export_of(organization)).await.id);
    }
    for id in &ids {
        follow(&mut client, id).await;
    }
    // All at once, as if they had been created while no worker was there: one transaction.
    let sql = "UPDATE exports SET state = 'pending', attempts = 0, lease_until = 0, leased_at = 0";
    server.execute(sql).await;
    for id in &ids {
        follow(&mut client, id).await;
    }
    let turns = "SELECT CASE WHEN organization_id = 'acme' THEN CAST(1 AS BIGINT) ELSE CAST(2 AS BIGINT) END FROM exports \
                 ORDER BY leased_at";
    let turns = server.query_integers(turns).await;
    assert_eq!(turns, [1, 2, 1, 2, 1, 1]);
}

async fn a_job_that_ends_its_workers_is_given_up(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 3).await;
    let id = start(&mut client, export_of("acme")).await.id;
    follow(&mut client, &id).await;
    hold(&server).await;
    // Five workers took it, and none came to an end.
    server.execute("UPDATE exports SET silent_ends = 5, lease_until = 1").await;
    let last = follow(&mut client, &id).await.pop().unwrap();
    assert_eq!(last.state(), ExportState::Error);
    assert_eq!(last.error, "given up: its workers ended 5 times");

    // One that failed before: its reason is not lost, nor told anew by a worker that ends.
    let directory = server.settings.data_dir.join("exports");
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::write(&directory, "in the way").unwrap();
    let id = start(&mut client, export_of("acme")).await.id;
    let failed = "SELECT failures FROM exports WHERE last_failure IS NOT NULL";
    until("it fails", async || (server.query_integers(failed).await == [1]).then_some(())).await;
    let five = "UPDATE exports SET silent_ends = 5, lease_until = 1 WHERE state = 'pending'";
    server.execute(five).await;
    let last = follow(&mut client, &id).await.pop().unwrap();
    let why = "given up: its workers ended 5 times; before, the export store failed";
    assert_eq!(last.error, why);
}

async fn the_estimate_is_honest(engine: Engine) {
    let server = TestServer::start(engine).await;
    let replica = TestServer::over(engine, server.settings.clone(), Arc::new(SystemClock)).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 5_000).await;
    client.create_action_schema(schema_for("doc.deleted")).await.unwrap();
    client.create_event(create_event("acme", "doc.deleted")).await.unwrap();
    let filtered = CreateExportRequest { actions: vec!["doc.deleted".into()], ..export_of("acme") };
    let late =
        CreateExportRequest { range_start: Some(at("2029-01-01T00:00:00Z")), ..export_of("acme") };
    for (request, rows) in [(export_of("acme"), 5_001), (filtered, 1), (late, 0)] {
        let id = start(&mut client, request).await.id;
        let frames = follow(&mut replica.client().await, &id).await;
        for frame in &frames {
            assert!(frame.rows_written <= frame.estimated_rows, "{frame:?}");
        }
        let last = frames.last().unwrap();
        assert_eq!((last.rows_written, last.estimated_rows), (rows, rows));
        assert!(!last.estimate_is_upper_bound);
    }
}

/// One organization does not fill the export store by itself.
async fn the_number_of_pending_exports_is_bounded(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 3).await;
    fill(&mut client, "hooli", 3).await;
    let id = start(&mut client, export_of("acme")).await.id;
    follow(&mut client, &id).await;
    // A hundred that a worker has, which will not be done soon.
    let columns = "environment_id, organization_id, tree_size, range_start, range_end, filter, \
                   rows_written, bytes_written, estimated_rows, download_secret, attempts, created_at, \
                   updated_at, format, compression, leased_at, is_upper_bound, failures, silent_ends";
    server
        .execute(&format!(
            "INSERT INTO exports (id, state, lease_until, {columns}) WITH RECURSIVE n(i) AS \
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) \
             SELECT 'export_' || i, 'pending', 9000000000000000, {columns} FROM exports, n"
        ))
        .await;
    let refused = client.create_export(export_of("acme")).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "TOO_MANY_EXPORTS");
    start(&mut client, export_of("hooli")).await;
}

/// As after a power failure: the name is there, the bytes are not.
async fn a_file_that_was_cut_off_is_not_handed_out(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 3).await;
    let id = start(&mut client, export_of("acme")).await.id;
    let link = follow(&mut client, &id).await.pop().unwrap().url;
    let file = server.settings.data_dir.join("exports").join(&id).join("1.csv");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    // Another has lost its file altogether.
    let lost = start(&mut client, export_of("acme")).await.id;
    let lost_link = follow(&mut client, &lost).await.pop().unwrap().url;
    std::fs::remove_file(server.settings.data_dir.join("exports").join(&lost).join("1.csv"))
        .unwrap();
    for (id, link) in [(&id, &link), (&lost, &lost_link)] {
        assert_eq!(reqwest::get(link).await.unwrap().status(), StatusCode::NOT_FOUND);
        let after = look(&mut client, id).await;
        assert_eq!(after.state(), ExportState::Error);
        assert!(after.error.contains("damaged or lost"), "{}", after.error);
    }
    // What is left of it is taken away.
    let housekeeper = Housekeeper {
        store: server.store().await,
        clock: Arc::new(ManualClock::new(SystemClock.now().plus_seconds(61))),
        files: open_files(&server.settings).unwrap(),
        export_retention: 86_400,
        idempotency_window: 86_400,
    };
    housekeeper.round().await;
    assert!(!file.parent().unwrap().exists());
}
