//! What a refusal says.

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Code, reason and field violations of a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// `ErrorInfo.reason`.
    pub reason: String,
    /// Field and reason of each violation.
    pub fields: Vec<(String, String)>,
}

impl Refusal {
    /// Reads a status. Fails the test unless it has an `ErrorInfo` of our domain and a message.
    pub fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
        assert_eq!(info.domain, "auditlogs");
        assert!(!status.message().is_empty());
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice());
        let fields = violations.unwrap_or_default().iter().map(|violation| {
            assert!(!violation.description.is_empty(), "{violation:?}");
            (violation.field.clone(), violation.reason.clone())
        });
        Self { code: status.code(), reason: info.reason.clone(), fields: fields.collect() }
    }

    /// Whether one violation is of that field and reason.
    pub fn names(&self, field: &str, reason: &str) -> bool {
        self.fields.iter().any(|(f, r)| f == field && r == reason)
    }
}
