//! Requests that are refused before any service is asked, and those that a service refused.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{error_body::ErrorBody, json::JsonBody};
use crate::service::error::Error;

/// Why a request over HTTP was refused.
#[derive(Debug)]
pub enum Refusal {
    /// The body is no JSON object; the sentence says where.
    Body(String),
    /// The body is larger than this many bytes.
    TooLarge(usize),
    /// The body took too long to arrive.
    TooSlow,
    /// The path is gRPC's, and the request is not.
    NotGrpc,
    /// The path is not UTF-8.
    Path,
    /// There is no such path.
    UnknownPath,
    /// The path is not for this method.
    WrongMethod,
    /// The service refused.
    Service(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Service(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::Service(error) => return error.into_response(),
            Self::Body(why) => (StatusCode::BAD_REQUEST, "invalid_request_body", why),
            Self::TooLarge(limit) => {
                let message = format!("The body must have at most {limit} bytes.");
                (StatusCode::PAYLOAD_TOO_LARGE, "request_body_too_large", message)
            }
            Self::TooSlow => return too_slow(),
            Self::NotGrpc => {
                let message = "This path takes gRPC and gRPC-Web.".to_owned();
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_grpc", message)
            }
            Self::Path => {
                let message = "The path must be percent-encoded UTF-8.".to_owned();
                (StatusCode::BAD_REQUEST, "invalid_path", message)
            }
            Self::UnknownPath => {
                let message = "There is no such path.".to_owned();
                (StatusCode::NOT_FOUND, "not_found", message)
            }
            Self::WrongMethod => {
                let message = "The path does not take this method.".to_owned();
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
            }
        };
        answer(status, code, message)
    }
}

fn answer(status: StatusCode, code: &str, message: String) -> Response {
    let body = ErrorBody { code: code.to_owned(), message, errors: Vec::new() };
    (status, JsonBody(body)).into_response()
}

/// The rest of the body may still come: the connection is of no more use.
fn too_slow() -> Response {
    let message = "The body took too long to arrive; nothing was stored.".to_owned();
    let mut response = answer(StatusCode::REQUEST_TIMEOUT, "request_timeout", message);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
