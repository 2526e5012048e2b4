//! `CreateExport` and `GetExport`.

use audit_logs::proto::v1::{CreateExportRequest, GetExportRequest};
use tonic::Response;

use super::{
    Expected, Row,
    filters::{filter_rows, value_rows},
    invalid, long, made_id_rows, organization_id_rows, refuses, required_text_rows, text_rows,
    unknown, wide,
};
use crate::support::{Engine, TestServer, at, create_event, on_every_engine, schema_for};

on_every_engine!(create_export_names_each_wrong_field, get_export_names_each_wrong_field);

fn everything() -> CreateExportRequest {
    CreateExportRequest {
        organization_id: "acme".into(),
        range_start: Some(at("2026-01-01T00:00:00Z")),
        range_end: Some(at("2026-01-01T00:00:00Z")),
        ..CreateExportRequest::default()
    }
}

async fn with_a_log(engine: Engine) -> TestServer {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    server
}

async fn create_export_names_each_wrong_field(engine: Engine) {
    let server = with_a_log(engine).await;
    let client = server.client().await;
    let reversed = || Expected {
        reason: "INVALID_AUDIT_LOG_EXPORT_RANGE_DATE",
        ..invalid("range_end", "OUT_OF_RANGE")
    };
    let rows: [Row<CreateExportRequest>; _] = [
        (
            "an unknown organization",
            |r| r.organization_id = "nobody".into(),
            unknown("organization_id", "ORGANIZATION_NOT_FOUND"),
        ),
        ("no start", |r| r.range_start = None, invalid("range_start", "REQUIRED")),
        ("no end", |r| r.range_end = None, invalid("range_end", "REQUIRED")),
        (
            "an end before the start",
            |r| r.range_end = Some(at("2025-12-31T23:59:59.999999Z")),
            reversed(),
        ),
        (
            "a start after the end",
            |r| r.range_start = Some(at("9999-12-31T23:59:59.999999Z")),
            reversed(),
        ),
    ];
    let rows = organization_id_rows!(CreateExportRequest)
        .into_iter()
        .chain(filter_rows!(CreateExportRequest, "INVALID_AUDIT_LOG_EXPORT_RANGE_DATE"))
        .chain(rows);
    refuses(&server, everything(), rows, async |r| client.clone().create_export(r).await).await;
    let largest = CreateExportRequest {
        range_start: Some(at("0001-01-01T00:00:00Z")),
        range_end: Some(at("9999-12-31T23:59:59.999999Z")),
        actions: vec![long(255); 100],
        actor_ids: vec![wide(1_024); 100],
        actor_names: vec![long(1_024); 100],
        target_types: vec![wide(255); 100],
        target_ids: vec![long(1_024); 100],
        ..everything()
    };
    let created = client.clone().create_export(largest.clone()).await.unwrap().into_inner();
    let selection = created.export.unwrap().selection.unwrap();
    assert_eq!((selection.actions, selection.target_ids), (largest.actions, largest.target_ids));
    assert_eq!(selection.range_start, largest.range_start);
    assert_eq!(selection.range_end, largest.range_end);
}

async fn get_export_names_each_wrong_field(engine: Engine) {
    let server = with_a_log(engine).await;
    let client = server.client().await;
    let created = client.clone().create_export(everything()).await.unwrap().into_inner();
    let export_id = created.export.unwrap().id;
    for watch in [Some(false), Some(true), None] {
        // The refusal comes as the first message of the stream, at the latest.
        let first = async |request| {
            let mut frames = client.clone().get_export(request).await?.into_inner();
            frames.message().await.map(Response::new)
        };
        let right = GetExportRequest { export_id: export_id.clone(), watch };
        let rows = made_id_rows!(GetExportRequest, export_id, "EXPORT_NOT_FOUND");
        refuses(&server, right, rows, first).await;
    }
}
