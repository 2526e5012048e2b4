//! Callers of another environment.

use audit_logs::proto::v1::{
    ApiKeysListRequest, GetEventRequest, ListActionSchemasRequest, ListActionsRequest,
    ListEventsRequest, ListExportsRequest, OrganizationsCreateRequest, OrganizationsGetRequest,
    OrganizationsListRequest, SchemaTarget,
};
use tonic::{Code, Response, Status};

use super::{
    raw,
    world::{World, export_of},
};
use crate::{
    refusals::stored,
    support::{Engine, Refusal, TestServer, create_event, on_every_engine, schema_for},
};

on_every_engine!(
    what_belongs_to_another_environment_is_not_found,
    nothing_of_another_environment_is_found_through_ones_own,
    lists_hold_nothing_of_another_environment,
    an_event_for_another_environment_is_not_stored,
    an_unknown_organization_wins_over_an_unknown_action,
    an_id_taken_in_another_environment_is_taken,
    actions_of_two_environments_are_independent,
);

/// A world, and the key of another environment that has an action and the organization `theirs`.
async fn two_environments(engine: Engine) -> (World, String) {
    let world = World::create(TestServer::start(engine).await).await;
    let key = world.server.key_in("other").await;
    let mut client = world.server.client_as(&key).await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("theirs", "doc.read")).await.unwrap();
    (world, key)
}

fn assert_not_found<A: std::fmt::Debug>(answer: Result<Response<A>, Status>, reason: &str) {
    let refusal = Refusal::of(&answer.unwrap_err());
    assert_eq!((refusal.code, &*refusal.reason), (Code::NotFound, reason));
}

async fn what_belongs_to_another_environment_is_not_found(engine: Engine) {
    let (world, key) = two_environments(engine).await;
    let channel = world.server.channel().await;
    let before = stored(&world.server).await;
    let mut wrong = Vec::new();
    for named in world.requests() {
        let Some(reason) = named.not_found else { continue };
        let rpc = named.rpc;
        match raw::call(&channel, rpc, Some(raw::bearer(&key)), named.message.clone()).await {
            Ok(()) => wrong.push(format!("{rpc}: accepted")),
            Err(status) => {
                let refusal = Refusal::of(&status);
                if (refusal.code, &*refusal.reason) != (Code::NotFound, reason) {
                    wrong.push(format!("{rpc}: {refusal:?} instead of {reason}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(stored(&world.server).await, before);
    // Nothing was changed either: the owner can still do all of it.
    let changed = "SELECT COUNT(*) FROM organizations WHERE updated_at <> created_at";
    assert_eq!(world.server.query_integers(changed).await, [0]);
    let root = raw::bearer(crate::support::server::ROOT_KEY);
    for named in world.requests() {
        let answer = raw::call(&channel, named.rpc, Some(root.clone()), named.message).await;
        answer.unwrap_or_else(|status| panic!("{}: {status:?}", named.rpc));
    }
}

async fn nothing_of_another_environment_is_found_through_ones_own(engine: Engine) {
    let (world, key) = two_environments(engine).await;
    let mut client = world.server.client_as(&key).await;
    let organization_id = || "theirs".to_owned();
    let get =
        GetEventRequest { organization_id: organization_id(), event_id: world.event_id.clone() };
    assert_not_found(client.get_event(get).await, "EVENT_NOT_FOUND");
    let after = world.event_cursor.clone();
    let list =
        ListEventsRequest { organization_id: organization_id(), after, ..Default::default() };
    assert_not_found(client.list_events(list).await, "CURSOR_NOT_FOUND");
    let after = world.export_id.clone();
    let list =
        ListExportsRequest { organization_id: organization_id(), after, ..Default::default() };
    assert_not_found(client.list_exports(list).await, "CURSOR_NOT_FOUND");
}

async fn lists_hold_nothing_of_another_environment(engine: Engine) {
    let (world, key) = two_environments(engine).await;
    let mut client = world.server.client_as(&key).await;
    let export = client.create_export(export_of("theirs")).await.unwrap().into_inner().export;

    let list = ListActionsRequest { limit: 100, ..ListActionsRequest::default() };
    let actions = client.list_actions(list).await.unwrap().into_inner().actions;
    assert_eq!(actions.iter().map(|action| &*action.name).collect::<Vec<_>>(), ["doc.read"]);
    let list = ListExportsRequest { limit: 100, ..ListExportsRequest::default() };
    let exports = client.list_exports(list).await.unwrap().into_inner().exports;
    let ids = exports.into_iter().map(|export| export.id).collect::<Vec<_>>();
    assert_eq!(ids, [export.unwrap().id]);
    let list = ListEventsRequest { organization_id: "theirs".into(), ..Default::default() };
    let events = client.list_events(list).await.unwrap().into_inner().events;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].organization_id, "theirs");
    let mut organizations = world.server.organizations_as(&key).await;
    let list = OrganizationsListRequest { limit: 100, ..OrganizationsListRequest::default() };
    let organizations = organizations.list(list).await.unwrap().into_inner().organizations;
    assert_eq!(organizations.iter().map(|o| &*o.id).collect::<Vec<_>>(), ["theirs"]);
    let list = ApiKeysListRequest { limit: 100, ..ApiKeysListRequest::default() };
    let keys = world.server.keys_as(&key).await.list(list).await.unwrap().into_inner().api_keys;
    assert_eq!(keys.len(), 1);
    assert!(key.ends_with(&keys[0].hint));
}

async fn an_event_for_another_environment_is_not_stored(engine: Engine) {
    let (world, key) = two_environments(engine).await;
    let before = stored(&world.server).await;
    let mut client = world.server.client_as(&key).await;
    for _ in 0..2 {
        let answer = client.create_event(create_event("acme", "doc.read")).await;
        assert_not_found(answer, "ORGANIZATION_NOT_FOUND");
    }
    assert_eq!(stored(&world.server).await, before);
}

async fn an_unknown_organization_wins_over_an_unknown_action(engine: Engine) {
    let (world, key) = two_environments(engine).await;
    let before = stored(&world.server).await;
    let mut client = world.server.client_as(&key).await;
    let answer = client.create_event(create_event("acme", "no.such")).await;
    assert_not_found(answer, "ORGANIZATION_NOT_FOUND");
    assert_eq!(stored(&world.server).await, before);
}

async fn an_id_taken_in_another_environment_is_taken(engine: Engine) {
    let (world, key) = two_environments(engine).await;
    let mut organizations = world.server.organizations_as(&key).await;
    let request = OrganizationsCreateRequest {
        name: "Mine".into(),
        organization_id: "acme".into(),
        ..Default::default()
    };
    let refusal = Refusal::of(&organizations.create(request).await.unwrap_err());
    assert_eq!(refusal.code, Code::AlreadyExists);
    let get = OrganizationsGetRequest { organization_id: "acme".into() };
    assert_not_found(organizations.get(get.clone()).await, "ORGANIZATION_NOT_FOUND");
    let mut owner = world.server.organizations().await;
    assert_eq!(owner.get(get).await.unwrap().into_inner().organization.unwrap().name, "acme");
}

async fn actions_of_two_environments_are_independent(engine: Engine) {
    let (world, key) = two_environments(engine).await;
    let (mut ours, mut theirs) = (world.server.client().await, world.server.client_as(&key).await);
    let mut second = schema_for("doc.read");
    second.targets.push(SchemaTarget { r#type: "invoice".into(), metadata: None });
    let answer = ours.create_action_schema(second).await.unwrap().into_inner();
    assert_eq!(answer.schema.unwrap().version, 2);

    let list = ListActionSchemasRequest { action_name: "doc.read".into(), ..Default::default() };
    let versions = theirs.list_action_schemas(list).await.unwrap().into_inner().schemas;
    assert_eq!(versions.iter().map(|schema| schema.version).collect::<Vec<_>>(), [1]);
    let list = ListActionsRequest::default();
    let actions = theirs.list_actions(list).await.unwrap().into_inner().actions;
    assert_eq!(actions[0].schema.as_ref().unwrap().version, 1);
    // Their events know nothing of our second version, and it nothing of theirs.
    let mut event = create_event("theirs", "doc.read");
    event.event.as_mut().unwrap().version = 2;
    let refusal = Refusal::of(&theirs.create_event(event).await.unwrap_err());
    assert!(refusal.names("event.version", "UNKNOWN"), "{refusal:?}");
    let mut other = schema_for("doc.read");
    other.targets[0].r#type = "folder".into();
    let answer = theirs.create_action_schema(other).await.unwrap().into_inner();
    assert_eq!(answer.schema.unwrap().version, 2);
    let mut event = create_event("acme", "doc.read");
    event.event.as_mut().unwrap().version = 2;
    let refusal = Refusal::of(&ours.create_event(event).await.unwrap_err());
    assert!(refusal.names("event.targets", "SCHEMA_MISMATCH"), "{refusal:?}");
    ours.create_event(create_event("acme", "doc.read")).await.unwrap();
}
