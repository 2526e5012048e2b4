//! API keys: made, shown once, revoked.

use std::{fs, sync::Arc};

use audit_logs::{
    domain::{api_key::Scope, clock::SystemClock, ids::ApiKeyId, timestamp::Timestamp},
    proto::v1::{
        ApiKey, ApiKeysCreateRequest, ApiKeysListRequest, ApiKeysRevokeRequest, ListActionsRequest,
        OrganizationsCreateRequest,
    },
};
use sha2::{Digest, Sha256};
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{
    self, Engine, Refusal, TestServer, at, on_every_engine,
    server::{Keys, ROOT_KEY},
    until,
};

on_every_engine!(
    a_key_reads_back_as_it_was_created,
    a_value_is_new_and_random,
    a_value_is_shown_once_and_not_stored,
    nobody_gives_what_it_does_not_have,
    a_revoked_key_dies,
    a_key_that_is_revoked_while_it_is_used_stays_dead,
    a_revocation_keeps_its_first_time,
    a_key_can_revoke_itself,
    a_key_tells_when_it_was_last_used,
    a_limited_key_cannot_manage_keys,
);

fn key(scopes: &[&str]) -> ApiKeysCreateRequest {
    ApiKeysCreateRequest {
        name: "CI".into(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        organization_ids: Vec::new(),
    }
}

async fn create(client: &mut Keys, scopes: &[&str]) -> (ApiKey, String) {
    let created = client.create(key(scopes)).await.unwrap().into_inner();
    (created.api_key.unwrap(), created.value)
}

/// All keys, newest first.
async fn list(client: &mut Keys) -> Vec<ApiKey> {
    let request = ApiKeysListRequest { limit: 100, ..ApiKeysListRequest::default() };
    client.list(request).await.unwrap().into_inner().api_keys
}

async fn revoke(client: &mut Keys, id: &str) -> ApiKey {
    let request = ApiKeysRevokeRequest { api_key_id: id.into() };
    client.revoke(request).await.unwrap().into_inner().api_key.unwrap()
}

/// The code with which a call that needs `schemas:read` ends.
async fn use_key(server: &TestServer, value: &str) -> Code {
    let answer = server.client_as(value).await.list_actions(ListActionsRequest::default()).await;
    answer.map_or_else(|refused| Refusal::of(&refused).code, |_| Code::Ok)
}

const NOON: &str = "2026-06-01T12:00:00.000001Z";

async fn a_key_reads_back_as_it_was_created(engine: Engine) {
    let now = Timestamp::parse_rfc3339(NOON).unwrap();
    let (server, clock) = TestServer::start_with_clock(engine, now).await;
    let mut client = server.keys().await;
    for id in ["acme", "umbrella"] {
        let request = OrganizationsCreateRequest {
            name: id.into(),
            organization_id: id.into(),
            ..Default::default()
        };
        server.organizations().await.create(request).await.unwrap();
    }
    clock.advance_seconds(1);
    let request = ApiKeysCreateRequest {
        organization_ids: vec!["umbrella".into(), "acme".into()],
        ..key(&["exports", "events:read"])
    };
    let created = client.create(request).await.unwrap().into_inner();
    let told = created.api_key.unwrap();
    assert_eq!(told.id.strip_prefix("api_key_").unwrap().len(), 26);
    assert_eq!(told.name, "CI");
    assert_eq!(told.hint, created.value[created.value.len() - 4..]);
    assert_eq!(told.scopes, ["exports", "events:read"]);
    assert_eq!(told.organization_ids, ["umbrella", "acme"]);
    assert_eq!(told.created_at, Some(at("2026-06-01T12:00:01.000001Z")));
    assert_eq!(told.revoked_at, None);
    let all = list(&mut client).await;
    assert_eq!(all[0], told);
    // The key that the operator brought.
    assert_eq!((all.len(), &*all[1].hint), (2, &ROOT_KEY[ROOT_KEY.len() - 4..]));
    assert_eq!(all[1].scopes, Scope::ALL.map(|scope| scope.to_string()));
}

async fn a_value_is_new_and_random(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.keys().await;
    let mut values = std::collections::BTreeSet::new();
    // Not idempotent: the same request makes another key each time.
    for _ in 0..20 {
        let (_, value) = create(&mut client, &["events:write"]).await;
        let random = value.strip_prefix("sk_").unwrap();
        assert_eq!(random.len(), 43);
        assert!(random.bytes().all(|b| b.is_ascii_alphanumeric()), "not base62");
        assert!(values.insert(value));
    }
    assert_eq!(list(&mut client).await.len(), 21);
}

async fn a_value_is_shown_once_and_not_stored(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.keys().await;
    let (created, value) = create(&mut client, &["schemas:read"]).await;
    assert_eq!(use_key(&server, &value).await, Code::Ok);
    for told in [format!("{:?}", list(&mut client).await), format!("{created:?}")] {
        assert!(!told.contains(&value) && told.contains(&created.hint));
    }
    let told = format!("{:?}", revoke(&mut client, &created.id).await);
    assert!(!told.contains(&value));

    // What the row holds, as bytes on either engine.
    let text = "id || environment_id || name || hint || scopes || organization_ids";
    let (text, hash) = server
        .query_bytes(&match engine {
            Engine::Sqlite => format!(
                "SELECT CAST({text} AS BLOB), value_hash FROM api_keys WHERE id = '{}'",
                created.id
            ),
            Engine::Postgres => format!(
                "SELECT convert_to({text}, 'UTF8'), value_hash FROM api_keys WHERE id = '{}'",
                created.id
            ),
        })
        .await;
    assert_eq!(hash, Sha256::digest(&value).to_vec());
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(&created.hint) && !text.contains(&value), "{text}");
    // Nor is any part of it but the hint anywhere in the files of the service.
    let secret = &value.as_bytes()[3..value.len() - 4];
    let mut files = 0;
    for entry in fs::read_dir(&server.settings.data_dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            files += 1;
            assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{}", path.display());
        }
    }
    assert!(files > 0 || engine == Engine::Postgres);
}

async fn nobody_gives_what_it_does_not_have(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut root = server.keys().await;
    let (_, value) = create(&mut root, &["keys", "events:read"]).await;
    let mut client = server.keys_as(&value).await;
    let before = server.count("api_keys").await;
    for scope in Scope::ALL.map(Scope::as_str) {
        if ["keys", "events:read"].contains(&scope) {
            assert_eq!(create(&mut client, &[scope]).await.0.scopes, [scope]);
            continue;
        }
        // Not even together with what it has.
        let refused = client.create(key(&["events:read", "keys", scope])).await.unwrap_err();
        let refusal = Refusal::of(&refused);
        let told = (refusal.code, &*refusal.reason);
        assert_eq!(told, (Code::PermissionDenied, "SCOPE_MISSING"));
        assert_eq!(refused.get_error_details().error_info().unwrap().metadata["scope"], scope);
    }
    assert_eq!(server.count("api_keys").await, before + 2);
    // Not through a child either.
    let (_, child) = create(&mut client, &["keys"]).await;
    let refused = server.keys_as(&child).await.create(key(&["events:read"])).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "SCOPE_MISSING");
}

async fn a_revoked_key_dies(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.keys().await;
    let (revoked, value) = create(&mut client, &["schemas:read"]).await;
    let (other, other_value) = create(&mut client, &["schemas:read"]).await;
    assert_eq!(use_key(&server, &value).await, Code::Ok);
    assert_eq!(revoke(&mut client, &revoked.id).await.id, revoked.id);
    assert_eq!(use_key(&server, &value).await, Code::Unauthenticated);
    assert_eq!(use_key(&server, &other_value).await, Code::Ok);
    // It stays in the list.
    let all = list(&mut client).await;
    let of = |id: &str| all.iter().find(|key| key.id == id).unwrap();
    assert!(of(&revoked.id).revoked_at.is_some() && of(&other.id).revoked_at.is_none());
    let request = ApiKeysRevokeRequest { api_key_id: "api_key_00000000000000000000000000".into() };
    let refused = client.revoke(request).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "API_KEY_NOT_FOUND");
}

async fn a_revocation_keeps_its_first_time(engine: Engine) {
    let now = Timestamp::parse_rfc3339(NOON).unwrap();
    let (server, clock) = TestServer::start_with_clock(engine, now).await;
    let mut client = server.keys().await;
    let (created, value) = create(&mut client, &["schemas:read"]).await;
    for _ in 0..3 {
        let key = revoke(&mut client, &created.id).await;
        assert_eq!(key.revoked_at, Some(at(NOON)));
        assert_eq!(key, ApiKey { revoked_at: Some(at(NOON)), ..created.clone() });
        clock.advance_seconds(1);
    }
    assert_eq!(use_key(&server, &value).await, Code::Unauthenticated);
}

async fn a_key_can_revoke_itself(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (created, value) = create(&mut server.keys().await, &["keys"]).await;
    let mut client = server.keys_as(&value).await;
    revoke(&mut client, &created.id).await;
    let refused = client.list(ApiKeysListRequest::default()).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).code, Code::Unauthenticated);
}

async fn a_key_tells_when_it_was_last_used(engine: Engine) {
    let now = Timestamp::parse_rfc3339(NOON).unwrap();
    let (mut before, clock) = TestServer::start_with_clock(engine, now).await;
    let (used, value) = create(&mut before.keys().await, &["schemas:read"]).await;
    let (unused, _) = create(&mut before.keys().await, &["schemas:read"]).await;
    assert_eq!(used.last_used_at, None);
    clock.advance_seconds(90);
    assert_eq!(use_key(&before, &value).await, Code::Ok);
    // Written when the replica ends at the latest, and not with each call.
    before.stop().await;
    let server = TestServer::over(engine, before.settings.clone(), clock).await;
    // What another replica noted earlier comes later.
    let earlier = (ApiKeyId::from_stored(used.id.clone()), now);
    server.store().await.note_key_uses(&[earlier]).await.unwrap();
    let all = list(&mut server.keys().await).await;
    let of = |id: &str| all.iter().find(|key| key.id == id).unwrap().last_used_at;
    let mut expected = at(NOON);
    expected.seconds += 90;
    assert_eq!((of(&used.id), of(&unused.id)), (Some(expected), None));
}

/// Another replica may remember a key for five seconds.
#[tokio::test]
async fn a_revoked_key_dies_on_every_replica() {
    if !support::postgres::is_available() {
        return;
    }
    let server = TestServer::start(Engine::Postgres).await;
    let settings = server.settings.clone();
    let other = TestServer::over(Engine::Postgres, settings, Arc::new(SystemClock)).await;
    let mut client = server.keys().await;
    let (key, value) = create(&mut client, &["schemas:read"]).await;
    assert_eq!(use_key(&other, &value).await, Code::Ok);
    revoke(&mut client, &key.id).await;
    assert_eq!(use_key(&server, &value).await, Code::Unauthenticated);
    until("the other replica refuses the key", async || {
        (use_key(&other, &value).await == Code::Unauthenticated).then_some(())
    })
    .await;
}

async fn a_limited_key_cannot_manage_keys(engine: Engine) {
    let server = TestServer::start(engine).await;
    let request = OrganizationsCreateRequest {
        name: "Acme".into(),
        organization_id: "acme".into(),
        ..Default::default()
    };
    server.organizations().await.create(request).await.unwrap();
    let value = server.key_with(&Scope::ALL.map(Scope::as_str), &["acme"]).await;
    let mut client = server.keys_as(&value).await;
    let id = list(&mut server.keys().await).await.remove(0).id;
    let limited = ApiKeysCreateRequest { organization_ids: vec!["acme".into()], ..key(&["keys"]) };
    let refusals = [
        client.create(key(&["keys"])).await.unwrap_err(),
        client.create(limited).await.unwrap_err(),
        client.list(ApiKeysListRequest::default()).await.unwrap_err(),
        client.revoke(ApiKeysRevokeRequest { api_key_id: id }).await.unwrap_err(),
    ];
    for refused in &refusals {
        let refusal = Refusal::of(refused);
        let told = (refusal.code, &*refusal.reason);
        assert_eq!(told, (Code::PermissionDenied, "KEY_LIMITED_TO_ORGANIZATIONS"));
    }
    assert_eq!(server.query_integers("SELECT COUNT(revoked_at) FROM api_keys").await, [0]);
    assert_eq!(server.count("api_keys").await, 2);
}

async fn a_key_that_is_revoked_while_it_is_used_stays_dead(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.keys().await;
    let mut alive = 0;
    for _ in 0..50 {
        let (created, value) = create(&mut client, &["schemas:read"]).await;
        let holder = server.client_as(&value).await;
        let uses: Vec<_> = (0..4)
            .map(|_| {
                let mut holder = holder.clone();
                tokio::spawn(async move {
                    _ = holder.list_actions(ListActionsRequest::default()).await;
                })
            })
            .collect();
        // What was looked up before the revocation must not be remembered after it.
        revoke(&mut client, &created.id).await;
        for one in uses {
            one.await.unwrap();
        }
        alive +=
            i32::from(holder.clone().list_actions(ListActionsRequest::default()).await.is_ok());
    }
    assert_eq!(alive, 0, "keys that were used while they were revoked still work");
}
