//! What a key must have for what: the one table of operations, their RPCs and HTTP routes, the scope
//! that each takes, and what a key that is limited to some organizations gets of it. Services hold
//! callers against it (`service::permit`); `tests/it/tenancy/permissions.rs` holds it against the
//! contract, the routes and the documentation, and against what a server answers.

use super::api_key::Scope;

/// What a key that is limited to some organizations gets of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The operation is about an organization, or about something of one: one that the key cannot see is
    /// not found, as if there were none.
    Organization,
    /// A list has what belongs to the key's organizations.
    Listed,
    /// The operation is about what all organizations of the environment share: any key of it may.
    Environment,
    /// The operation is about the whole environment: a limited key may not. Says what it cannot do.
    Unlimited(&'static str),
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// The RPC with its service, such as `ApiKeys/Create`; `None` if there is none.
    pub rpc: Option<&'static str>,
    /// The scope that it takes.
    pub scope: Scope,
    /// What a limited key gets of it.
    pub reach: Reach,
    /// The same over HTTP: methods and paths.
    pub routes: &'static [&'static str],
}

macro_rules! permissions {
    ($($operation:ident: $rpc:expr, $scope:ident, $reach:expr, [$($route:literal),*];)*) => {
        /// Something that a key may allow.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the contract describes them under the names of the RPCs")]
        pub enum Operation {
            $($operation,)*
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &[Self] = &[$(Self::$operation),*];

            /// Its row of the table.
            pub const fn permission(self) -> Permission {
                match self {
                    $(Self::$operation => Permission {
                        rpc: $rpc,
                        scope: Scope::$scope,
                        reach: $reach,
                        routes: &[$($route),*],
                    },)*
                }
            }
        }
    };
}

/// Routes that take no key: they tell nothing of tenants, or a signed link is its own credential.
pub const OPEN_ROUTES: [&str; 4] =
    ["GET /healthz", "GET /readyz", "GET /openapi.json", "GET /v1/exports/download/{id}"];

const MANAGE_KEYS: Reach = Reach::Unlimited("manage keys");
const CREATE_ORGANIZATIONS: Reach = Reach::Unlimited("create organizations");

use Reach::{Environment, Listed, Organization};

permissions! {
    CreateEvent: Some("AuditLogs/CreateEvent"), EventsWrite, Organization,
        ["POST /audit_logs/events"];
    BatchCreateEvents: Some("AuditLogs/BatchCreateEvents"), EventsWrite, Organization,
        ["POST /v1/events:batch", "POST /v1/events%3Abatch"];
    IngestEvents: Some("AuditLogs/IngestEvents"), EventsWrite, Organization, [];
    GetEvent: Some("AuditLogs/GetEvent"), EventsRead, Organization, ["GET /v1/events/{event_id}"];
    ListEvents: Some("AuditLogs/ListEvents"), EventsRead, Organization, ["GET /v1/events"];
    WatchEvents: Some("AuditLogs/WatchEvents"), EventsRead, Organization, [];
    CreateActionSchema: Some("AuditLogs/CreateActionSchema"), SchemasWrite, Environment,
        ["POST /audit_logs/actions/{action_name}/schemas"];
    ListActions: Some("AuditLogs/ListActions"), SchemasRead, Environment,
        ["GET /audit_logs/actions"];
    ListActionSchemas: Some("AuditLogs/ListActionSchemas"), SchemasRead, Environment,
        ["GET /audit_logs/actions/{action_name}/schemas"];
    CreateExport: Some("AuditLogs/CreateExport"), Exports, Organization,
        ["POST /audit_logs/exports"];
    GetExport: Some("AuditLogs/GetExport"), Exports, Organization,
        ["GET /audit_logs/exports/{export_id}"];
    ListExports: Some("AuditLogs/ListExports"), Exports, Listed, [];
    CancelExport: Some("AuditLogs/CancelExport"), Exports, Organization, [];
    GetCheckpoint: Some("TransparencyLog/GetCheckpoint"), EventsRead, Organization,
        ["GET /tlog/{organization}/checkpoint"];
    GetInclusionProof: Some("TransparencyLog/GetInclusionProof"), EventsRead, Organization, [];
    GetConsistencyProof: Some("TransparencyLog/GetConsistencyProof"), EventsRead, Organization, [];
    GetPublicKey: Some("TransparencyLog/GetPublicKey"), EventsRead, Organization, [];
    ReadTile: None, EventsRead, Organization, ["GET /tlog/{organization}/tile/{path}"];
    CreateOrganization: Some("Organizations/Create"), Organizations, CREATE_ORGANIZATIONS,
        ["POST /organizations"];
    GetOrganization: Some("Organizations/Get"), Organizations, Organization,
        ["GET /organizations/{id}"];
    GetOrganizationByExternalId: Some("Organizations/GetByExternalId"), Organizations, Organization,
        ["GET /organizations/external_id/{external_id}"];
    UpdateOrganization: Some("Organizations/Update"), Organizations, Organization,
        ["PUT /organizations/{id}"];
    ListOrganizations: Some("Organizations/List"), Organizations, Listed, ["GET /organizations"];
    DeleteOrganization: Some("Organizations/Delete"), Organizations, Organization,
        ["DELETE /organizations/{id}", "DELETE /Organizations/{id}"];
    GetRetention: Some("Organizations/GetRetention"), Organizations, Organization,
        ["GET /organizations/{id}/audit_logs_retention"];
    UpdateRetention: Some("Organizations/UpdateRetention"), Organizations, Organization,
        ["PUT /organizations/{id}/audit_logs_retention"];
    PlaceLegalHold: Some("Organizations/PlaceLegalHold"), Organizations, Organization, [];
    ReleaseLegalHold: Some("Organizations/ReleaseLegalHold"), Organizations, Organization, [];
    GetAuditLogConfiguration: Some("Organizations/GetAuditLogConfiguration"), Organizations,
        Organization, ["GET /organizations/{id}/audit_log_configuration"];
    CreateLogStream: Some("LogStreams/Create"), LogStreams, Organization, ["POST /v1/log_streams"];
    GetLogStream: Some("LogStreams/Get"), LogStreams, Organization,
        ["GET /v1/log_streams/{id}"];
    ListLogStreams: Some("LogStreams/List"), LogStreams, Listed, ["GET /v1/log_streams"];
    UpdateLogStream: Some("LogStreams/Update"), LogStreams, Organization,
        ["PUT /v1/log_streams/{id}"];
    DeleteLogStream: Some("LogStreams/Delete"), LogStreams, Organization,
        ["DELETE /v1/log_streams/{id}"];
    TestLogStream: Some("LogStreams/Test"), LogStreams, Organization,
        ["POST /v1/log_streams/{id}:test"];
    PauseLogStream: Some("LogStreams/Pause"), LogStreams, Organization,
        ["POST /v1/log_streams/{id}:pause"];
    ResumeLogStream: Some("LogStreams/Resume"), LogStreams, Organization,
        ["POST /v1/log_streams/{id}:resume"];
    ReplayLogStream: Some("LogStreams/Replay"), LogStreams, Organization,
        ["POST /v1/log_streams/{id}:replay"];
    GetLogStreamStatus: Some("LogStreams/GetStatus"), LogStreams, Organization,
        ["GET /v1/log_streams/{id}/status"];
    ListDeadLetters: Some("LogStreams/ListDeadLetters"), LogStreams, Organization,
        ["GET /v1/log_streams/{id}/dead_letters"];
    RedriveDeadLetters: Some("LogStreams/RedriveDeadLetters"), LogStreams, Organization,
        ["POST /v1/log_streams/{id}/dead_letters:redrive",
         "POST /v1/log_streams/{id}/dead_letters%3Aredrive"];
    CreateApiKey: Some("ApiKeys/Create"), Keys, MANAGE_KEYS, [];
    ListApiKeys: Some("ApiKeys/List"), Keys, MANAGE_KEYS, [];
    RevokeApiKey: Some("ApiKeys/Revoke"), Keys, MANAGE_KEYS, [];
}
