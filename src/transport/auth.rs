//! From the credential of a request to the caller in its extensions. Wraps every RPC but health and
//! reflection, so that a new one is refused without a key unless somebody decides otherwise here.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::Response,
};
use tonic::Status;

use super::router::Readiness;
use crate::{
    domain::caller::Caller,
    service::{auth::Authenticator, error::Error},
};

/// Services that need no key: they tell nothing of tenants.
const OPEN: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection."];

/// Recognizes the caller of an RPC.
pub async fn authenticate(
    State(state): State<Arc<(Authenticator, Readiness)>>,
    mut request: Request,
    next: Next,
) -> Response {
    let (authenticator, readiness) = state.as_ref();
    let path = request.uri().path();
    if OPEN.iter().any(|open| path.starts_with(open)) {
        return next.run(request).await;
    }
    if !readiness.is_ready() {
        return Status::from(Error::Unavailable("the database is not ready")).into_http();
    }
    let header = request.headers().get(header::AUTHORIZATION);
    let authorization = header.map(|value| value.to_str().unwrap_or("-"));
    match authenticator.authenticate(authorization).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => Status::from(error).into_http(),
    }
}

/// The caller of an RPC that passed [`authenticate`].
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Arc<Caller>, Error> {
    request.extensions().get::<Arc<Caller>>().cloned().ok_or(Error::KeyMissing)
}
