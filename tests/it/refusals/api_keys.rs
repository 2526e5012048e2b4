//! The service `ApiKeys`.

use audit_logs::proto::v1::{
    ApiKeysCreateRequest, ApiKeysRevokeRequest, OrganizationsCreateRequest,
};

use super::{
    Row, invalid, long, made_id_rows, refuses, required_text_rows, stored, text_rows, unknown, wide,
};
use crate::support::{Engine, TestServer, on_every_engine};

on_every_engine!(
    create_names_each_wrong_field,
    a_key_at_the_limits_is_accepted,
    revoke_names_each_wrong_field,
);

fn key() -> ApiKeysCreateRequest {
    ApiKeysCreateRequest {
        name: "CI".into(),
        scopes: vec!["events:write".into()],
        organization_ids: Vec::new(),
    }
}

/// Makes the organizations `org_0`, `org_1`, ...
async fn with_organizations(server: &TestServer, count: usize) -> Vec<String> {
    let mut organizations = server.organizations().await;
    let mut ids = Vec::new();
    for number in 0..count {
        let organization_id = format!("org_{number}");
        ids.push(organization_id.clone());
        let request = OrganizationsCreateRequest {
            name: "One".into(),
            organization_id,
            ..Default::default()
        };
        organizations.create(request).await.unwrap();
    }
    ids
}

async fn create_names_each_wrong_field(engine: Engine) {
    let server = TestServer::start(engine).await;
    with_organizations(&server, 1).await;
    let client = server.keys().await;
    let scope = || invalid("scopes[0]", "UNKNOWN");
    let id = |violation| invalid("organization_ids[1]", violation);
    let rows: [Row<ApiKeysCreateRequest>; _] = [
        ("no scope", |r| r.scopes.clear(), invalid("scopes", "REQUIRED")),
        ("an empty scope", |r| r.scopes[0].clear(), scope()),
        ("an unknown scope", |r| r.scopes[0] = "events".into(), scope()),
        ("a wildcard", |r| r.scopes[0] = "*".into(), scope()),
        ("another case", |r| r.scopes[0] = "Events:write".into(), scope()),
        ("a space", |r| r.scopes[0] = "events:write ".into(), scope()),
        ("two in one", |r| r.scopes[0] = "events:write,keys".into(), scope()),
        (
            "a scope twice",
            |r| r.scopes.push("events:write".into()),
            invalid("scopes[1]", "DUPLICATE"),
        ),
        (
            "101 organizations",
            |r| r.organization_ids = (0..101).map(|number| format!("org_{number}")).collect(),
            invalid("organization_ids", "TOO_MANY"),
        ),
        (
            "an empty organization",
            |r| r.organization_ids = vec!["org_0".into(), String::new()],
            id("REQUIRED"),
        ),
        (
            "a malformed organization",
            |r| r.organization_ids = vec!["org_0".into(), "a b".into()],
            id("INVALID_CHARACTERS"),
        ),
        (
            "a long organization",
            |r| r.organization_ids = vec!["org_0".into(), long(129)],
            id("INVALID_CHARACTERS"),
        ),
        (
            "an organization twice",
            |r| r.organization_ids = vec!["org_0".into(), "org_0".into()],
            id("DUPLICATE"),
        ),
        (
            "an unknown organization",
            |r| r.organization_ids = vec!["org_0".into(), "nobody".into()],
            unknown("organization_ids[1]", "ORGANIZATION_NOT_FOUND"),
        ),
    ];
    let name = required_text_rows!(ApiKeysCreateRequest, "name", |r| r.name, 255);
    refuses(&server, key(), name.chain(rows), async |r| client.clone().create(r).await).await;
}

async fn a_key_at_the_limits_is_accepted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let organization_ids = with_organizations(&server, 100).await;
    let mut client = server.keys().await;
    let scopes: Vec<_> = audit_logs::domain::api_key::Scope::ALL
        .iter()
        .map(|scope| scope.as_str().to_owned())
        .collect();
    assert_eq!(scopes.len(), 8);
    for name in [long(255), wide(255), " ".into()] {
        let (scopes, organization_ids) = (scopes.clone(), organization_ids.clone());
        let sent = ApiKeysCreateRequest { name, scopes, organization_ids };
        let created = client.create(sent.clone()).await.unwrap().into_inner().api_key.unwrap();
        assert_eq!((created.name, created.scopes), (sent.name, sent.scopes));
        assert_eq!(created.organization_ids, sent.organization_ids);
    }
}

async fn revoke_names_each_wrong_field(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.keys().await;
    let created = client.clone().create(key()).await.unwrap().into_inner();
    let right = ApiKeysRevokeRequest { api_key_id: created.api_key.unwrap().id };
    let before = stored(&server).await;
    let rows = made_id_rows!(ApiKeysRevokeRequest, api_key_id, "API_KEY_NOT_FOUND");
    refuses(&server, right, rows, async |r| client.clone().revoke(r).await).await;
    assert_eq!(stored(&server).await, before);
    assert_eq!(server.query_integers("SELECT COUNT(revoked_at) FROM api_keys").await, [1]);
}
