//! The gRPC services of the contract.

mod api_keys;
mod audit_logs;
mod convert;
mod organizations;
mod values;

pub use self::{
    api_keys::ApiKeysService, audit_logs::AuditLogsService, organizations::OrganizationsService,
};
