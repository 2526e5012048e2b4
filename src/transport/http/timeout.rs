//! How long a request over HTTP may take until its answer begins, the body that is sent included.

use std::time::Duration;

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::service::error::Error;

/// The shortest patience of the WorkOS SDKs that are kept up is 30 s.
const LIMIT: Duration = Duration::from_secs(30);

/// Ends a request that takes too long.
pub async fn enforce(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(LIMIT, next.run(request)).await;
    answer.unwrap_or_else(|_| Error::DeadlineExceeded.into_response())
}
