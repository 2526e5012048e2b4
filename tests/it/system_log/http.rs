//! The same over HTTP: the REST twins, tiles, and downloads, which need no key.

use audit_logs::proto::v1::GetExportRequest;
use reqwest::{Client, Method};
use serde_json::json;

use super::{actor, location, records_of, server, targets};
use crate::{
    rest::calls::{Rest, event, event_for, schema},
    support::{Engine, TestServer, on_every_engine, server::ROOT_KEY},
    tenancy::world::export_of,
};

on_every_engine!(rest_calls_are_recorded, tiles_and_downloads_are_recorded);

const FORWARDED: (&str, &str) = ("x-forwarded-for", "2001:db8::7");

async fn acme(server: &TestServer) -> Rest {
    let rest = Rest::new(server);
    rest.post("/audit_logs/actions/doc.read/schemas", schema()).await;
    rest.post("/organizations", json!({"name": "Acme", "organization_id": "acme"})).await;
    rest.post("/audit_logs/events", event_for("acme", &event("doc.read"))).await;
    rest
}

async fn rest_calls_are_recorded(engine: Engine) {
    let server = server(engine).await;
    let rest = acme(&server).await;
    let listed = rest.get("/v1/events?organization_id=acme").await.body;
    let event_id = listed["data"][0]["id"].as_str().unwrap();
    let range =
        json!({"organization_id": "acme", "range_start": "2026-01-01", "range_end": "2026-12-31"});
    let calls = [
        (Method::POST, "/organizations", json!({"name": "n"}), "organization.created"),
        (Method::PUT, "/organizations/acme", json!({"name": "A"}), "organization.updated"),
        (
            Method::PUT,
            "/organizations/acme/audit_logs_retention",
            json!({"retention_period_in_days": 30}),
            "organization.retention_updated",
        ),
        (Method::POST, "/audit_logs/actions/doc.write/schemas", schema(), "action_schema.created"),
        (Method::GET, "/v1/events?organization_id=acme", json!(null), "event.listed"),
        (
            Method::GET,
            &*format!("/v1/events/{event_id}?organization_id=acme"),
            json!(null),
            "event.read",
        ),
        (Method::POST, "/audit_logs/exports", range, "export.created"),
        (Method::DELETE, "/organizations/acme", json!(null), "organization.deleted"),
    ];
    let mut ids = Vec::new();
    for (number, (method, path, body, _)) in calls.iter().enumerate() {
        let id = format!("test-{number}");
        let body = (!body.is_null()).then(|| body.to_string().into_bytes());
        let answer =
            rest.call(method.clone(), path, body, &[("x-request-id", &id), FORWARDED]).await;
        assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
        ids.push(id);
    }
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let found = records_of(&server, &ids).await;
    for ((_, path, _, action), id) in calls.iter().zip(ids) {
        let record = &found[id];
        assert_eq!(record.action, *action, "{path}");
        assert_eq!((actor(record).0, location(record)), ("api_key", "2001:db8::7"), "{path}");
    }
}

async fn tiles_and_downloads_are_recorded(engine: Engine) {
    let server = server(engine).await;
    acme(&server).await;
    let mut client = server.client().await;
    let export =
        client.create_export(export_of("acme")).await.unwrap().into_inner().export.unwrap();
    let request = GetExportRequest { export_id: export.id.clone(), watch: Some(true) };
    let mut states = client.get_export(request).await.unwrap().into_inner();
    let mut url = String::new();
    while let Some(state) = states.message().await.unwrap() {
        url = state.export.unwrap().url;
    }
    let http = Client::builder().build().unwrap();
    let get = async |url: String, id: &str, key: Option<&str>| {
        let request = http.get(url).header("x-request-id", id).header(FORWARDED.0, FORWARDED.1);
        let request = key.map_or(request.try_clone().unwrap(), |key| request.bearer_auth(key));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(get(url.clone(), "test-download", None).await, 200);
    assert_eq!(get(format!("{url}0"), "test-forged", None).await, 403);
    let tile = format!("{}/tlog/acme/tile/entries/000.p/1", server.url);
    assert_eq!(get(tile, "test-bundle", Some(ROOT_KEY)).await, 200);
    let hashes = format!("{}/tlog/acme/tile/0/000.p/1", server.url);
    assert_eq!(get(hashes, "test-hashes", Some(ROOT_KEY)).await, 200);
    let found = records_of(&server, &["test-download", "test-bundle"]).await;
    // Hashes tell nothing of what happened.
    assert_eq!(found.len(), 2, "{found:?}");
    let download = &found["test-download"];
    assert_eq!(download.action, "export.downloaded");
    assert_eq!(actor(download), ("download_link", &*export.id));
    assert_eq!(location(download), "2001:db8::7");
    assert_eq!(targets(download), [("export", &*export.id), ("organization", "acme")]);
    let bundle = &found["test-bundle"];
    assert_eq!(
        (&*bundle.action, targets(bundle)),
        ("event.bundle_read", vec![("organization", "acme")])
    );
}
