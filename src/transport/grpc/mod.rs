//! The gRPC services of the contract.

mod api_keys;
mod audit_logs;
mod convert;
mod ingest;
mod log_streams;
mod organizations;
mod transparency_log;
mod values;
mod watch;

pub use self::{
    api_keys::ApiKeysService, audit_logs::AuditLogsService, convert::new_event,
    log_streams::LogStreamsService, organizations::OrganizationsService,
    transparency_log::TransparencyLogService,
};
