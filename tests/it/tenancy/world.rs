//! A tenant with one of everything, and a right request of every RPC that names its things.

use audit_logs::proto::v1::{
    ApiKeysCreateRequest, ApiKeysListRequest, ApiKeysRevokeRequest, BatchCreateEventsRequest,
    CancelExportRequest, CreateExportRequest, GenericHttpsDestination,
    GetAuditLogConfigurationRequest, GetCheckpointRequest, GetConsistencyProofRequest,
    GetEventRequest, GetExportRequest, GetInclusionProofRequest, GetPublicKeyRequest,
    GetRetentionRequest, IngestEventsRequest, IngestItem, ListActionSchemasRequest,
    ListActionsRequest, ListEventsRequest, ListExportsRequest, LogStreamDestination,
    LogStreamsCreateRequest, LogStreamsDeleteRequest, LogStreamsGetRequest,
    LogStreamsGetStatusRequest, LogStreamsListDeadLettersRequest, LogStreamsListRequest,
    LogStreamsPauseRequest, LogStreamsRedriveDeadLettersRequest, LogStreamsReplayRequest,
    LogStreamsResumeRequest, LogStreamsTestRequest, LogStreamsUpdateRequest,
    OrganizationsCreateRequest, OrganizationsDeleteRequest, OrganizationsGetByExternalIdRequest,
    OrganizationsGetRequest, OrganizationsListRequest, OrganizationsUpdateRequest,
    PlaceLegalHoldRequest, ReleaseLegalHoldRequest, UpdateRetentionRequest, WatchEventsRequest,
    get_inclusion_proof_request::Event, log_stream_destination::Kind,
    log_streams_replay_request::Start,
};
use prost::Message;

use super::raw;
use crate::support::{TestServer, at, create_event, schema_for};

/// What the organization `acme` of the default environment has.
pub struct World {
    pub server: TestServer,
    pub event_id: String,
    pub event_cursor: String,
    pub export_id: String,
    pub api_key_id: String,
    pub action_cursor: String,
    pub organization_cursor: String,
    pub log_stream_id: String,
}

/// A right request.
pub struct Named {
    /// The name of the RPC.
    pub rpc: &'static str,
    pub message: Vec<u8>,
    /// The reason for which a caller is refused who cannot see what it names; `None` if it names
    /// nothing that is there.
    pub not_found: Option<&'static str>,
}

fn named(rpc: &'static str, message: &impl Message, not_found: &'static str) -> Named {
    Named { rpc, message: message.encode_to_vec(), not_found: Some(not_found) }
}

const NO_ORGANIZATION: &str = "ORGANIZATION_NOT_FOUND";
/// The external id of acme.
pub const EXTERNAL_ID: &str = "customer 1";
const NO_CURSOR: &str = "CURSOR_NOT_FOUND";

pub fn export_of(organization: &str) -> CreateExportRequest {
    CreateExportRequest {
        organization_id: organization.into(),
        range_start: Some(at("2026-01-01T00:00:00Z")),
        range_end: Some(at("2026-12-31T00:00:00Z")),
        ..CreateExportRequest::default()
    }
}

/// A stream to a receiver that no resolver knows (RFC 2606, section 2).
pub fn stream_of(organization: &str) -> LogStreamsCreateRequest {
    let kind = Kind::GenericHttps(GenericHttpsDestination {
        url: "https://receiver.invalid/events".into(),
        ..Default::default()
    });
    LogStreamsCreateRequest {
        organization_id: organization.into(),
        destination: Some(LogStreamDestination { kind: Some(kind), ..Default::default() }),
        ..Default::default()
    }
}

impl World {
    /// Makes everything where events register no organizations.
    pub async fn with_organizations(server: TestServer) -> Self {
        let beta = OrganizationsCreateRequest {
            name: "beta".into(),
            organization_id: "beta".into(),
            ..Default::default()
        };
        Self::create_with(server, Some(beta)).await
    }

    /// Makes everything.
    pub async fn create(server: TestServer) -> Self {
        Self::create_with(server, None).await
    }

    /// The same, with another organization that is created after acme.
    async fn create_with(server: TestServer, other: Option<OrganizationsCreateRequest>) -> Self {
        let mut client = server.client().await;
        for action in ["doc.read", "doc.secret"] {
            client.create_action_schema(schema_for(action)).await.unwrap();
        }
        let acme = OrganizationsCreateRequest {
            name: "acme".into(),
            organization_id: "acme".into(),
            external_id: EXTERNAL_ID.into(),
            ..Default::default()
        };
        server.organizations().await.create(acme).await.unwrap();
        if let Some(other) = other {
            server.organizations().await.create(other).await.unwrap();
        }
        let created = client.create_event(create_event("acme", "doc.read")).await.unwrap();
        client.create_event(create_event("acme", "doc.secret")).await.unwrap();
        client.create_event(create_event("beta", "doc.read")).await.unwrap();
        let export = client.create_export(export_of("acme")).await.unwrap().into_inner();
        let request = ListEventsRequest {
            organization_id: "acme".into(),
            limit: 1,
            ..ListEventsRequest::default()
        };
        let events = client.list_events(request).await.unwrap().into_inner();
        let request = ListActionsRequest { limit: 1, ..ListActionsRequest::default() };
        let actions = client.list_actions(request).await.unwrap().into_inner();
        // Ascending, so that the cursor is that of acme.
        let request = OrganizationsListRequest { limit: 1, order: 1, ..Default::default() };
        let organizations = server.organizations().await.list(request).await.unwrap().into_inner();
        assert_eq!(organizations.organizations[0].id, "acme");
        let request = ApiKeysCreateRequest {
            name: "acme's".into(),
            scopes: vec!["events:write".into()],
            organization_ids: vec!["acme".into()],
        };
        let key = server.keys().await.create(request).await.unwrap().into_inner();
        let stream = server.log_streams().await.create(stream_of("acme")).await.unwrap();
        Self {
            event_id: created.into_inner().event_id,
            event_cursor: events.list_metadata.unwrap().after,
            export_id: export.export.unwrap().id,
            api_key_id: key.api_key.unwrap().id,
            action_cursor: actions.list_metadata.unwrap().after,
            organization_cursor: organizations.list_metadata.unwrap().after,
            log_stream_id: stream.into_inner().log_stream.unwrap().id,
            server,
        }
    }

    /// A right request of each RPC, more where it can name more. In an order in which all of them
    /// succeed.
    pub fn requests(&self) -> Vec<Named> {
        let mut all = self.event_requests();
        all.extend(self.export_requests());
        all.extend(self.proof_requests());
        all.extend(self.key_requests());
        all.extend(self.log_stream_requests());
        all.extend(self.organization_requests());
        let mut rpcs: Vec<_> = all.iter().map(|named| named.rpc).collect();
        rpcs.sort_unstable();
        rpcs.dedup();
        let mut expected: Vec<_> = raw::methods().iter().map(raw::name).collect();
        expected.sort();
        assert_eq!(rpcs, expected, "each RPC needs a request");
        all
    }

    fn event_requests(&self) -> Vec<Named> {
        let organization_id = || "acme".to_owned();
        let batch = BatchCreateEventsRequest {
            requests: vec![create_event("acme", "doc.read")],
            atomic: true,
        };
        let item = IngestItem { number: 1, request: Some(create_event("acme", "doc.read")) };
        let ingest = IngestEventsRequest { items: vec![item] };
        let get =
            GetEventRequest { organization_id: organization_id(), event_id: self.event_id.clone() };
        let list = ListEventsRequest {
            organization_id: organization_id(),
            ..ListEventsRequest::default()
        };
        let next = ListEventsRequest { after: self.event_cursor.clone(), ..list.clone() };
        let watch = WatchEventsRequest { organization_id: organization_id(), ..Default::default() };
        let actions =
            ListActionsRequest { after: self.action_cursor.clone(), ..Default::default() };
        let schemas = ListActionSchemasRequest {
            action_name: "doc.secret".into(),
            ..ListActionSchemasRequest::default()
        };
        let schema = schema_for("doc.read").encode_to_vec();
        vec![
            named("AuditLogs/CreateEvent", &create_event("acme", "doc.read"), NO_ORGANIZATION),
            named("AuditLogs/BatchCreateEvents", &batch, NO_ORGANIZATION),
            named("AuditLogs/IngestEvents", &ingest, NO_ORGANIZATION),
            named("AuditLogs/GetEvent", &get, NO_ORGANIZATION),
            named("AuditLogs/ListEvents", &list, NO_ORGANIZATION),
            named("AuditLogs/ListEvents", &next, NO_ORGANIZATION),
            named("AuditLogs/WatchEvents", &watch, NO_ORGANIZATION),
            Named { rpc: "AuditLogs/CreateActionSchema", message: schema, not_found: None },
            named("AuditLogs/ListActions", &actions, NO_CURSOR),
            named("AuditLogs/ListActionSchemas", &schemas, "ACTION_NOT_FOUND"),
        ]
    }

    fn export_requests(&self) -> Vec<Named> {
        let export_id = || self.export_id.clone();
        let watch = GetExportRequest { export_id: export_id(), watch: Some(true) };
        let cancel = CancelExportRequest { export_id: export_id() };
        let look = GetExportRequest { export_id: export_id(), watch: Some(false) };
        let list =
            ListExportsRequest { organization_id: "acme".into(), ..ListExportsRequest::default() };
        let before = ListExportsRequest { before: export_id(), ..ListExportsRequest::default() };
        let after = ListExportsRequest { after: export_id(), ..ListExportsRequest::default() };
        vec![
            named("AuditLogs/CreateExport", &export_of("acme"), NO_ORGANIZATION),
            named("AuditLogs/GetExport", &watch, "EXPORT_NOT_FOUND"),
            named("AuditLogs/GetExport", &look, "EXPORT_NOT_FOUND"),
            named("AuditLogs/CancelExport", &cancel, "EXPORT_NOT_FOUND"),
            named("AuditLogs/ListExports", &list, NO_ORGANIZATION),
            named("AuditLogs/ListExports", &before, NO_CURSOR),
            named("AuditLogs/ListExports", &after, NO_CURSOR),
        ]
    }

    fn proof_requests(&self) -> Vec<Named> {
        let organization_id = || "acme".to_owned();
        let checkpoint = GetCheckpointRequest { organization_id: organization_id() };
        let inclusion = |event| GetInclusionProofRequest {
            organization_id: organization_id(),
            event: Some(event),
            tree_size: None,
        };
        let by_id = inclusion(Event::EventId(self.event_id.clone()));
        let by_sequence = inclusion(Event::Sequence(0));
        let consistency = GetConsistencyProofRequest {
            organization_id: organization_id(),
            first_tree_size: 1,
            second_tree_size: None,
        };
        let keys = GetPublicKeyRequest { organization_id: organization_id() };
        vec![
            named("TransparencyLog/GetCheckpoint", &checkpoint, NO_ORGANIZATION),
            named("TransparencyLog/GetInclusionProof", &by_id, NO_ORGANIZATION),
            named("TransparencyLog/GetInclusionProof", &by_sequence, NO_ORGANIZATION),
            named("TransparencyLog/GetConsistencyProof", &consistency, NO_ORGANIZATION),
            named("TransparencyLog/GetPublicKey", &keys, NO_ORGANIZATION),
        ]
    }

    fn key_requests(&self) -> Vec<Named> {
        let api_key_id = || self.api_key_id.clone();
        let create = ApiKeysCreateRequest {
            name: "one more".into(),
            scopes: vec!["keys".into()],
            organization_ids: vec!["acme".into()],
        };
        let before = ApiKeysListRequest { before: api_key_id(), ..ApiKeysListRequest::default() };
        let after = ApiKeysListRequest { after: api_key_id(), ..ApiKeysListRequest::default() };
        let revoke = ApiKeysRevokeRequest { api_key_id: api_key_id() };
        vec![
            named("ApiKeys/Create", &create, NO_ORGANIZATION),
            named("ApiKeys/List", &before, NO_CURSOR),
            named("ApiKeys/List", &after, NO_CURSOR),
            named("ApiKeys/Revoke", &revoke, "API_KEY_NOT_FOUND"),
        ]
    }

    fn log_stream_requests(&self) -> Vec<Named> {
        let log_stream_id = || self.log_stream_id.clone();
        let list = LogStreamsListRequest { organization_id: "acme".into(), ..Default::default() };
        let before = LogStreamsListRequest { before: log_stream_id(), ..Default::default() };
        let after = LogStreamsListRequest { after: log_stream_id(), ..Default::default() };
        let get = LogStreamsGetRequest { log_stream_id: log_stream_id() };
        let update = LogStreamsUpdateRequest {
            log_stream_id: log_stream_id(),
            name: Some("renamed".into()),
            ..Default::default()
        };
        let test = LogStreamsTestRequest { log_stream_id: log_stream_id() };
        let pause = LogStreamsPauseRequest { log_stream_id: log_stream_id() };
        let resume = LogStreamsResumeRequest { log_stream_id: log_stream_id() };
        let replay = LogStreamsReplayRequest {
            log_stream_id: log_stream_id(),
            start: Some(Start::FromSequence(0)),
        };
        let status = |watch| LogStreamsGetStatusRequest {
            log_stream_id: log_stream_id(),
            watch: Some(watch),
        };
        let letters = LogStreamsListDeadLettersRequest {
            log_stream_id: log_stream_id(),
            ..Default::default()
        };
        let redrive = LogStreamsRedriveDeadLettersRequest {
            log_stream_id: log_stream_id(),
            ..Default::default()
        };
        let delete = LogStreamsDeleteRequest { log_stream_id: log_stream_id() };
        let unknown = "LOG_STREAM_NOT_FOUND";
        vec![
            named("LogStreams/Create", &stream_of("acme"), NO_ORGANIZATION),
            named("LogStreams/List", &list, NO_ORGANIZATION),
            named("LogStreams/List", &before, NO_CURSOR),
            named("LogStreams/List", &after, NO_CURSOR),
            named("LogStreams/Get", &get, unknown),
            named("LogStreams/Update", &update, unknown),
            named("LogStreams/Test", &test, unknown),
            named("LogStreams/Pause", &pause, unknown),
            named("LogStreams/Resume", &resume, unknown),
            named("LogStreams/Replay", &replay, unknown),
            named("LogStreams/GetStatus", &status(true), unknown),
            named("LogStreams/GetStatus", &status(false), unknown),
            named("LogStreams/ListDeadLetters", &letters, unknown),
            named("LogStreams/RedriveDeadLetters", &redrive, unknown),
            named("LogStreams/Delete", &delete, unknown),
        ]
    }

    fn organization_requests(&self) -> Vec<Named> {
        let organization_id = || "acme".to_owned();
        let create = OrganizationsCreateRequest { name: "New".into(), ..Default::default() };
        let cursor = || self.organization_cursor.clone();
        let before = OrganizationsListRequest { before: cursor(), ..Default::default() };
        let after = OrganizationsListRequest { after: cursor(), ..Default::default() };
        let get = OrganizationsGetRequest { organization_id: organization_id() };
        let by_external_id =
            OrganizationsGetByExternalIdRequest { external_id: EXTERNAL_ID.into() };
        let rename = OrganizationsUpdateRequest {
            organization_id: organization_id(),
            name: Some("Acme".into()),
            ..Default::default()
        };
        let retention = GetRetentionRequest { organization_id: organization_id() };
        let update = UpdateRetentionRequest {
            organization_id: organization_id(),
            retention_period_in_days: 30,
        };
        let configuration = GetAuditLogConfigurationRequest { organization_id: organization_id() };
        let hold =
            PlaceLegalHoldRequest { organization_id: organization_id(), reason: "a case".into() };
        let release = ReleaseLegalHoldRequest { organization_id: organization_id() };
        let delete = OrganizationsDeleteRequest { organization_id: organization_id() };
        vec![
            Named { rpc: "Organizations/Create", message: create.encode_to_vec(), not_found: None },
            named("Organizations/List", &before, NO_CURSOR),
            named("Organizations/List", &after, NO_CURSOR),
            named("Organizations/Get", &get, NO_ORGANIZATION),
            named("Organizations/GetByExternalId", &by_external_id, NO_ORGANIZATION),
            named("Organizations/Update", &rename, NO_ORGANIZATION),
            named("Organizations/GetRetention", &retention, NO_ORGANIZATION),
            named("Organizations/UpdateRetention", &update, NO_ORGANIZATION),
            named("Organizations/GetAuditLogConfiguration", &configuration, NO_ORGANIZATION),
            named("Organizations/PlaceLegalHold", &hold, NO_ORGANIZATION),
            named("Organizations/ReleaseLegalHold", &release, NO_ORGANIZATION),
            named("Organizations/Delete", &delete, NO_ORGANIZATION),
        ]
    }
}
