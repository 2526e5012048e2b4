//! What callers keep of an organization: external id, metadata, domains.

use std::{collections::BTreeMap, sync::Arc};

use audit_logs::{
    domain::{clock::SystemClock, timestamp::Timestamp},
    proto::v1::{
        Organization, OrganizationDomain, OrganizationDomainState, OrganizationDomains,
        OrganizationsCreateRequest, OrganizationsGetByExternalIdRequest,
        OrganizationsUpdateRequest,
    },
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{create, delete, get};
use crate::support::{
    Engine, Refusal, TestServer, at, create_event, on_every_engine, schema_for,
    server::Organizations,
};

on_every_engine!(
    details_read_back_as_they_were_sent,
    an_organization_without_details_has_none,
    an_organization_from_before_there_were_details_has_none,
    an_update_changes_what_it_names,
    metadata_is_set_by_key,
    domains_are_replaced_and_keep_their_ids,
    updates_of_different_keys_do_not_undo_each_other,
    an_external_id_is_taken_once_even_when_many_ask,
    a_taken_external_id_names_its_field,
    an_external_id_is_free_after_a_deletion,
    environments_do_not_share_external_ids,
    a_limited_key_finds_its_own_alone,
);

pub fn texts(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

pub fn domain(name: &str, state: OrganizationDomainState) -> OrganizationDomain {
    OrganizationDomain { id: String::new(), domain: name.into(), state: state.into() }
}

/// A request with every detail.
fn acme() -> OrganizationsCreateRequest {
    OrganizationsCreateRequest {
        name: "Acme Inc.".into(),
        organization_id: "acme".into(),
        external_id: "Kunde/№ 1".into(),
        metadata: texts(&[("tier", "diamond"), ("région", "line 1\nline 2"), ("none", "")]),
        domains: vec![
            domain("Example.COM", OrganizationDomainState::Verified),
            domain("xn--bcher-kva.example", OrganizationDomainState::Unspecified),
        ],
    }
}

fn with_external_id(id: &str, external_id: &str) -> OrganizationsCreateRequest {
    OrganizationsCreateRequest {
        name: "One".into(),
        organization_id: id.into(),
        external_id: external_id.into(),
        ..Default::default()
    }
}

async fn by_external_id(client: &mut Organizations, id: &str) -> Result<Organization, Status> {
    let request = OrganizationsGetByExternalIdRequest { external_id: id.into() };
    Ok(client.get_by_external_id(request).await?.into_inner().organization.unwrap())
}

/// The default changes nothing of acme.
fn changes() -> OrganizationsUpdateRequest {
    OrganizationsUpdateRequest { organization_id: "acme".into(), ..Default::default() }
}

async fn update(client: &mut Organizations, request: OrganizationsUpdateRequest) -> Organization {
    client.update(request).await.unwrap().into_inner().organization.unwrap()
}

async fn is_not_found(client: &mut Organizations, external_id: &str) {
    let refused = by_external_id(client, external_id).await.unwrap_err();
    let details = refused.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((refused.code(), &*info.reason), (Code::NotFound, "ORGANIZATION_NOT_FOUND"));
    assert_eq!(info.metadata["field"], "external_id");
    assert_eq!(details.resource_info().unwrap().resource_name, external_id);
}

/// Fails unless the external id is told to be taken.
fn is_taken(refused: &Status, external_id: &str) {
    let details = refused.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((refused.code(), &*info.reason), (Code::AlreadyExists, "ALREADY_EXISTS"));
    assert_eq!(info.metadata["field"], "external_id");
    let resource = details.resource_info().unwrap();
    assert_eq!((&*resource.resource_type, &*resource.resource_name), ("Organization", external_id));
}

async fn details_read_back_as_they_were_sent(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    let created = client.create(acme()).await.unwrap().into_inner().organization.unwrap();
    assert_eq!(created.external_id, "Kunde/№ 1");
    assert_eq!(created.metadata, texts(&[("tier", "diamond"), ("région", "line 1\nline 2")]));
    let told: Vec<_> =
        created.domains.iter().map(|domain| (&*domain.domain, domain.state())).collect();
    let expected = [
        ("example.com", OrganizationDomainState::Verified),
        ("xn--bcher-kva.example", OrganizationDomainState::Pending),
    ];
    assert_eq!(told, expected);
    for domain in &created.domains {
        assert_eq!(domain.id.strip_prefix("org_domain_").unwrap().len(), 26);
    }
    assert_ne!(created.domains[0].id, created.domains[1].id);
    assert_eq!(get(&mut client, "acme").await.unwrap(), created);
    assert_eq!(by_external_id(&mut client, "Kunde/№ 1").await.unwrap(), created);
    is_not_found(&mut client, "kunde/№ 1").await;
    is_not_found(&mut client, "acme").await;
}

async fn an_organization_without_details_has_none(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    // Neither one that its first event registered, nor, twice, one that was created.
    client.create_event(create_event("registered", "doc.read")).await.unwrap();
    let mut organizations = server.organizations().await;
    create(&mut organizations, "one").await;
    create(&mut organizations, "two").await;
    for id in ["registered", "one", "two"] {
        let told = get(&mut organizations, id).await.unwrap();
        assert!(told.external_id.is_empty() && told.metadata.is_empty(), "{told:?}");
        assert!(told.domains.is_empty(), "{told:?}");
    }
}

async fn an_organization_from_before_there_were_details_has_none(engine: Engine) {
    let mut server = TestServer::start(engine).await;
    let created = create(&mut server.organizations().await, "acme").await;
    server.stop().await;
    for statement in [
        "DROP INDEX organizations_external_id",
        "ALTER TABLE organizations DROP COLUMN external_id",
        "ALTER TABLE organizations DROP COLUMN metadata",
        "ALTER TABLE organizations DROP COLUMN domains",
        "DELETE FROM seaql_migrations WHERE version = 'm20261121_000007_organization_details'",
    ] {
        server.execute(statement).await;
    }
    server.store().await.migrate().await.unwrap();
    let settings = server.settings.clone();
    let server = TestServer::over(engine, settings, Arc::new(SystemClock)).await;
    let mut client = server.organizations().await;
    assert_eq!(get(&mut client, "acme").await.unwrap(), created);
    client.create(with_external_id("beta", "one")).await.unwrap();
    is_taken(&client.create(with_external_id("gamma", "one")).await.unwrap_err(), "one");
}

async fn an_update_changes_what_it_names(engine: Engine) {
    let start = Timestamp::parse_rfc3339("2026-06-01T12:00:00Z").unwrap();
    let (server, clock) = TestServer::start_with_clock(engine, start).await;
    let mut client = server.organizations().await;
    let created = client.create(acme()).await.unwrap().into_inner().organization.unwrap();
    clock.advance_seconds(60);
    let now = Some(at("2026-06-01T12:01:00Z"));
    let unchanged = Organization { updated_at: now, ..created };
    assert_eq!(update(&mut client, changes()).await, unchanged);

    let request = OrganizationsUpdateRequest { name: Some("Acme".into()), ..changes() };
    let renamed = Organization { name: "Acme".into(), ..unchanged };
    // Twice: it is idempotent.
    for _ in 0..2 {
        assert_eq!(update(&mut client, request.clone()).await, renamed);
    }
    // Its own external id is not taken for it.
    for external_id in ["Kunde/№ 1", "2", ""] {
        let request =
            OrganizationsUpdateRequest { external_id: Some(external_id.into()), ..changes() };
        let expected = Organization { external_id: external_id.into(), ..renamed.clone() };
        assert_eq!(update(&mut client, request).await, expected);
        assert_eq!(get(&mut client, "acme").await.unwrap(), expected);
    }
    is_not_found(&mut client, "2").await;
}

async fn metadata_is_set_by_key(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    client.create(acme()).await.unwrap();
    let metadata = texts(&[("tier", "gold"), ("since", "2026"), ("none", ""), ("région", "")]);
    let request = OrganizationsUpdateRequest { metadata, ..changes() };
    let changed = update(&mut client, request).await;
    assert_eq!(changed.metadata, texts(&[("tier", "gold"), ("since", "2026")]));
    let (metadata, clear_metadata) = (texts(&[("a", "b")]), true);
    let request = OrganizationsUpdateRequest { metadata, clear_metadata, ..changes() };
    assert_eq!(update(&mut client, request).await.metadata, texts(&[("a", "b")]));
    let request = OrganizationsUpdateRequest { clear_metadata: true, ..changes() };
    assert_eq!(update(&mut client, request).await.metadata, texts(&[]));
    assert_eq!(get(&mut client, "acme").await.unwrap().metadata, texts(&[]));
}

async fn domains_are_replaced_and_keep_their_ids(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    let created = client.create(acme()).await.unwrap().into_inner().organization.unwrap();
    let domains = vec![
        domain("new.example", OrganizationDomainState::Pending),
        domain("example.com", OrganizationDomainState::Pending),
    ];
    let domains = Some(OrganizationDomains { domains });
    let request = OrganizationsUpdateRequest { domains, ..changes() };
    let changed = update(&mut client, request).await;
    assert_eq!(changed.domains.len(), 2);
    assert_eq!(changed.domains[0].domain, "new.example");
    assert!(created.domains.iter().all(|domain| domain.id != changed.domains[0].id));
    let pending = OrganizationDomainState::Pending.into();
    assert_eq!(
        changed.domains[1],
        OrganizationDomain { state: pending, ..created.domains[0].clone() }
    );
    let domains = Some(OrganizationDomains::default());
    let request = OrganizationsUpdateRequest { domains, ..changes() };
    assert_eq!(update(&mut client, request).await.domains, []);
}

async fn updates_of_different_keys_do_not_undo_each_other(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    create(&mut client, "acme").await;
    let callers = (0..24).map(|number| {
        let mut client = client.clone();
        let metadata = texts(&[(&format!("key {number}"), "x")]);
        tokio::spawn(async move {
            client.update(OrganizationsUpdateRequest { metadata, ..changes() }).await
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(get(&mut client, "acme").await.unwrap().metadata.len(), 24);
}

async fn an_external_id_is_taken_once_even_when_many_ask(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    let callers = (0..8).map(|number| {
        let mut client = client.clone();
        let request = with_external_id(&format!("new_{number}"), "one");
        tokio::spawn(async move { client.create(request).await })
    });
    let mut created = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        match caller.await.unwrap() {
            Ok(answer) => created.push(answer.into_inner().organization.unwrap()),
            Err(refused) => is_taken(&refused, "one"),
        }
    }
    assert_eq!(created.len(), 1);
    assert_eq!(by_external_id(&mut client, "one").await.unwrap(), created[0]);
    assert_eq!(server.count("organizations").await + server.count("log_heads").await, 2);

    for number in 0..8 {
        create(&mut client, &format!("old_{number}")).await;
    }
    let callers = (0..8).map(|number| {
        let mut client = client.clone();
        let organization_id = format!("old_{number}");
        let external_id = Some("two".to_owned());
        let request = OrganizationsUpdateRequest { organization_id, external_id, ..changes() };
        tokio::spawn(async move { client.update(request).await })
    });
    let mut changed = 0;
    for caller in callers.collect::<Vec<_>>() {
        match caller.await.unwrap() {
            Ok(_) => changed += 1,
            Err(refused) => is_taken(&refused, "two"),
        }
    }
    assert_eq!(changed, 1);
}

async fn a_taken_external_id_names_its_field(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    client.create(with_external_id("acme", "one")).await.unwrap();
    create(&mut client, "umbrella").await;
    is_taken(&client.create(with_external_id("", "one")).await.unwrap_err(), "one");
    assert_eq!(server.count("organizations").await, 2);
    // The id is told first.
    let refused = client.create(with_external_id("acme", "one")).await.unwrap_err();
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["field"], "organization_id");
    assert_eq!(details.resource_info().unwrap().resource_name, "acme");
    let before = get(&mut client, "umbrella").await.unwrap();
    let request = OrganizationsUpdateRequest {
        organization_id: "umbrella".into(),
        name: Some("Other".into()),
        external_id: Some("one".into()),
        ..Default::default()
    };
    is_taken(&client.update(request).await.unwrap_err(), "one");
    assert_eq!(get(&mut client, "umbrella").await.unwrap(), before);
}

async fn an_external_id_is_free_after_a_deletion(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    for id in ["first", "second", "third"] {
        client.create(with_external_id(id, "one")).await.unwrap();
        assert_eq!(by_external_id(&mut client, "one").await.unwrap().id, id);
        delete(&mut client, id).await;
        is_not_found(&mut client, "one").await;
        let request =
            OrganizationsUpdateRequest { organization_id: id.into(), ..Default::default() };
        let refused = client.update(request).await.unwrap_err();
        assert_eq!(Refusal::of(&refused).reason, "ORGANIZATION_NOT_FOUND");
    }
}

async fn environments_do_not_share_external_ids(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut ours = server.organizations().await;
    let mut theirs = server.organizations_as(&server.key_in("other").await).await;
    ours.create(with_external_id("ours", "one")).await.unwrap();
    is_not_found(&mut theirs, "one").await;
    theirs.create(with_external_id("theirs", "one")).await.unwrap();
    assert_eq!(by_external_id(&mut ours, "one").await.unwrap().id, "ours");
    assert_eq!(by_external_id(&mut theirs, "one").await.unwrap().id, "theirs");
    let request = OrganizationsUpdateRequest {
        organization_id: "ours".into(),
        name: Some("Theirs".into()),
        ..Default::default()
    };
    let refused = theirs.update(request).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "ORGANIZATION_NOT_FOUND");
    assert_eq!(get(&mut ours, "ours").await.unwrap().name, "One");
}

async fn a_limited_key_finds_its_own_alone(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    client.create(with_external_id("acme", "one")).await.unwrap();
    client.create(with_external_id("beta", "two")).await.unwrap();
    let key = server.key_with(&["organizations"], &["beta"]).await;
    let mut limited = server.organizations_as(&key).await;
    is_not_found(&mut limited, "one").await;
    assert_eq!(by_external_id(&mut limited, "two").await.unwrap().id, "beta");
    let refused = limited.update(changes()).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "ORGANIZATION_NOT_FOUND");
    let metadata = texts(&[("a", "b")]);
    let request = OrganizationsUpdateRequest {
        organization_id: "beta".into(),
        metadata: metadata.clone(),
        ..Default::default()
    };
    assert_eq!(update(&mut limited, request).await.metadata, metadata);
}
