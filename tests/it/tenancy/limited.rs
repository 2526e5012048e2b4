//! Keys that are limited to some organizations of their environment.

use audit_logs::{
    domain::api_key::Scope,
    proto::v1::{
        GetEventRequest, ListEventsRequest, ListExportsRequest, ListMetadata,
        OrganizationsDeleteRequest, OrganizationsListRequest,
    },
};
use tonic::Code;

use super::{
    raw,
    world::{Named, World, export_of},
};
use crate::{
    refusals::stored,
    support::{Engine, Refusal, TestServer, create_event, on_every_engine},
};

on_every_engine!(
    other_organizations_are_not_found,
    its_own_organizations_are_served,
    lists_hold_nothing_of_other_organizations,
    it_cannot_register_an_organization,
    a_deleted_organization_does_not_open_the_others,
);

/// A world, and a key with every scope that sees only the organization `beta`.
async fn limited_to_beta(engine: Engine) -> (World, String) {
    let world = World::create(TestServer::start(engine).await).await;
    let scopes = Scope::ALL.map(Scope::as_str);
    let key = world.server.key_with(&scopes, &["beta"]).await;
    (world, key)
}

/// How a request that is about acme ends for a key that is limited to beta.
fn expected(named: &Named) -> Option<(Code, &'static str)> {
    let limited = Some((Code::PermissionDenied, "KEY_LIMITED_TO_ORGANIZATIONS"));
    match named.rpc {
        // These are about the whole environment.
        "ApiKeys/Create" | "ApiKeys/List" | "ApiKeys/Revoke" | "Organizations/Create" => limited,
        // Actions belong to the environment, not to an organization.
        "AuditLogs/CreateActionSchema"
        | "AuditLogs/ListActions"
        | "AuditLogs/ListActionSchemas" => None,
        _ => named.not_found.map(|reason| (Code::NotFound, reason)),
    }
}

async fn other_organizations_are_not_found(engine: Engine) {
    let (world, key) = limited_to_beta(engine).await;
    let channel = world.server.channel().await;
    let before = stored(&world.server).await;
    let mut wrong = Vec::new();
    for named in world.requests() {
        let answer = raw::call(&channel, named.rpc, Some(raw::bearer(&key)), named.message.clone());
        let told = answer.await.map_err(|status| {
            let refusal = Refusal::of(&status);
            (refusal.code, refusal.reason)
        });
        let told = told.as_ref().err().map(|(code, reason)| (*code, reason.as_str()));
        if told != expected(&named) {
            wrong.push(format!("{}: {told:?} instead of {:?}", named.rpc, expected(&named)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(stored(&world.server).await, before);
    let changed = "SELECT COUNT(*) FROM organizations WHERE updated_at <> created_at";
    assert_eq!(world.server.query_integers(changed).await, [0]);
}

async fn its_own_organizations_are_served(engine: Engine) {
    let (world, key) = limited_to_beta(engine).await;
    let mut client = world.server.client_as(&key).await;
    client.create_event(create_event("beta", "doc.read")).await.unwrap();
    let export = client.create_export(export_of("beta")).await.unwrap().into_inner().export;
    let request = audit_logs::proto::v1::GetExportRequest {
        export_id: export.unwrap().id,
        watch: Some(false),
    };
    client.get_export(request).await.unwrap().into_inner().message().await.unwrap().unwrap();
    let request = OrganizationsDeleteRequest { organization_id: "beta".into() };
    world.server.organizations_as(&key).await.delete(request).await.unwrap();
}

async fn lists_hold_nothing_of_other_organizations(engine: Engine) {
    let (world, key) = limited_to_beta(engine).await;
    let mut client = world.server.client_as(&key).await;
    let export = client.create_export(export_of("beta")).await.unwrap().into_inner().export;
    let list = ListExportsRequest { limit: 100, ..ListExportsRequest::default() };
    let exports = client.list_exports(list).await.unwrap().into_inner().exports;
    let ids = exports.into_iter().map(|export| export.id).collect::<Vec<_>>();
    assert_eq!(ids, [export.unwrap().id]);
    let list = OrganizationsListRequest { limit: 100, ..OrganizationsListRequest::default() };
    let mut organizations = world.server.organizations_as(&key).await;
    let page = organizations.list(list).await.unwrap().into_inner();
    assert_eq!(page.organizations.iter().map(|o| &*o.id).collect::<Vec<_>>(), ["beta"]);
    assert_eq!(page.list_metadata.unwrap_or_default(), ListMetadata::default());
    let list = ListEventsRequest { organization_id: "beta".into(), ..Default::default() };
    let events = client.list_events(list).await.unwrap().into_inner().events;
    assert!(events.iter().all(|record| record.organization_id == "beta") && events.len() == 1);
    // Another organization's event is not found through one's own.
    let request =
        GetEventRequest { organization_id: "beta".into(), event_id: world.event_id.clone() };
    let refusal = Refusal::of(&client.get_event(request).await.unwrap_err());
    assert_eq!(&*refusal.reason, "EVENT_NOT_FOUND");
}

async fn it_cannot_register_an_organization(engine: Engine) {
    let (world, key) = limited_to_beta(engine).await;
    let before = stored(&world.server).await;
    let mut client = world.server.client_as(&key).await;
    let refused = client.create_event(create_event("gamma", "doc.read")).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "ORGANIZATION_NOT_FOUND");
    assert_eq!(stored(&world.server).await, before);
}

async fn a_deleted_organization_does_not_open_the_others(engine: Engine) {
    let (world, key) = limited_to_beta(engine).await;
    let request = OrganizationsDeleteRequest { organization_id: "beta".into() };
    world.server.organizations().await.delete(request).await.unwrap();
    let list = OrganizationsListRequest { limit: 100, ..OrganizationsListRequest::default() };
    let mut organizations = world.server.organizations_as(&key).await;
    assert!(organizations.list(list).await.unwrap().into_inner().organizations.is_empty());
    let mut client = world.server.client_as(&key).await;
    let list = ListExportsRequest { limit: 100, ..ListExportsRequest::default() };
    assert!(client.list_exports(list).await.unwrap().into_inner().exports.is_empty());
    for organization in ["acme", "beta"] {
        let answer = client.create_event(create_event(organization, "doc.read")).await;
        assert_eq!(Refusal::of(&answer.unwrap_err()).reason, "ORGANIZATION_NOT_FOUND");
    }
}
