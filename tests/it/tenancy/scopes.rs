//! What a key may do. The scope of each RPC is taken from its comment in the contract.

use std::collections::BTreeMap;

use audit_logs::domain::api_key::Scope;
use bytes::Bytes;
use prost_reflect::MethodDescriptor;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{raw, world::World};
use crate::support::{Engine, Refusal, TestServer, on_every_engine};

on_every_engine!(without_its_scope_every_rpc_is_refused, with_its_scope_alone_every_rpc_succeeds);

/// The scope that the contract states for an RPC, or else for its whole service.
pub fn scope_of(method: &MethodDescriptor) -> &'static str {
    let file = method.parent_file();
    let source = file.file_descriptor_proto().source_code_info.as_ref().unwrap();
    let comment = |path: &[i32]| {
        let location = source.location.iter().find(|location| location.path == path);
        location.and_then(|location| location.leading_comments.clone()).unwrap_or_default()
    };
    let stated = |comment: String| {
        // A line may break after the word.
        let comment = comment.split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, rest) = comment.split_once("Scope `")?;
        Some(rest.split_once('`')?.0.to_owned())
    };
    let place = |found: Option<usize>| i32::try_from(found.unwrap()).unwrap();
    let service = method.parent_service();
    // Service is the sixth field of a file, method the second of a service.
    let path = [
        6,
        place(file.services().position(|other| other == *service)),
        2,
        place(service.methods().position(|other| other == *method)),
    ];
    let name = stated(comment(&path)).or_else(|| stated(comment(&path[..2])));
    let name = name.unwrap_or_else(|| panic!("{} states no scope", method.full_name()));
    Scope::from_name(&name).unwrap_or_else(|| panic!("{name} is no scope")).as_str()
}

/// The scope of each RPC by its name.
fn scopes() -> BTreeMap<String, &'static str> {
    raw::methods().iter().map(|method| (raw::name(method), scope_of(method))).collect()
}

async fn keys(
    server: &TestServer,
    chosen: impl Fn(Scope, Scope) -> bool,
) -> BTreeMap<&str, String> {
    let mut keys = BTreeMap::new();
    for scope in Scope::ALL {
        let scopes = Scope::ALL.into_iter().filter(|other| chosen(scope, *other));
        let scopes: Vec<_> = scopes.map(Scope::as_str).collect();
        keys.insert(scope.as_str(), server.key_with(&scopes, &[]).await);
    }
    keys
}

/// How a refusal differs from that of a key without the scope.
fn difference(status: &Status, scope: &str) -> Option<String> {
    let refusal = Refusal::of(status);
    let details = status.get_error_details();
    let told = details.error_info().and_then(|info| info.metadata.get("scope").cloned());
    let right = refusal.code == Code::PermissionDenied
        && refusal.reason == "SCOPE_MISSING"
        && told.as_deref() == Some(scope);
    (!right).then(|| format!("{refusal:?}, scope {told:?} instead of {scope}"))
}

async fn without_its_scope_every_rpc_is_refused(engine: Engine) {
    let world = World::create(TestServer::start(engine).await).await;
    let keys = keys(&world.server, |without, scope| scope != without).await;
    let channel = world.server.channel().await;
    let scopes = scopes();
    // A right request, and an empty one: whoever may not call learns nothing of the request.
    let empty = scopes.keys().map(|rpc| (rpc.as_str(), Bytes::new()));
    let requests = world.requests();
    let right = requests.iter().map(|named| (named.rpc, Bytes::from(named.message.clone())));
    let before = crate::refusals::stored(&world.server).await;
    let mut wrong = Vec::new();
    for (rpc, message) in empty.chain(right) {
        let scope = scopes[rpc];
        let what = if message.is_empty() { "empty" } else { "right" };
        match raw::call(&channel, rpc, Some(raw::bearer(&keys[scope])), message).await {
            Ok(()) => wrong.push(format!("{rpc} ({what}): accepted")),
            Err(status) => {
                let difference = difference(&status, scope);
                wrong.extend(difference.map(|difference| format!("{rpc} ({what}): {difference}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(crate::refusals::stored(&world.server).await, before);
}

async fn with_its_scope_alone_every_rpc_succeeds(engine: Engine) {
    let world = World::create(TestServer::start(engine).await).await;
    let keys = keys(&world.server, |only, scope| scope == only).await;
    let channel = world.server.channel().await;
    let scopes = scopes();
    for named in world.requests() {
        let key = raw::bearer(&keys[scopes[named.rpc]]);
        let answer = raw::call(&channel, named.rpc, Some(key), named.message).await;
        answer.unwrap_or_else(|status| panic!("{}: {status:?}", named.rpc));
    }
}
