//! Every RPC, through a real client: what it leaves in the system log.

use audit_logs::domain::api_key::Scope;
use audit_logs::proto::v1::{
    CancelExportRequest, GetExportRequest, ListEventsRequest, OrganizationsDeleteRequest,
    OrganizationsListRequest, SchemaTarget,
};
use prost::Message;

use super::{actor, id, location, recording, records, records_of, server, targets, text};
use crate::{
    support::{Engine, Refusal, TestServer, create_event, on_every_engine, schema_for},
    tenancy::{
        raw,
        world::{World, export_of},
    },
};

on_every_engine!(
    every_rpc_leaves_what_it_should,
    what_is_refused_or_changes_nothing_leaves_nothing,
    a_schema_and_a_cancelled_export_are_recorded,
    reading_the_system_log_is_recorded_once,
    the_system_log_is_for_readers_of_the_environment,
);

/// What a successful call leaves, by the name of the RPC; `None` for nothing.
fn expected(rpc: &str) -> Option<&'static str> {
    Some(match rpc {
        "AuditLogs/GetEvent" => "event.read",
        "AuditLogs/ListEvents" => "event.listed",
        "AuditLogs/WatchEvents" => "event.watched",
        "TransparencyLog/GetInclusionProof" => "event.proved",
        "AuditLogs/CreateExport" => "export.created",
        // The export of the world is ready: these hand out a link to its file.
        "AuditLogs/GetExport" | "AuditLogs/ListExports" | "AuditLogs/CancelExport" => {
            "export.link_issued"
        }
        "Organizations/Create" => "organization.created",
        "Organizations/Update" => "organization.updated",
        "Organizations/UpdateRetention" => "organization.retention_updated",
        "Organizations/PlaceLegalHold" => "organization.legal_hold_placed",
        "Organizations/ReleaseLegalHold" => "organization.legal_hold_released",
        "Organizations/Delete" => "organization.deleted",
        "LogStreams/Create" => "log_stream.created",
        "LogStreams/Update" => "log_stream.updated",
        "LogStreams/Test" => "log_stream.tested",
        "LogStreams/Pause" => "log_stream.paused",
        "LogStreams/Resume" => "log_stream.resumed",
        "LogStreams/Replay" => "log_stream.replayed",
        "LogStreams/Delete" => "log_stream.deleted",
        "ApiKeys/Create" => "api_key.created",
        "ApiKeys/Revoke" => "api_key.revoked",
        // Recording events is what tenants' logs are for; the rest hands out no event and changes
        // nothing. (This schema is there already, and no dead letter is.)
        _ => return None,
    })
}

async fn ready(world: &World) {
    let request = GetExportRequest { export_id: world.export_id.clone(), watch: Some(true) };
    let mut states = world.server.client().await.get_export(request).await.unwrap().into_inner();
    while states.message().await.unwrap().is_some() {}
}

async fn every_rpc_leaves_what_it_should(engine: Engine) {
    let world = World::create(server(engine).await).await;
    let server = &world.server;
    ready(&world).await;
    let channel = server.channel().await;
    let key = server.key_with(&Scope::ALL.map(Scope::as_str), &[]).await;
    let mut sent = Vec::new();
    for (number, named) in world.requests().into_iter().enumerate() {
        let id = format!("test-{number}");
        let headers = [
            ("authorization", raw::bearer(&key)),
            ("x-request-id", id.parse().unwrap()),
            ("x-forwarded-for", "203.0.113.7, 198.51.100.7".parse().unwrap()),
        ];
        let answer = raw::call_with(&channel, named.rpc, headers, named.message).await;
        answer.unwrap_or_else(|status| panic!("{}: {status:?}", named.rpc));
        sent.push((id, named.rpc));
    }
    // The first request of each RPC is about the world's things; others may find nothing.
    let first = |rpc: &str| &sent.iter().find(|(_, of)| *of == rpc).unwrap().0;
    let due = sent.iter().filter(|(id, rpc)| expected(rpc).is_some() && first(rpc) == id);
    let ids: Vec<_> = due.map(|(id, _)| id.as_str()).collect();
    let found = records_of(server, &ids).await;
    for (id, rpc) in &sent {
        let Some(record) = found.get(id) else { continue };
        assert_eq!(Some(record.action.as_str()), expected(rpc), "{rpc}");
        let (kind, who) = actor(record);
        assert!(kind == "api_key" && who.starts_with("api_key_"), "{rpc}: {kind} {who}");
        assert_ne!(who, world.api_key_id, "{rpc}");
        assert_eq!(location(record), "198.51.100.7", "{rpc}");
        let agent = &record.context.as_ref().unwrap().user_agent;
        assert!(agent.contains("tonic"), "{rpc}: {agent}");
        assert!(!targets(record).is_empty(), "{rpc}");
    }
    let of = |rpc: &str| &found[first(rpc)];
    let read = of("AuditLogs/GetEvent");
    assert_eq!(targets(read), [("organization", "acme"), ("event", &*world.event_id)]);
    let hold = of("Organizations/PlaceLegalHold");
    assert_eq!(text(hold, "reason").as_deref(), Some("a case"));
    let revoked = of("ApiKeys/Revoke");
    assert_eq!(targets(revoked), [("api_key", &*world.api_key_id), ("organization", "acme")]);
    let made = of("ApiKeys/Create");
    assert_eq!(text(made, "scopes").as_deref(), Some("keys"));
    // None of what events say, and no key.
    let all = format!("{:?}", records(server).await);
    assert!(!all.contains("doc_1") && !all.contains("Mira") && !all.contains(&key));
}

async fn what_is_refused_or_changes_nothing_leaves_nothing(engine: Engine) {
    let world = World::create(server(engine).await).await;
    let server = &world.server;
    let other = server.key_in("other").await;
    let channel = server.channel().await;
    for named in world.requests() {
        if named.not_found.is_none() {
            continue;
        }
        let headers = [
            ("authorization", raw::bearer(&other)),
            ("x-request-id", "test-refused".parse().unwrap()),
        ];
        raw::call_with(&channel, named.rpc, headers, named.message).await.unwrap_err();
    }
    // A release where nothing is held, and a key that is revoked again.
    let found = records_of(server, &[]).await;
    assert!(found.is_empty(), "{found:?}");
}

async fn a_schema_and_a_cancelled_export_are_recorded(engine: Engine) {
    // Nobody writes exports here: they stay pending.
    let idle = |settings: &mut audit_logs::config::Settings| {
        recording(settings);
        settings.exports.workers = 0;
    };
    let server = TestServer::start_with(engine, idle).await;
    let mut client = server.client().await;
    let mut second = schema_for("doc.read");
    client.create_action_schema(second.clone()).await.unwrap();
    second.targets.push(SchemaTarget { r#type: "invoice".into(), metadata: None });
    client.create_action_schema(second.clone()).await.unwrap();
    client.create_action_schema(second).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let export = client.create_export(export_of("acme")).await.unwrap().into_inner();
    let export_id = export.export.unwrap().id;
    for _ in 0..2 {
        let request = CancelExportRequest { export_id: export_id.clone() };
        client.cancel_export(request).await.unwrap();
    }
    let all = records(&server).await;
    let actions: Vec<_> = all.iter().map(|event| event.action.as_str()).collect();
    // The key that the operator brought is the first record.
    let made = ["api_key.created", "action_schema.created", "action_schema.created"];
    assert_eq!(actions[..5], [&made[..], &["export.created", "export.cancelled"]].concat());
    assert_eq!(actor(&all[0]), ("system", "audit-logs"));
    assert_eq!(
        (targets(&all[1]), targets(&all[2])),
        (vec![("action", "doc.read")], targets(&all[1]))
    );
    let about = [("export", &*export_id), ("organization", "acme")];
    assert_eq!((targets(&all[3]), targets(&all[4])), (about.to_vec(), about.to_vec()));
    assert_eq!(text(&all[3], "format").as_deref(), Some("csv"));
    // A direct connection is its own address.
    assert_eq!(location(&all[3]), "127.0.0.1");
}

async fn reading_the_system_log_is_recorded_once(engine: Engine) {
    let server = server(engine).await;
    let channel = server.channel().await;
    let request = ListEventsRequest { organization_id: id(&server).await, ..Default::default() };
    for number in 0..3 {
        let headers = [
            ("authorization", raw::bearer(crate::support::server::ROOT_KEY)),
            ("x-request-id", format!("test-{number}").parse().unwrap()),
        ];
        let message = request.encode_to_vec();
        raw::call_with(&channel, "AuditLogs/ListEvents", headers, message).await.unwrap();
    }
    let found = records_of(&server, &["test-0", "test-1", "test-2"]).await;
    assert_eq!(found.len(), 3);
    let system = id(&server).await;
    assert!(found.values().all(|event| targets(event) == [("organization", &*system)]));
}

async fn the_system_log_is_for_readers_of_the_environment(engine: Engine) {
    let server = server(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let organization_id = id(&server).await;
    let list =
        || ListEventsRequest { organization_id: organization_id.clone(), ..Default::default() };
    let reader = server.key_with(&["events:read"], &[]).await;
    server.client_as(&reader).await.list_events(list()).await.unwrap();
    let limited = server.key_with(&["events:read"], &["acme"]).await;
    let other = server.key_in("other").await;
    for key in [limited, other] {
        let refused = server.client_as(&key).await.list_events(list()).await.unwrap_err();
        assert_eq!(Refusal::of(&refused).reason, "ORGANIZATION_NOT_FOUND");
    }
    let refused = client.create_event(create_event(&organization_id, "doc.read")).await;
    assert_eq!(Refusal::of(&refused.unwrap_err()).reason, "ORGANIZATION_RESERVED");
    let request = OrganizationsDeleteRequest { organization_id: organization_id.clone() };
    let refused = server.organizations().await.delete(request).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "ORGANIZATION_RESERVED");
    // It is no tenant, so it is not among them.
    let all = server
        .organizations()
        .await
        .list(OrganizationsListRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(all.organizations.iter().map(|o| &*o.id).collect::<Vec<_>>(), ["acme"]);
}
