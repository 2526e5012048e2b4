//! JSON answers.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::service::error::Error;

/// Some WorkOS SDKs read a body only if it says that it is JSON.
const CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// A JSON body.
pub struct JsonBody<T>(pub T);

impl<T: Serialize> IntoResponse for JsonBody<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
            // Not again through this type: it could fail again.
            Err(error) => Error::Internal(error.to_string()).into_response(),
        }
    }
}
