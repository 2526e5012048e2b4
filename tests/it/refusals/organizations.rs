//! The service Organizations.

use audit_logs::proto::v1::{
    GetAuditLogConfigurationRequest, GetRetentionRequest, OrganizationsCreateRequest,
    OrganizationsDeleteRequest, OrganizationsGetRequest, PlaceLegalHoldRequest,
    ReleaseLegalHoldRequest, UpdateRetentionRequest,
};
use tonic::Code;

use super::{
    Row, invalid, long, organization_id_rows, refuses, required_text_rows, text_rows, unknown, wide,
};
use crate::support::{Engine, Refusal, TestServer, on_every_engine, server::Organizations};

on_every_engine!(
    create_names_each_wrong_field,
    a_taken_id_is_told,
    every_other_call_names_a_wrong_id,
    update_retention_names_each_wrong_field,
    place_legal_hold_names_each_wrong_field,
);

fn named(id: &str) -> OrganizationsCreateRequest {
    OrganizationsCreateRequest {
        name: "Acme".into(),
        organization_id: id.into(),
        ..Default::default()
    }
}

async fn with_acme(engine: Engine) -> (TestServer, Organizations) {
    let server = TestServer::start(engine).await;
    let client = server.organizations().await;
    client.clone().create(named("acme")).await.unwrap();
    (server, client)
}

async fn create_names_each_wrong_field(engine: Engine) {
    let (server, client) = with_acme(engine).await;
    // Without an id the service makes one.
    let id = organization_id_rows!(OrganizationsCreateRequest)
        .into_iter()
        .filter(|row| row.0 != "no id");
    let name = required_text_rows!(OrganizationsCreateRequest, "name", |r| r.name, 255);
    let call = async |request| client.clone().create(request).await;
    refuses(&server, named("umbrella"), id.chain(name), call).await;
    for (name, id) in
        [(long(255), long(128)), (wide(255), "0".into()), (" ".into(), "Z:.-_".into())]
    {
        let request =
            OrganizationsCreateRequest { name, organization_id: id, ..Default::default() };
        client.clone().create(request).await.unwrap();
    }
}

async fn a_taken_id_is_told(engine: Engine) {
    let (_server, mut client) = with_acme(engine).await;
    let refused = client.create(named("acme")).await.unwrap_err();
    let refusal = Refusal::of(&refused);
    assert_eq!((refusal.code, &*refusal.reason), (Code::AlreadyExists, "ALREADY_EXISTS"));
    let details = tonic_types::StatusExt::get_error_details(&refused);
    let resource = details.resource_info().unwrap();
    assert_eq!((&*resource.resource_type, &*resource.resource_name), ("Organization", "acme"));
}

/// The rows for a request that names an organization.
macro_rules! named_rows {
    ($request:ty) => {{
        let not_found: Row<$request> = (
            "an unknown organization",
            |r| r.organization_id = "nobody".into(),
            unknown("organization_id", "ORGANIZATION_NOT_FOUND"),
        );
        organization_id_rows!($request).into_iter().chain([not_found])
    }};
}

async fn every_other_call_names_a_wrong_id(engine: Engine) {
    let (server, client) = with_acme(engine).await;
    let organization_id = || "acme".to_owned();

    let right = OrganizationsGetRequest { organization_id: organization_id() };
    let rows = named_rows!(OrganizationsGetRequest);
    refuses(&server, right, rows, async |r| client.clone().get(r).await).await;

    let right = GetRetentionRequest { organization_id: organization_id() };
    let rows = named_rows!(GetRetentionRequest);
    refuses(&server, right, rows, async |r| client.clone().get_retention(r).await).await;

    let right = GetAuditLogConfigurationRequest { organization_id: organization_id() };
    let rows = named_rows!(GetAuditLogConfigurationRequest);
    let call = async |r| client.clone().get_audit_log_configuration(r).await;
    refuses(&server, right, rows, call).await;

    let right = ReleaseLegalHoldRequest { organization_id: organization_id() };
    let rows = named_rows!(ReleaseLegalHoldRequest);
    let call = async |r| client.clone().release_legal_hold(r).await;
    refuses(&server, right, rows, call).await;

    let right = OrganizationsDeleteRequest { organization_id: organization_id() };
    let rows = named_rows!(OrganizationsDeleteRequest);
    refuses(&server, right, rows, async |r| client.clone().delete(r).await).await;
}

async fn update_retention_names_each_wrong_field(engine: Engine) {
    let (server, client) = with_acme(engine).await;
    let right =
        UpdateRetentionRequest { organization_id: "acme".into(), retention_period_in_days: 30 };
    let wrong = || invalid("retention_period_in_days", "OUT_OF_RANGE");
    let days: [Row<UpdateRetentionRequest>; _] = [
        ("0 days", |r| r.retention_period_in_days = 0, wrong()),
        ("1 day", |r| r.retention_period_in_days = 1, wrong()),
        ("29 days", |r| r.retention_period_in_days = 29, wrong()),
        ("31 days", |r| r.retention_period_in_days = 31, wrong()),
        ("331 days", |r| r.retention_period_in_days = 331, wrong()),
        ("360 days", |r| r.retention_period_in_days = 360, wrong()),
        ("364 days", |r| r.retention_period_in_days = 364, wrong()),
        ("366 days", |r| r.retention_period_in_days = 366, wrong()),
        ("3,651 days", |r| r.retention_period_in_days = 3_651, wrong()),
        ("11 years", |r| r.retention_period_in_days = 4_015, wrong()),
        ("-30 days", |r| r.retention_period_in_days = -30, wrong()),
        ("the most days", |r| r.retention_period_in_days = i32::MAX, wrong()),
        ("the least days", |r| r.retention_period_in_days = i32::MIN, wrong()),
    ];
    let days = days.into_iter().chain(named_rows!(UpdateRetentionRequest));
    let call = async |request| client.clone().update_retention(request).await;
    refuses(&server, right, days, call).await;
    assert_eq!(
        server
            .query_integers(
                "SELECT COALESCE(retention_days, 0) FROM organizations WHERE id = 'acme'"
            )
            .await,
        [30]
    );
}

async fn place_legal_hold_names_each_wrong_field(engine: Engine) {
    let (server, client) = with_acme(engine).await;
    let right = PlaceLegalHoldRequest { organization_id: "acme".into(), reason: String::new() };
    let reason = text_rows!(PlaceLegalHoldRequest, "reason", |r| r.reason, 500);
    let rows = reason.into_iter().chain(named_rows!(PlaceLegalHoldRequest));
    let call = async |request| client.clone().place_legal_hold(request).await;
    refuses(&server, right, rows, call).await;
    for reason in [long(500), wide(500)] {
        let request = PlaceLegalHoldRequest { organization_id: "acme".into(), reason };
        client.clone().place_legal_hold(request).await.unwrap();
    }
}
