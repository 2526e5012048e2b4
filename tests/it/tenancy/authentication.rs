//! Who calls.

use audit_logs::proto::v1::{ApiKeysListRequest, ApiKeysRevokeRequest};
use prost::Message;
use tonic::{
    Code,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::raw;
use crate::support::{Engine, Refusal, TestServer, on_every_engine, server::ROOT_KEY};

on_every_engine!(
    without_a_good_key_every_rpc_is_refused,
    a_key_that_is_revoked_is_refused_at_once,
    the_scheme_may_have_any_case,
    health_and_reflection_need_no_key,
    what_does_not_exist_is_unimplemented,
    who_guesses_is_slowed_down_and_nobody_else,
);

fn header(value: impl AsRef<[u8]>) -> MetadataValue<Ascii> {
    MetadataValue::try_from(value.as_ref()).unwrap()
}

/// Calls every RPC with nothing in it.
async fn refused_everywhere(
    channel: &Channel,
    authorization: Option<&MetadataValue<Ascii>>,
    reason: &str,
) {
    for method in raw::methods() {
        let name = raw::name(&method);
        let refused = raw::call(channel, &name, authorization.cloned(), "").await.unwrap_err();
        let refusal = Refusal::of(&refused);
        let told = (refusal.code, &*refusal.reason);
        assert_eq!(told, (Code::Unauthenticated, reason), "{name} with {authorization:?}");
    }
}

async fn without_a_good_key_every_rpc_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let channel = server.channel().await;
    refused_everywhere(&channel, None, "API_KEY_MISSING").await;
    for none in ["", " ", "Basic c2s6c2s=", &format!("Token {ROOT_KEY}")] {
        refused_everywhere(&channel, Some(&header(none)), "API_KEY_MISSING").await;
    }
    let bad = [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        ROOT_KEY.to_owned(),
        format!("Bearer{ROOT_KEY}"),
        format!("Bearer {ROOT_KEY}x"),
        format!("Bearer {}", &ROOT_KEY[..ROOT_KEY.len() - 1]),
        format!("Bearer {}", ROOT_KEY.to_uppercase()),
        format!("Bearer {ROOT_KEY} {ROOT_KEY}"),
        format!("Bearer \"{ROOT_KEY}\""),
        "Bearer sk_0000000000000000000000000000000000000000000".to_owned(),
        "Bearer ' OR '1'='1".to_owned(),
    ];
    for bad in bad {
        refused_everywhere(&channel, Some(&header(bad)), "API_KEY_INVALID").await;
    }
    let not_ascii = [b"Bearer sk_".as_slice(), &[0xff, 0xfe]].concat();
    refused_everywhere(&channel, Some(&header(not_ascii)), "API_KEY_INVALID").await;
}

async fn a_key_that_is_revoked_is_refused_at_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let channel = server.channel().await;
    let value = server.key_with(&["schemas:read", "keys"], &[]).await;
    // The key is known before it is revoked.
    raw::call(&channel, "AuditLogs/ListActions", Some(raw::bearer(&value)), "").await.unwrap();
    let list = ApiKeysListRequest { limit: 1, ..ApiKeysListRequest::default() };
    let keys = server.keys().await.list(list).await.unwrap().into_inner().api_keys;
    let newest = keys.into_iter().next().unwrap();
    assert!(value.ends_with(&newest.hint));
    let request = ApiKeysRevokeRequest { api_key_id: newest.id };
    server.keys().await.revoke(request.clone()).await.unwrap();
    refused_everywhere(&channel, Some(&raw::bearer(&value)), "API_KEY_INVALID").await;
    // Not even with a request that is right.
    let message = request.encode_to_vec();
    let refused = raw::call(&channel, "ApiKeys/Revoke", Some(raw::bearer(&value)), message).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
}

async fn the_scheme_may_have_any_case(engine: Engine) {
    let server = TestServer::start(engine).await;
    let channel = server.channel().await;
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer "] {
        let key = header(format!("{scheme} {ROOT_KEY}"));
        raw::call(&channel, "AuditLogs/ListActions", Some(key), "").await.unwrap();
    }
}

async fn health_and_reflection_need_no_key(engine: Engine) {
    let server = TestServer::start(engine).await;
    let channel = server.channel().await;
    let services = [
        "",
        "auditlogs.v1.AuditLogs",
        "auditlogs.v1.Organizations",
        "auditlogs.v1.LogStreams",
        "auditlogs.v1.ApiKeys",
        "auditlogs.v1.TransparencyLog",
    ];
    for service in services {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel.clone()).check(request).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
    }
    for listed in [reflected_services(&channel).await, formerly_reflected_services(&channel).await]
    {
        let ours = listed.iter().filter(|name| name.starts_with("auditlogs."));
        assert_eq!(ours.collect::<Vec<_>>(), &services[1..]);
    }
}

/// The names of all services, as reflection tells them.
async fn reflected_services(channel: &Channel) -> Vec<String> {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest::ListServices,
        server_reflection_response::MessageResponse::ListServicesResponse,
    };
    let message_request = Some(ListServices(String::new()));
    let question =
        ServerReflectionRequest { message_request, ..ServerReflectionRequest::default() };
    let mut client = ServerReflectionClient::new(channel.clone());
    let answers = client.server_reflection_info(tokio_stream::once(question)).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
    let Some(ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
    list.service.into_iter().map(|service| service.name).collect()
}

/// The same in the version that older tools ask for.
async fn formerly_reflected_services(channel: &Channel) -> Vec<String> {
    use tonic_reflection::pb::v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest::ListServices,
        server_reflection_response::MessageResponse::ListServicesResponse,
    };
    let message_request = Some(ListServices(String::new()));
    let question =
        ServerReflectionRequest { message_request, ..ServerReflectionRequest::default() };
    let mut client = ServerReflectionClient::new(channel.clone());
    let answers = client.server_reflection_info(tokio_stream::once(question)).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
    let Some(ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
    list.service.into_iter().map(|service| service.name).collect()
}

async fn what_does_not_exist_is_unimplemented(engine: Engine) {
    let server = TestServer::start(engine).await;
    let channel = server.channel().await;
    for name in ["AuditLogs/DeleteEvent", "Nobody/Create"] {
        let refused = raw::call(&channel, name, Some(raw::bearer(ROOT_KEY)), "").await;
        assert_eq!(refused.unwrap_err().code(), Code::Unimplemented, "{name}");
    }
}

async fn who_guesses_is_slowed_down_and_nobody_else(engine: Engine) {
    let server = TestServer::start_with(engine, |settings| {
        settings.keys.refused_per_minute = 5;
        settings.trusted_proxies = "127.0.0.1".into();
    })
    .await;
    let channel = server.channel().await;
    let call = async |key: &str, from: &str| {
        let headers =
            [("authorization", raw::bearer(key)), ("x-forwarded-for", from.parse().unwrap())];
        let answer = raw::call_with(&channel, "AuditLogs/ListActions", headers, "").await;
        answer.map_err(|status| Refusal::of(&status)).map(|_| ())
    };
    let (attacker, other) = ("2001:db8::bad", "2001:db8:1::1");
    let known = server.key_with(&["schemas:read"], &[]).await;
    call(&known, attacker).await.unwrap();
    for number in 0..5 {
        let refusal = call(&format!("sk_guess_{number}"), attacker).await.unwrap_err();
        assert_eq!(refusal.reason, "API_KEY_INVALID");
    }
    // Another address of the same network is the same source.
    for from in [attacker, "2001:db8::beef"] {
        let refusal = call("sk_guess_6", from).await.unwrap_err();
        let told = (refusal.code, &*refusal.reason);
        assert_eq!(told, (Code::ResourceExhausted, "TOO_MANY_REFUSED_KEYS"));
    }
    // Keys that were seen go on working there, also after the service asks the database again.
    server.services.auth.forget();
    call(&known, attacker).await.unwrap();
    // From elsewhere a new key works at once.
    let new = server.key_with(&["schemas:read"], &[]).await;
    call(&new, other).await.unwrap();
    assert_eq!(call("sk_guess_7", other).await.unwrap_err().reason, "API_KEY_INVALID");
    // The same over HTTP.
    let answer = reqwest::Client::builder().build().unwrap();
    let answer = answer.get(format!("{}/audit_logs/actions", server.url)).bearer_auth("sk_guess_8");
    let answer = answer.header("x-forwarded-for", attacker).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers().contains_key("retry-after")),
        (429, true)
    );
    // A key that is revoked is as good as unknown.
    let keys = ApiKeysListRequest { limit: 100, ..ApiKeysListRequest::default() };
    let keys = server.keys().await.list(keys).await.unwrap().into_inner().api_keys;
    let id = keys.into_iter().find(|key| known.ends_with(&key.hint)).unwrap().id;
    server.keys().await.revoke(ApiKeysRevokeRequest { api_key_id: id }).await.unwrap();
    assert_eq!(call(&known, attacker).await.unwrap_err().reason, "API_KEY_INVALID");
    assert_eq!(call(&known, attacker).await.unwrap_err().reason, "TOO_MANY_REFUSED_KEYS");
}
