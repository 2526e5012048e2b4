//! The names that calls may have in metrics and spans: those of the program, and one for all others.

use std::{collections::HashMap, sync::Arc};

use axum::http::Method;
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;

use crate::proto::DESCRIPTORS;

/// What the semantic conventions call what is not known.
const OTHER: &str = "_OTHER";
/// For requests whose clients went away before they had all of the answer; no server sends it.
pub const CLIENT_GONE: u16 = 499;
/// For answers that the service broke off, whatever they began with.
pub const BROKEN: u16 = 500;

/// The RPCs that there are.
pub struct Methods {
    names: HashMap<Box<str>, Arc<str>>,
    other: Arc<str>,
}

impl Methods {
    /// Those that the service describes by reflection.
    pub fn known() -> Self {
        let mut names = HashMap::new();
        for descriptors in [
            DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            let set = FileDescriptorSet::decode(descriptors).unwrap_or_default();
            for file in &set.file {
                for service in &file.service {
                    for method in &service.method {
                        let name =
                            format!("{}.{}/{}", file.package(), service.name(), method.name());
                        names.insert(format!("/{name}").into(), name.into());
                    }
                }
            }
        }
        Self { names, other: OTHER.into() }
    }

    /// The name of what is called by a path.
    pub fn of(&self, path: &str) -> Arc<str> {
        self.names.get(path).unwrap_or(&self.other).clone()
    }
}

/// The name of an HTTP method.
pub fn http(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => OTHER,
    }
}

/// The name of a code (gRPC, "Status codes and their use in gRPC").
pub const fn code(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Whether the conventions count a code as a failure of the server.
pub const fn is_failure(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_has_a_name() {
        let methods = Methods::known();
        let create = methods.of("/auditlogs.v1.AuditLogs/CreateEvent");
        assert_eq!(&*create, "auditlogs.v1.AuditLogs/CreateEvent");
        assert_eq!(&*methods.of("/grpc.health.v1.Health/Check"), "grpc.health.v1.Health/Check");
        for path in ["", "/", "/auditlogs.v1.AuditLogs/sk_live_1", "auditlogs.v1.AuditLogs"] {
            assert_eq!(&*methods.of(path), OTHER);
        }
        assert_eq!(http(&Method::GET), "GET");
        assert_eq!(http(&Method::from_bytes(b"SECRET").unwrap()), OTHER);
    }
}
