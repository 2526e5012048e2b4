//! CreateExport, GetExport and the download.

use std::{collections::HashSet, sync::Arc, time::Duration};

use audit_logs::{
    app::open_files,
    client::AuditLogs,
    domain::{
        clock::{Clock, SystemClock},
        timestamp::Timestamp,
    },
    proto::v1::{
        BatchCreateEventsRequest, CreateEventRequest, CreateExportRequest, Export, ExportState,
        GetExportRequest, ListExportsRequest,
    },
    worker::housekeeping::Housekeeper,
};
use futures::StreamExt;
use reqwest::{StatusCode, header};
use tonic::Code;

use crate::support::{Engine, Refusal, TestServer, at, create_event, on_every_engine, schema_for};

on_every_engine!(
    an_export_holds_what_was_there_and_nothing_later,
    filters_select_rows,
    the_stream_tells_state_and_progress,
    an_empty_export_is_ready_with_its_header,
    links_are_signed_and_expire,
    ranges_of_the_file_can_be_had,
    a_dead_workers_job_is_taken_over,
    a_failing_export_store_ends_in_error,
    old_files_expire,
    many_exports_are_all_written,
);

const NOW: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);

fn export_of(organization: &str) -> CreateExportRequest {
    CreateExportRequest {
        organization_id: organization.to_owned(),
        range_start: Some(at("2020-01-01T00:00:00Z")),
        range_end: Some(at("2030-01-01T00:00:00Z")),
        ..Default::default()
    }
}

/// An event number: its time is as many seconds after a fixed one.
fn numbered(organization: &str, number: i64) -> CreateEventRequest {
    let mut request = create_event(organization, "doc.read");
    let event = request.event.as_mut().unwrap();
    event.occurred_at.as_mut().unwrap().seconds += number;
    event.actor.as_mut().unwrap().id = format!("user_{number}");
    request
}

async fn fill(client: &mut AuditLogs, organization: &str, numbers: std::ops::Range<i64>) {
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let numbers: Vec<_> = numbers.collect();
    for chunk in numbers.chunks(1_000) {
        let requests = chunk.iter().map(|number| numbered(organization, *number)).collect();
        let batch = BatchCreateEventsRequest { requests, atomic: true };
        client.batch_create_events(batch).await.unwrap();
    }
}

async fn start(client: &mut AuditLogs, request: CreateExportRequest) -> Export {
    client.create_export(request).await.unwrap().into_inner().export.unwrap()
}

/// Every frame until the export ends.
async fn follow(client: &mut AuditLogs, id: &str) -> Vec<Export> {
    let request = GetExportRequest { export_id: id.to_owned(), watch: None };
    let frames = client.get_export(request).await.unwrap().into_inner();
    frames.map(|frame| frame.unwrap().export.unwrap()).collect().await
}

async fn download(url: &str) -> String {
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.text().await.unwrap()
}

/// Exports and returns the rows of the file, header left out.
async fn rows(client: &mut AuditLogs, request: CreateExportRequest) -> Vec<csv::StringRecord> {
    let export = start(client, request).await;
    let last = follow(client, &export.id).await.pop().unwrap();
    assert_eq!(last.state(), ExportState::Ready, "{last:?}");
    let text = download(&last.url).await;
    assert_eq!(text.len() as u64, last.bytes_written);
    let records = csv::Reader::from_reader(text.as_bytes()).into_records();
    let records: Vec<_> = records.map(Result::unwrap).collect();
    assert_eq!(records.len() as u64, last.rows_written);
    records
}

async fn an_export_holds_what_was_there_and_nothing_later(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    // More than a page, sent against the order of their times, with equal times among them.
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let order = |number: i64| (2_499 - number) / 2 * 2;
    for chunk in 0..5 {
        let numbers = (chunk * 500)..(chunk * 500 + 500);
        let requests = numbers.map(|number| numbered("acme", order(number))).collect();
        let batch = BatchCreateEventsRequest { requests, atomic: true };
        client.batch_create_events(batch).await.unwrap();
    }
    fill(&mut client, "umbrella", 0..3).await;
    let export = start(&mut client, export_of("acme")).await;
    assert_eq!((export.state(), export.tree_size), (ExportState::Pending, 2_500));
    fill(&mut client, "acme", 0..10).await;
    let last = follow(&mut client, &export.id).await.pop().unwrap();
    assert_eq!((last.state(), last.rows_written), (ExportState::Ready, 2_500));
    let text = download(&last.url).await;
    let records: Vec<_> =
        csv::Reader::from_reader(text.as_bytes()).into_records().map(Result::unwrap).collect();
    let keys: Vec<(String, u64)> =
        records.iter().map(|record| (record[4].to_owned(), record[14].parse().unwrap())).collect();
    assert!(keys.is_sorted(), "by time, then by sequence");
    let sequences: HashSet<_> = keys.iter().map(|(_, sequence)| *sequence).collect();
    assert_eq!(sequences, (0..2_500).collect());
    assert!(records.iter().all(|record| &record[1] == "acme"));
}

async fn filters_select_rows(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 0..10).await;
    client.create_action_schema(schema_for("doc.deleted")).await.unwrap();
    client.create_event(create_event("acme", "doc.deleted")).await.unwrap();
    let mut first = create_event("acme", "doc.read").event.unwrap().occurred_at;
    let mut last = first;
    first.as_mut().unwrap().seconds += 2;
    last.as_mut().unwrap().seconds += 4;
    let all = || export_of("acme");
    let table = [
        (all(), 11),
        (CreateExportRequest { range_start: first, range_end: last, ..all() }, 3),
        (CreateExportRequest { range_start: first, range_end: first, ..all() }, 1),
        (CreateExportRequest { actions: vec!["doc.deleted".into()], ..all() }, 1),
        (CreateExportRequest { actor_ids: vec!["user_1".into(), "user_2".into()], ..all() }, 3),
        (CreateExportRequest { actor_names: vec!["Mira".into()], ..all() }, 11),
        (CreateExportRequest { actor_names: vec!["mira".into()], ..all() }, 0),
        (CreateExportRequest { target_types: vec!["document".into()], ..all() }, 11),
        (CreateExportRequest { target_types: vec!["doc".into()], ..all() }, 0),
        (CreateExportRequest { target_ids: vec!["doc_1".into()], ..all() }, 11),
    ];
    for (request, expected) in table {
        let found = rows(&mut client, request.clone()).await.len();
        assert_eq!(found, expected, "{request:?}");
    }
}

async fn the_stream_tells_state_and_progress(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 0..30).await;
    // A job that another replica seems to have: nothing happens to it until its lease is given up.
    let id = start_held(&server, &mut client).await;
    let request = GetExportRequest { export_id: id.clone(), watch: Some(true) };
    let mut frames = client.get_export(request).await.unwrap().into_inner();
    let first = frames.next().await.unwrap().unwrap().export.unwrap();
    assert_eq!(
        (first.state(), first.rows_written, first.url.as_str()),
        (ExportState::Pending, 0, "")
    );
    // The other replica tells progress.
    let sql =
        "UPDATE exports SET rows_written = 7, estimated_rows = 30, updated_at = updated_at + 1";
    server.execute(sql).await;
    let second = frames.next().await.unwrap().unwrap().export.unwrap();
    assert_eq!((second.rows_written, second.estimated_rows), (7, 30));
    // It dies; this replica takes the job over and ends it.
    server.execute("UPDATE exports SET lease_until = 0").await;
    let rest: Vec<_> = frames.map(|frame| frame.unwrap().export.unwrap()).collect().await;
    let last = rest.last().unwrap();
    assert_eq!((last.state(), last.rows_written), (ExportState::Ready, 30));
    assert!(last.url.starts_with(&server.url) && last.url_expires_at.is_some());
    assert!(rest[..rest.len() - 1].iter().all(|frame| frame.state() == ExportState::Pending));

    let once = GetExportRequest { export_id: id, watch: Some(false) };
    let frames = client.get_export(once).await.unwrap().into_inner();
    assert_eq!(frames.count().await, 1);
}

/// Creates an export that seems to be leased by a worker elsewhere.
async fn start_held(server: &TestServer, client: &mut AuditLogs) -> String {
    // The server's own worker must not win the race for it: the row is written past its back.
    let template = start(client, export_of("acme")).await;
    follow(client, &template.id).await;
    let far = Timestamp::from_micros(i64::MAX).micros();
    server
        .execute(&format!(
            "UPDATE exports SET state = 'pending', lease_owner = 'elsewhere', lease_until = {far}, \
             rows_written = 0, bytes_written = 0, estimated_rows = 0"
        ))
        .await;
    template.id
}

async fn an_empty_export_is_ready_with_its_header(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let organization = audit_logs::proto::v1::OrganizationsCreateRequest {
        name: "x".into(),
        organization_id: "acme".into(),
        ..Default::default()
    };
    server.organizations().await.create(organization).await.unwrap();
    let export = start(&mut client, export_of("acme")).await;
    let last = follow(&mut client, &export.id).await.pop().unwrap();
    let text = download(&last.url).await;
    assert_eq!(
        text,
        "id,organization_id,action,version,occurred_at,received_at,actor_id,actor_type,actor_name,\
         actor_metadata,targets,context_location,context_user_agent,metadata,sequence\r\n"
    );
}

async fn links_are_signed_and_expire(engine: Engine) {
    let (server, clock) = TestServer::start_with_clock(engine, NOW).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 0..3).await;
    let export = start(&mut client, export_of("acme")).await;
    let link = follow(&mut client, &export.id).await.pop().unwrap().url;
    let response = reqwest::get(&link).await.unwrap();
    let disposition = response.headers()[header::CONTENT_DISPOSITION].to_str().unwrap();
    assert_eq!(disposition, format!("attachment; filename=\"{}.csv\"", export.id));

    let other = start(&mut client, export_of("acme")).await;
    follow(&mut client, &other.id).await;
    let altered = [
        link.replace("signature=", "signature=00"),
        link.replace("expires=", "expires=9"),
        link.replace(&export.id, &other.id),
        link.split("&signature").next().unwrap().to_owned(),
        link.split('?').next().unwrap().to_owned(),
        link.replace(&export.id, "audit_log_export_00000000000000000000000000"),
        format!("{}zz", &link[..link.len() - 2]),
    ];
    for link in altered {
        let response = reqwest::get(&link).await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{link}");
        let body: serde_json::Value =
            serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(body["code"], "download_link_refused");
    }
    clock.advance_seconds(599);
    assert_eq!(reqwest::get(&link).await.unwrap().status(), StatusCode::OK);
    clock.advance_seconds(1);
    assert_eq!(reqwest::get(&link).await.unwrap().status(), StatusCode::FORBIDDEN);
    // Each look makes a fresh one.
    let fresh = follow(&mut client, &export.id).await.pop().unwrap().url;
    assert_eq!(reqwest::get(&fresh).await.unwrap().status(), StatusCode::OK);
}

async fn ranges_of_the_file_can_be_had(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 0..3).await;
    let export = start(&mut client, export_of("acme")).await;
    let link = follow(&mut client, &export.id).await.pop().unwrap().url;
    let whole = download(&link).await;
    let size = whole.len();
    let partial = StatusCode::PARTIAL_CONTENT;
    let table = [
        ("bytes=0-9", partial, &whole[..10], format!("bytes 0-9/{size}")),
        ("bytes=10-", partial, &whole[10..], format!("bytes 10-{}/{size}", size - 1)),
        (
            "bytes=-5",
            partial,
            &whole[size - 5..],
            format!("bytes {}-{}/{size}", size - 5, size - 1),
        ),
        ("bytes=5-999999", partial, &whole[5..], format!("bytes 5-{}/{size}", size - 1)),
        ("bytes=999999-", StatusCode::RANGE_NOT_SATISFIABLE, "", format!("bytes */{size}")),
        // Several parts, another unit, nonsense: the whole.
        ("bytes=0-1,3-4", StatusCode::OK, &whole[..], String::new()),
        ("lines=0-1", StatusCode::OK, &whole[..], String::new()),
        ("bytes=9-2", StatusCode::OK, &whole[..], String::new()),
    ];
    let http = reqwest::Client::builder().build().unwrap();
    for (range, status, body, content_range) in table {
        let response = http.get(&link).header(header::RANGE, range).send().await.unwrap();
        assert_eq!(response.status(), status, "{range}");
        let told = response.headers().get(header::CONTENT_RANGE).map(|told| told.to_str().unwrap());
        assert_eq!(told.unwrap_or_default(), content_range, "{range}");
        assert_eq!(response.text().await.unwrap(), body, "{range}");
    }
    let head = http.head(&link).send().await.unwrap();
    assert_eq!(head.headers()[header::CONTENT_LENGTH], size.to_string().as_str());
}

async fn a_dead_workers_job_is_taken_over(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 0..2_000).await;
    let id = start_held(&server, &mut client).await;
    // What the dead worker left: nothing that is visible, and a lease that ran out.
    server.execute("UPDATE exports SET lease_until = 1, attempts = 1").await;
    let last = follow(&mut client, &id).await.pop().unwrap();
    assert_eq!((last.state(), last.rows_written), (ExportState::Ready, 2_000));
    assert_eq!(server.query_integers("SELECT attempts FROM exports").await, [2]);
    let lines = download(&last.url).await.lines().count();
    assert_eq!(lines, 2_001);
}

async fn a_failing_export_store_ends_in_error(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 0..3).await;
    // A file where the directory should be.
    let directory = server.settings.data_dir.join("exports");
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::write(&directory, "in the way").unwrap();
    let export = start(&mut client, export_of("acme")).await;
    let last = follow(&mut client, &export.id).await.pop().unwrap();
    assert_eq!(last.state(), ExportState::Error, "{last:?}");
    assert!(last.error.contains("export store"), "{}", last.error);
    assert_eq!(server.query_integers("SELECT attempts FROM exports").await, [3]);
    assert!(last.url.is_empty());
    // Events go on.
    client.create_event(numbered("acme", 4)).await.unwrap();
}

async fn old_files_expire(engine: Engine) {
    const DAY: i64 = 86_400;
    let (server, clock) = TestServer::start_with_clock(engine, NOW).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 0..3).await;
    let export = start(&mut client, export_of("acme")).await;
    follow(&mut client, &export.id).await;
    let directory = server.settings.data_dir.join("exports").join(&export.id);
    let housekeeper = Housekeeper {
        store: server.store().await,
        clock: clock.clone(),
        files: open_files(&server.settings).unwrap(),
        export_retention: 30 * DAY,
        idempotency_window: DAY,
    };
    clock.advance_seconds(30 * DAY);
    housekeeper.round().await;
    let frames = follow(&mut client, &export.id).await;
    assert_eq!(frames.last().unwrap().state(), ExportState::Ready);
    assert!(directory.join("1.csv").exists());
    let link = frames.last().unwrap().url.clone();
    clock.advance_seconds(1);
    housekeeper.round().await;
    assert!(!directory.join("1.csv").exists());
    let last = follow(&mut client, &export.id).await.pop().unwrap();
    assert_eq!((last.state(), last.url.as_str()), (ExportState::Expired, ""));
    assert_eq!(reqwest::get(&link).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert!(clock.now() > NOW);
}

async fn many_exports_are_all_written(engine: Engine) {
    let server = TestServer::start(engine).await;
    let replica = TestServer::over(engine, server.settings.clone(), Arc::new(SystemClock)).await;
    let mut client = server.client().await;
    fill(&mut client, "acme", 0..50).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(start(&mut client, export_of("acme")).await.id);
    }
    // Watched through the other replica, which did not create them.
    let mut elsewhere = replica.client().await;
    for id in &ids {
        let frames = tokio::time::timeout(Duration::from_mins(1), follow(&mut elsewhere, id));
        let last = frames.await.unwrap().pop().unwrap();
        assert_eq!((last.state(), last.rows_written), (ExportState::Ready, 50));
    }
    // Nobody did another's work again.
    assert_eq!(server.query_integers("SELECT DISTINCT attempts FROM exports").await, [1]);
    let request =
        ListExportsRequest { organization_id: "acme".into(), limit: 100, ..Default::default() };
    let listed = client.list_exports(request).await.unwrap().into_inner().exports;
    let newest_first: Vec<_> = ids.into_iter().rev().collect();
    assert_eq!(
        listed.into_iter().map(|export| export.id).collect::<HashSet<_>>(),
        newest_first.into_iter().collect()
    );
    let unknown = ListExportsRequest { organization_id: "no_such".into(), ..Default::default() };
    let refused = client.list_exports(unknown).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).code, Code::NotFound);
}
