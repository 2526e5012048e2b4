//! A database of every earlier version, brought up to date, and served.

use std::{fs, path::Path};

use audit_logs::{
    client::{AuditLogs, Bearer},
    proto::v1::{
        CreateEventRequest, GetEventRequest, ListActionsRequest, ListEventsRequest,
        ListExportsRequest, LogStreamsListRequest, OrganizationsListRequest, SortOrder,
        log_streams_client::LogStreamsClient, organizations_client::OrganizationsClient,
    },
};

use super::{migrations, open, run, step};
use crate::{
    program::process::{Program, Server},
    support::{Engine, create_event, on_every_engine},
};

on_every_engine!(
    a_database_of_every_version_is_brought_up_to_date,
    what_earlier_versions_write_fits_the_newest_schema,
);

/// The value of the key in `data/01.sql`.
const KEY: &str = "sk_upgrade_0123456789abcdefghijklmnopqrstuvw";
/// The logs in the data: from which migration on they are there, how many events they have, and how many of
/// these retention erased.
const LOGS: [(&str, usize, u64, u64); 3] =
    [("acme", 3, 5, 0), ("initech", 5, 3, 0), ("hooli", 8, 3, 1)];
/// The migrations that an export came with.
const EXPORTS: [usize; 4] = [4, 6, 9, 10];

/// A program that erases nothing because it is old.
async fn program(engine: Engine) -> Program {
    let program = Program::on_nothing(engine).await;
    let long = "36500";
    program
        .with("AUDIT_LOGS_RETENTION_DEFAULT_DAYS", long)
        .with("AUDIT_LOGS_EXPORTS_RETENTION_DAYS", long)
}

/// What was first written after a migration.
fn data_of(migration: usize) -> Option<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/upgrades/data");
    fs::read_to_string(directory.join(format!("{migration:02}.sql"))).ok()
}

async fn a_database_of_every_version_is_brought_up_to_date(engine: Engine) {
    for version in 1..=migrations() {
        let program = program(engine).await;
        let database = open(&program, engine).await;
        for migration in 1..=version {
            step(&database).await;
            if let Some(data) = data_of(migration) {
                run(&database, engine, &data).await;
            }
        }
        database.close().await.unwrap();
        goes_on(&program, version).await;
    }
}

/// During a rolling update replicas of the version before write into the schema of the next.
async fn what_earlier_versions_write_fits_the_newest_schema(engine: Engine) {
    let program = program(engine).await;
    program.run(&["migrate"]).await.expect_success();
    let database = open(&program, engine).await;
    for data in (1..=migrations()).filter_map(data_of) {
        run(&database, engine, &data).await;
    }
    database.close().await.unwrap();
    goes_on(&program, migrations()).await;
}

/// Everything that was there at `version` is there, and verified, and the service goes on with it.
async fn goes_on(program: &Program, version: usize) {
    program.run(&["migrate"]).await.expect_success();
    let server = program.serve().await;
    let mut client = server.client_as(KEY).await;
    for (organization, since, size, erased) in LOGS {
        if since <= version {
            let read = read(&mut client, organization).await;
            assert_eq!(read, (erased..size).collect::<Vec<_>>(), "{organization}");
            let request = create(organization);
            let created = client.create_event(request).await.unwrap().into_inner();
            assert_eq!(created.sequence, size, "{organization}");
        }
    }
    if version >= 2 {
        actions_are_there(&mut client).await;
    }
    let listed = client.list_exports(ListExportsRequest::default()).await.unwrap().into_inner();
    let expected = EXPORTS.iter().filter(|since| **since <= version).count();
    assert_eq!(listed.exports.len(), expected, "{listed:?}");
    neighbours_are_there(&server, version).await;
    server.stop().await.expect_success();
    let said = program.run(&["verify", "database"]).await.expect_success();
    assert!(said.starts_with("verified: "), "version {version}: {said}");
}

fn create(organization: &str) -> CreateEventRequest {
    create_event(organization, "document.signed")
}

/// The sequences of the events that a list and a look by id give.
async fn read(client: &mut AuditLogs, organization: &str) -> Vec<u64> {
    let list = ListEventsRequest {
        organization_id: organization.to_owned(),
        order: SortOrder::Asc.into(),
        ..Default::default()
    };
    let listed = client.list_events(list).await.unwrap().into_inner().events;
    for record in &listed {
        let request = GetEventRequest {
            organization_id: organization.to_owned(),
            event_id: record.id.clone(),
        };
        let one = client.get_event(request).await.unwrap().into_inner();
        assert_eq!(one.event.as_ref(), Some(record));
    }
    listed.iter().map(|record| record.sequence).collect()
}

async fn actions_are_there(client: &mut AuditLogs) {
    let listed = client.list_actions(ListActionsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.actions[0].name, "document.signed");
}

async fn neighbours_are_there(server: &Server, version: usize) {
    let endpoint = tonic::transport::Endpoint::from_shared(server.url.clone()).unwrap();
    let (channel, key) = (endpoint.connect().await.unwrap(), Bearer::new(KEY).unwrap());
    let mut organizations = OrganizationsClient::with_interceptor(channel.clone(), key.clone());
    let listed = organizations.list(OrganizationsListRequest::default()).await.unwrap();
    let listed = listed.into_inner().organizations;
    let umbrella = listed.iter().find(|organization| organization.id == "umbrella");
    assert_eq!(umbrella.is_some(), version >= 7);
    if let Some(umbrella) = umbrella {
        assert_eq!(umbrella.external_id, "crm-4711");
        assert_eq!(umbrella.metadata["plan"], "gold");
    }
    assert_eq!(listed.iter().any(|organization| organization.id == "acme"), version >= 3);
    let mut streams = LogStreamsClient::with_interceptor(channel, key);
    let listed = streams.list(LogStreamsListRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.log_streams.len(), usize::from(version >= 11), "{listed:?}");
}
