//! Organizations: from creation to deletion, and how long their events are kept.

mod details;
mod finding;

use audit_logs::proto::v1::{
    AuditLogState, BatchCreateEventsRequest, CreateExportRequest, ExportState,
    GetAuditLogConfigurationRequest, GetEventRequest, GetExportRequest, GetRetentionRequest,
    ListEventsRequest, ListExportsRequest, Organization, OrganizationsCreateRequest,
    OrganizationsDeleteRequest, OrganizationsGetRequest, OrganizationsListRequest,
    UpdateRetentionRequest, batch_create_events_result::Result::Error,
};
use audit_logs::{config::Settings, domain::timestamp::Timestamp};
use tonic::{Code, Response, Status};

use crate::support::{
    Engine, Refusal, TestServer, at, create_event, on_every_engine, schema_for,
    server::Organizations,
};

on_every_engine!(
    an_organization_reads_back_as_it_was_created,
    the_service_makes_an_id_where_none_is_brought,
    an_id_is_taken_once_even_when_many_ask,
    an_event_names_its_organization_after_its_id,
    a_deleted_organization_is_not_found,
    the_log_of_a_deleted_organization_is_not_found,
    the_exports_of_a_deleted_organization_are_not_found,
    an_id_stays_taken,
    an_organization_that_is_deleted_while_it_is_used_stays_deleted,
    retention_has_a_grid,
    retention_has_a_default,
    an_environment_without_action_is_inactive,
);

fn named(id: &str, name: &str) -> OrganizationsCreateRequest {
    OrganizationsCreateRequest {
        name: name.into(),
        organization_id: id.into(),
        ..Default::default()
    }
}

async fn create(client: &mut Organizations, id: &str) -> Organization {
    let answer = client.create(named(id, "Acme Inc.")).await.unwrap();
    answer.into_inner().organization.unwrap()
}

async fn get(client: &mut Organizations, id: &str) -> Result<Organization, Status> {
    let request = OrganizationsGetRequest { organization_id: id.into() };
    Ok(client.get(request).await?.into_inner().organization.unwrap())
}

async fn delete(client: &mut Organizations, id: &str) {
    let request = OrganizationsDeleteRequest { organization_id: id.into() };
    client.delete(request).await.unwrap();
}

fn is_not_found<A: std::fmt::Debug>(answer: Result<Response<A>, Status>) {
    let refusal = Refusal::of(&answer.unwrap_err());
    assert_eq!((refusal.code, &*refusal.reason), (Code::NotFound, "ORGANIZATION_NOT_FOUND"));
}

async fn an_organization_reads_back_as_it_was_created(engine: Engine) {
    let now = Timestamp::parse_rfc3339("2026-06-01T12:00:00.123456Z").unwrap();
    let (server, _clock) = TestServer::start_with_clock(engine, now).await;
    let mut client = server.organizations().await;
    let created = create(&mut client, "acme:eu.west-1_A").await;
    let now = Some(at("2026-06-01T12:00:00.123456Z"));
    assert_eq!((&*created.id, &*created.name), ("acme:eu.west-1_A", "Acme Inc."));
    assert_eq!((created.created_at, created.updated_at), (now, now));
    assert_eq!(get(&mut client, "acme:eu.west-1_A").await.unwrap(), created);
    let list = OrganizationsListRequest::default();
    assert_eq!(client.list(list).await.unwrap().into_inner().organizations, [created]);
    // Ids differ by case.
    get(&mut client, "ACME:eu.west-1_A").await.unwrap_err();
    create(&mut client, "ACME:eu.west-1_A").await;
}

async fn the_service_makes_an_id_where_none_is_brought(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    let (one, two) = (create(&mut client, "").await, create(&mut client, "").await);
    assert_ne!(one.id, two.id);
    for organization in [one, two] {
        let ulid = organization.id.strip_prefix("org_").unwrap();
        assert_eq!(ulid.len(), 26);
        assert!(ulid.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()), "{ulid}");
        assert_eq!(get(&mut client, &organization.id).await.unwrap(), organization);
    }
}

async fn an_id_is_taken_once_even_when_many_ask(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.organizations().await;
    let callers = (0..8).map(|number| {
        let mut client = client.clone();
        tokio::spawn(async move { client.create(named("acme", &format!("{number}"))).await })
    });
    let mut created = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        match caller.await.unwrap() {
            Ok(answer) => created.push(answer.into_inner().organization.unwrap()),
            Err(refused) => assert_eq!(Refusal::of(&refused).code, Code::AlreadyExists),
        }
    }
    assert_eq!(created.len(), 1);
    assert_eq!(get(&mut client.clone(), "acme").await.unwrap(), created[0]);
    assert_eq!(server.count("organizations").await + server.count("log_heads").await, 2);
}

async fn an_event_names_its_organization_after_its_id(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let mut organizations = server.organizations().await;
    let registered = get(&mut organizations, "acme").await.unwrap();
    assert_eq!(registered.name, "acme");
    // Then it is taken; one that was created takes events.
    organizations.create(named("acme", "Acme Inc.")).await.unwrap_err();
    create(&mut organizations, "umbrella").await;
    client.create_event(create_event("umbrella", "doc.read")).await.unwrap();
    assert_eq!(get(&mut organizations, "umbrella").await.unwrap().name, "Acme Inc.");
}

async fn a_deleted_organization_is_not_found(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    create(&mut client, "acme").await;
    create(&mut client, "umbrella").await;
    delete(&mut client, "acme").await;

    let organization_id = || "acme".to_owned();
    let request = OrganizationsDeleteRequest { organization_id: organization_id() };
    is_not_found(client.delete(request).await);
    let request = OrganizationsGetRequest { organization_id: organization_id() };
    is_not_found(client.get(request).await);
    let request = GetRetentionRequest { organization_id: organization_id() };
    is_not_found(client.get_retention(request).await);
    let (organization_id, retention_period_in_days) = (organization_id(), 30);
    let request = UpdateRetentionRequest { organization_id, retention_period_in_days };
    is_not_found(client.update_retention(request).await);
    let request = GetAuditLogConfigurationRequest { organization_id: "acme".into() };
    is_not_found(client.get_audit_log_configuration(request).await);
    let page = client.list(OrganizationsListRequest::default()).await.unwrap().into_inner();
    assert_eq!(page.organizations.iter().map(|o| &*o.id).collect::<Vec<_>>(), ["umbrella"]);
    let request = audit_logs::proto::v1::ApiKeysCreateRequest {
        name: "CI".into(),
        scopes: vec!["events:read".into()],
        organization_ids: vec!["acme".into()],
    };
    is_not_found(server.keys().await.create(request).await);
}

fn export_of_acme() -> CreateExportRequest {
    CreateExportRequest {
        organization_id: "acme".into(),
        range_start: Some(at("2026-01-01T00:00:00Z")),
        range_end: Some(at("2026-12-31T00:00:00Z")),
        ..CreateExportRequest::default()
    }
}

async fn the_log_of_a_deleted_organization_is_not_found(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let created = client.create_event(create_event("acme", "doc.read")).await.unwrap();
    delete(&mut server.organizations().await, "acme").await;

    is_not_found(client.create_event(create_event("acme", "doc.read")).await);
    let request =
        GetEventRequest { organization_id: "acme".into(), event_id: created.into_inner().event_id };
    is_not_found(client.get_event(request).await);
    let request = ListEventsRequest { organization_id: "acme".into(), ..Default::default() };
    is_not_found(client.list_events(request).await);
    is_not_found(client.create_export(export_of_acme()).await);
    let requests = vec![create_event("acme", "doc.read"), create_event("umbrella", "doc.read")];
    let batch = BatchCreateEventsRequest { requests, atomic: false };
    let results = client.batch_create_events(batch.clone()).await.unwrap().into_inner().results;
    let Some(Error(error)) = &results[0].result else { panic!("{results:?}") };
    assert_eq!(error.code, i32::from(Code::NotFound));
    let batch = BatchCreateEventsRequest { atomic: true, ..batch };
    is_not_found(client.batch_create_events(batch).await);
    assert_eq!(
        server
            .query_integers(
                "SELECT size FROM log_heads WHERE organization_id NOT LIKE 'system_%' ORDER BY size"
            )
            .await,
        [1, 1]
    );
}

async fn the_exports_of_a_deleted_organization_are_not_found(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let export = client.create_export(export_of_acme()).await.unwrap().into_inner().export.unwrap();
    let look = GetExportRequest { export_id: export.id.clone(), watch: Some(true) };
    let mut frames = client.get_export(look.clone()).await.unwrap().into_inner();
    let mut state = ExportState::Unspecified;
    while let Some(frame) = frames.message().await.unwrap() {
        state = frame.export.unwrap().state();
    }
    assert_eq!(state, ExportState::Ready);
    delete(&mut server.organizations().await, "acme").await;

    let list = ListExportsRequest { organization_id: "acme".into(), ..Default::default() };
    is_not_found(client.list_exports(list).await);
    let list = ListExportsRequest::default();
    let exports = client.list_exports(list).await.unwrap().into_inner().exports;
    assert_eq!(exports.len(), 0, "the list of all exports still holds one");
    let look = GetExportRequest { watch: Some(false), ..look };
    let refused = client.get_export(look).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "EXPORT_NOT_FOUND");
}

async fn an_id_stays_taken(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    create(&mut client, "acme").await;
    delete(&mut client, "acme").await;
    let mut elsewhere = server.organizations_as(&server.key_in("other").await).await;
    for client in [&mut client, &mut elsewhere] {
        let refused = client.create(named("acme", "Acme Inc.")).await.unwrap_err();
        assert_eq!(Refusal::of(&refused).code, Code::AlreadyExists);
    }
    assert_eq!(server.count("organizations").await, 1);
}

async fn retention(client: &mut Organizations) -> Option<i32> {
    let request = GetRetentionRequest { organization_id: "acme".into() };
    client.get_retention(request).await.unwrap().into_inner().retention_period_in_days
}

async fn retention_has_a_grid(engine: Engine) {
    let start = Timestamp::parse_rfc3339("2026-06-01T12:00:00Z").unwrap();
    let (server, clock) = TestServer::start_with_clock(engine, start).await;
    let mut client = server.organizations().await;
    let created = create(&mut client, "acme").await;
    assert_eq!(retention(&mut client).await, None);
    clock.advance_seconds(60);
    let months = (1..=11).map(|months| 30 * months);
    let years = (1..=10).map(|years| 365 * years);
    for days in months.chain(years) {
        let request = UpdateRetentionRequest {
            organization_id: "acme".into(),
            retention_period_in_days: days,
        };
        // Twice: it is idempotent.
        for _ in 0..2 {
            let answer = client.update_retention(request.clone()).await.unwrap().into_inner();
            assert_eq!(answer.retention_period_in_days, days);
        }
        assert_eq!(retention(&mut client).await, Some(days));
    }
    let changed = get(&mut client, "acme").await.unwrap();
    assert_eq!(changed.created_at, created.created_at);
    assert_eq!(changed.updated_at, Some(at("2026-06-01T12:01:00Z")));
}

/// What the configuration of acme tells.
async fn configuration(client: &mut Organizations) -> (i32, AuditLogState) {
    let request = GetAuditLogConfigurationRequest { organization_id: "acme".into() };
    let answer = client.get_audit_log_configuration(request).await.unwrap().into_inner();
    let told = answer.configuration.unwrap();
    assert_eq!(told.organization_id, "acme");
    (told.retention_period_in_days, told.state())
}

async fn retention_has_a_default(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    create(&mut client, "acme").await;
    assert_eq!(configuration(&mut client).await.0, 365);
    let request =
        UpdateRetentionRequest { organization_id: "acme".into(), retention_period_in_days: 3_650 };
    client.update_retention(request).await.unwrap();
    assert_eq!(configuration(&mut client).await.0, 3_650);

    let shorter = |settings: &mut Settings| settings.retention.default_days = 90;
    let server = TestServer::start_with(engine, shorter).await;
    let mut client = server.organizations().await;
    create(&mut client, "acme").await;
    assert_eq!(configuration(&mut client).await.0, 90);
    assert_eq!(retention(&mut client).await, None);
}

async fn an_environment_without_action_is_inactive(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    create(&mut client, "acme").await;
    assert_eq!(configuration(&mut client).await.1, AuditLogState::Inactive);
    // An action of another environment does not count.
    let mut elsewhere = server.client_as(&server.key_in("other").await).await;
    elsewhere.create_action_schema(schema_for("doc.read")).await.unwrap();
    assert_eq!(configuration(&mut client).await.1, AuditLogState::Inactive);
    server.client().await.create_action_schema(schema_for("doc.read")).await.unwrap();
    assert_eq!(configuration(&mut client).await.1, AuditLogState::Active);
    // Without the need for a schema, events are taken anyway.
    let lax = |settings: &mut Settings| settings.actions.require_schema = false;
    let server = TestServer::start_with(engine, lax).await;
    let mut client = server.organizations().await;
    create(&mut client, "acme").await;
    assert_eq!(configuration(&mut client).await.1, AuditLogState::Active);
}

async fn an_organization_that_is_deleted_while_it_is_used_stays_deleted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.client().await;
    client.clone().create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut organizations = server.organizations().await;
    let mut alive = 0;
    for number in 0..50 {
        let id = format!("org_{number}");
        create(&mut organizations, &id).await;
        let uses: Vec<_> = (0..4)
            .map(|_| {
                let (mut client, organization_id) = (client.clone(), id.clone());
                tokio::spawn(async move {
                    let request = ListEventsRequest { organization_id, ..Default::default() };
                    _ = client.list_events(request).await;
                })
            })
            .collect();
        // What was looked up before the deletion must not be remembered after it.
        delete(&mut organizations, &id).await;
        for one in uses {
            one.await.unwrap();
        }
        alive +=
            i32::from(client.clone().create_event(create_event(&id, "doc.read")).await.is_ok());
    }
    assert_eq!(alive, 0, "organizations that were used while they were deleted still take events");
}
