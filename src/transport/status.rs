//! From service errors to statuses: the one table, for gRPC and for HTTP.

use std::{collections::HashMap, error::Error as _, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use prost::Message;
use tonic::{Code as GrpcCode, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::http::{
    error_body::{ErrorBody, FieldError},
    json::JsonBody,
};
use crate::{
    domain::violation::{Reason, Violation},
    service::{
        error::{Code, Error},
        watch::WatchEnd,
    },
    telemetry,
};

/// Domain of the reasons in `ErrorInfo`.
pub const DOMAIN: &str = "auditlogs";

/// How long to wait before a retry of what was unavailable or too much.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How long to wait before a retry.
fn retry_delay(error: &Error) -> Duration {
    match error {
        Error::RateLimited(wait) => *wait,
        _ => RETRY_DELAY,
    }
}

/// The code of a failure on either transport. WorkOS tells a request of the wrong shape (422) from
/// one that is wrong in what it says of its schema or range (400).
const fn codes(error: &Error) -> (GrpcCode, StatusCode) {
    match error.code() {
        Code::InvalidArgument => match error {
            Error::InvalidEvent(_) | Error::InvalidExportRange(_) => {
                (GrpcCode::InvalidArgument, StatusCode::BAD_REQUEST)
            }
            _ => (GrpcCode::InvalidArgument, StatusCode::UNPROCESSABLE_ENTITY),
        },
        Code::Unauthenticated => (GrpcCode::Unauthenticated, StatusCode::UNAUTHORIZED),
        Code::PermissionDenied => (GrpcCode::PermissionDenied, StatusCode::FORBIDDEN),
        Code::NotFound => (GrpcCode::NotFound, StatusCode::NOT_FOUND),
        // Not 409: some clients take that for a call to repeat.
        Code::AlreadyExists => (GrpcCode::AlreadyExists, StatusCode::UNPROCESSABLE_ENTITY),
        // 403, for the same reason.
        Code::FailedPrecondition => (GrpcCode::FailedPrecondition, StatusCode::FORBIDDEN),
        Code::ResourceExhausted => (GrpcCode::ResourceExhausted, StatusCode::TOO_MANY_REQUESTS),
        Code::Unavailable => (GrpcCode::Unavailable, StatusCode::SERVICE_UNAVAILABLE),
        Code::DeadlineExceeded => (GrpcCode::DeadlineExceeded, StatusCode::GATEWAY_TIMEOUT),
        Code::OutOfRange => (GrpcCode::OutOfRange, StatusCode::PAYLOAD_TOO_LARGE),
        Code::Internal => (GrpcCode::Internal, StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// What the caller is told. The cause of our own failures is for the log alone.
fn message(error: &Error) -> String {
    match error.code() {
        Code::Internal => "internal error; the service's log says more".to_owned(),
        _ => error.to_string(),
    }
}

/// Counts a failure, and logs what an operator must know of.
fn log(error: &Error) {
    telemetry::count_refusal(error.reason());
    let cause = error.source().map(ToString::to_string);
    match error.code() {
        Code::Internal => tracing::error!(%error, cause, "a call failed"),
        Code::Unavailable => tracing::warn!(%error, cause, "a call could not be served"),
        // Not what it says: it may repeat what the caller sent.
        _ => tracing::debug!(reason = error.reason(), "a call was refused"),
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        log(&error);
        let (code, _) = codes(&error);
        Self::with_error_details(code, message(&error), details(&error, []))
    }
}

/// The end of a stream that can be resumed: the error, and in `ErrorInfo.metadata` from where.
pub fn end_of_watch(end: &WatchEnd) -> Status {
    log(&end.error);
    let (code, _) = codes(&end.error);
    let next = ("next_sequence".to_owned(), end.next_sequence.to_string());
    Status::with_error_details(code, message(&end.error), details(&end.error, [next]))
}

/// The details of an error, with something beside what it says itself.
fn details<const N: usize>(error: &Error, beside: [(String, String); N]) -> ErrorDetails {
    let mut metadata = HashMap::from(beside);
    match error {
        Error::NotFound { field, .. } => {
            metadata.insert("field".to_owned(), field.to_string());
        }
        Error::AlreadyExists { field, .. } => {
            metadata.insert("field".to_owned(), (*field).to_owned());
        }
        Error::ScopeMissing(scope) => {
            metadata.insert("scope".to_owned(), scope.to_string());
        }
        _ => {}
    }
    let mut details = ErrorDetails::with_error_info(error.reason(), DOMAIN, metadata);
    if !error.violations().is_empty() {
        details.set_bad_request(error.violations().iter().map(violation).collect::<Vec<_>>());
    }
    match error {
        Error::NotFound { kind, id, .. } | Error::AlreadyExists { kind, id, .. } => {
            details.set_resource_info(kind.as_str(), id, "", message(error));
        }
        _ => {}
    }
    if error.is_temporary() {
        details.set_retry_info(Some(retry_delay(error)));
    }
    details
}

fn violation(violation: &Violation) -> FieldViolation {
    FieldViolation {
        field: violation.field.clone(),
        description: violation.description.clone(),
        reason: violation.reason.as_str().to_owned(),
        localized_message: None,
    }
}

/// Most bytes of the field violations of a whole batch. A client receives 4 MiB by default, and must
/// be able to read which of its events were stored.
const BATCH_DETAILS_BYTES: usize = 1_024 * 1_024;

/// Makes the errors of the items of one batch.
#[derive(Debug, Default)]
pub struct ItemStatuses {
    bytes: usize,
}

impl ItemStatuses {
    /// The error of one item: what a call of its own would have got, as long as there is room for the
    /// details; then only its reason and its message, which names the first field.
    pub fn of(&mut self, error: Error) -> tonic_types::Status {
        let status = Status::from(error);
        // The details are the whole message in its encoded form.
        self.bytes += status.details().len();
        let mut item = tonic_types::Status::decode(status.details()).unwrap_or_default();
        if self.bytes > BATCH_DETAILS_BYTES {
            item.details.retain(|detail| detail.type_url.ends_with("/google.rpc.ErrorInfo"));
        }
        item
    }
}

/// Makes the failures of the items of one batch over HTTP.
#[derive(Debug, Default)]
pub struct ItemFailures {
    bytes: usize,
}

impl ItemFailures {
    /// What a request of its own would have got, as long as there is room for the errors of fields.
    pub fn of(&mut self, error: &Error) -> (StatusCode, ErrorBody) {
        log(error);
        let mut body = error_body(error);
        let texts = body.errors.iter().map(|error| error.field.len() + error.message.len());
        self.bytes += texts.sum::<usize>();
        if self.bytes > BATCH_DETAILS_BYTES {
            body.errors.clear();
        }
        (codes(error).1, body)
    }
}

/// The body of a failure, as the WorkOS SDKs read it.
fn error_body(error: &Error) -> ErrorBody {
    let of_reason = || (error.reason().to_lowercase(), message(error));
    let (code, message) = match error {
        Error::InvalidRequest(_) | Error::AlreadyExists { .. } => {
            ("unprocessable_entity".into(), "Validation failed.".into())
        }
        Error::InvalidEvent(_) => (of_reason().0, "Invalid Audit Log event.".into()),
        Error::InvalidExportRange(_) => (of_reason().0, "Invalid date range".into()),
        Error::KeyMissing | Error::KeyRefused => ("unauthorized".into(), "Unauthorized".into()),
        Error::NotFound { .. } => ("entity_not_found".into(), format!("{}.", message(error))),
        Error::QueueFull | Error::TooManyRequests | Error::RateLimited(_) => {
            ("rate_limit_exceeded".into(), "Too many requests.".into())
        }
        _ => of_reason(),
    };
    ErrorBody { code, message, errors: field_errors(error) }
}

fn field_errors(error: &Error) -> Vec<FieldError> {
    match error {
        Error::AlreadyExists { field, .. } => {
            let taken = Violation::new(*field, Reason::AlreadyExists, message(error));
            vec![FieldError::new(&taken)]
        }
        Error::InvalidEvent(violations) => violations.iter().map(FieldError::of_schema).collect(),
        _ => error.violations().iter().map(FieldError::new).collect(),
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        log(&self);
        let (_, status) = codes(&self);
        let mut response = (status, JsonBody(error_body(&self))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if self.is_temporary() {
            let seconds = retry_delay(&self).as_secs().max(1).into();
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_says_over_http_when_to_come_again() {
        let response = Error::QueueFull.into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        // RFC 9110, section 10.2.3: seconds, as a whole number.
        let seconds = response.headers()[header::RETRY_AFTER].to_str().unwrap();
        assert!(seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{seconds}");
    }
}
