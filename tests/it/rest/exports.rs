//! Exports over REST.

use std::sync::Arc;

use audit_logs::domain::{clock::SystemClock, timestamp::Timestamp};
use serde_json::{Value, json};

use super::calls::{Answer, Rest, event, event_for, schema};
use crate::support::{Engine, TestServer, on_every_engine};

on_every_engine!(
    an_export_is_polled_and_downloaded,
    each_filter_selects,
    a_range_that_is_none_is_told_as_such,
    malformed_exports_are_refused,
    an_expired_export_can_be_told_as_failed,
);

async fn with_events(server: &TestServer) -> Rest {
    let rest = Rest::new(server);
    for action in ["doc.read", "doc.written"] {
        rest.post(&format!("/audit_logs/actions/{action}/schemas"), schema()).await;
    }
    for number in 1..=4 {
        let mut event = event(if number == 4 { "doc.written" } else { "doc.read" });
        event["occurred_at"] = json!(format!("2026-11-0{number}T00:00:00.000Z"));
        event["actor"]["id"] = json!(format!("usr_{number}"));
        event["actor"]["name"] = json!(format!("User {number}, \"the {number}th\""));
        event["targets"] =
            json!([{"id": "r", "type": "report"}, {"id": "x", "type": format!("t{number}")}]);
        assert_eq!(rest.post("/audit_logs/events", event_for("acme", &event)).await.status, 200);
    }
    rest
}

fn wanted(more: &Value) -> Value {
    let mut wanted = json!({
        "organization_id": "acme", "range_start": "2026-11-01", "range_end": "2026-11-30",
    });
    wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    wanted
}

/// Starts an export and waits until it is ready.
async fn ready(rest: &Rest, wanted: Value) -> Answer {
    let created = rest.post("/audit_logs/exports", wanted).await;
    assert_eq!((created.status, created.body.get("url")), (201, None), "{}", created.body);
    let id = created.body["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("audit_log_export_"), "{id}");
    loop {
        let export = rest.get(&format!("/audit_logs/exports/{id}")).await;
        match export.body["state"].as_str().unwrap() {
            "pending" => tokio::task::yield_now().await,
            "ready" => return export,
            other => panic!("{other}"),
        }
    }
}

/// The ids of the actors in the CSV file.
async fn actors(rest: &Rest, more: &Value) -> Vec<String> {
    let export = ready(rest, wanted(more)).await;
    let file = reqwest::get(export.body["url"].as_str().unwrap()).await.unwrap();
    assert_eq!(file.headers()["content-type"], "text/csv; charset=utf-8");
    let bytes = file.bytes().await.unwrap();
    let mut reader = csv::Reader::from_reader(&*bytes);
    let column = reader.headers().unwrap().iter().position(|name| name == "actor_id").unwrap();
    reader.records().map(|row| row.unwrap()[column].to_owned()).collect()
}

async fn an_export_is_polled_and_downloaded(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_events(&server).await;
    assert_eq!(actors(&rest, &json!({})).await, ["usr_1", "usr_2", "usr_3", "usr_4"]);
    let unknown = rest.get("/audit_logs/exports/audit_log_export_x").await;
    assert_eq!(unknown.refusal(), (404, "entity_not_found"));
    assert_eq!(unknown.body["message"], "Audit Log Export not found: 'audit_log_export_x'.");
}

async fn each_filter_selects(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_events(&server).await;
    let name = |number: u32| format!("User {number}, \"the {number}th\"");
    for (filter, expected) in [
        (json!({"actions": ["doc.written"]}), vec![4]),
        (json!({"actor_ids": ["usr_2", "usr_3"]}), vec![2, 3]),
        (json!({"actor_names": [name(1)]}), vec![1]),
        (json!({"actors": [name(2)]}), vec![2]),
        (json!({"actors": [name(2)], "actor_names": [name(3)]}), vec![2, 3]),
        (json!({"targets": ["t3", "t4"]}), vec![3, 4]),
        (json!({"targets": ["t3"], "actions": ["doc.written"]}), vec![]),
        (
            json!({"range_start": "2026-11-02T00:00:00Z", "range_end": "2026-11-03T00:00:00.000Z"}),
            vec![2, 3],
        ),
        (json!({"range_start": "2026-11-02", "range_end": "2026-11-02"}), vec![2]),
        (json!({"actions": null, "actors": null, "targets": null}), vec![1, 2, 3, 4]),
    ] {
        let expected: Vec<_> = expected.iter().map(|number| format!("usr_{number}")).collect();
        assert_eq!(actors(&rest, &filter).await, expected, "{filter}");
    }
}

async fn a_range_that_is_none_is_told_as_such(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_events(&server).await;
    for (range, field) in [
        (json!({"range_start": "2026-12-01"}), "range_end"),
        (json!({"range_start": "2022-06-31T15:51:23.604Z"}), "range_start"),
        (json!({"range_end": "soon"}), "range_end"),
    ] {
        let answer = rest.post("/audit_logs/exports", wanted(&range)).await;
        assert_eq!(answer.refusal(), (400, "invalid_audit_log_export_range_date"));
        assert_eq!(answer.body["message"], "Invalid date range");
        assert_eq!(answer.errors(), [(field, "out_of_range")]);
    }
    assert_eq!(server.count("exports").await, 0);
}

async fn malformed_exports_are_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_events(&server).await;
    let nothing = rest.post("/audit_logs/exports", json!({})).await;
    let required = ["organization_id", "range_start", "range_end"];
    assert_eq!(nothing.errors(), required.map(|field| (field, "required")));
    for (more, field, code) in [
        (json!({"actions": "doc.read"}), "actions", "invalid_type"),
        (json!({"actions": [1]}), "actions[0]", "invalid_type"),
        (json!({"actor_ids": [""]}), "actor_ids[0]", "required"),
        (json!({"range_start": 5}), "range_start", "invalid_type"),
    ] {
        let answer = rest.post("/audit_logs/exports", wanted(&more)).await;
        assert_eq!(answer.refusal(), (422, "unprocessable_entity"));
        assert_eq!(answer.errors(), [(field, code)]);
    }
    let unknown = rest.post("/audit_logs/exports", wanted(&json!({"organization_id": "no"}))).await;
    assert_eq!(unknown.refusal(), (404, "entity_not_found"));
}

async fn an_expired_export_can_be_told_as_failed(engine: Engine) {
    let mut server = TestServer::start(engine).await;
    let rest = with_events(&server).await;
    let export = ready(&rest, wanted(&json!({}))).await;
    let path = format!("/audit_logs/exports/{}", export.body["id"].as_str().unwrap());
    let id = audit_logs::domain::ids::ExportId::from_stored(export.body["id"].as_str().unwrap());
    server.store().await.expire_export(&id, Timestamp::from_micros(0)).await.unwrap();
    let expired = rest.get(&path).await.body;
    assert_eq!((&expired["state"], expired.get("url")), (&json!("expired"), None));
    server.stop().await;
    let mut settings = server.settings.clone();
    settings.rest.expired_as_error = true;
    let server = TestServer::over(engine, settings, Arc::new(SystemClock)).await;
    assert_eq!(Rest::new(&server).get(&path).await.body["state"], "error");
}
