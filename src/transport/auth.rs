//! From the credential of a request to the caller in its extensions. Wraps every RPC but health and
//! reflection, so that a new one is refused without a key unless somebody decides otherwise here, and
//! the HTTP routes that need a key.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tonic::Status;

use super::router::Readiness;
use crate::{
    domain::caller::{Caller, Grant, Origin},
    service::{
        auth::{Authenticator, Credential},
        error::Error,
    },
};

/// Services that need no key: they tell nothing of tenants.
const OPEN: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection."];

/// Lets in who has a key, once the database is ready.
pub struct Gate {
    authenticator: Authenticator,
    readiness: Readiness,
}

impl Gate {
    /// Keys are looked up by `authenticator`.
    pub const fn new(authenticator: Authenticator, readiness: Readiness) -> Self {
        Self { authenticator, readiness }
    }

    /// Recognizes the caller of a request.
    async fn recognize(
        &self,
        headers: &HeaderMap,
        origin: &Origin,
    ) -> Result<(Credential, Arc<Grant>), Error> {
        if !self.readiness.is_ready() {
            return Err(Error::Unavailable("the database is not ready"));
        }
        let header = headers.get(header::AUTHORIZATION);
        let authorization = header.map(|value| value.to_str().unwrap_or("-"));
        let credential = Credential::of(authorization)?;
        Ok((credential, self.authenticator.recognize(credential, origin.address).await?))
    }

    /// Lets a request through with its caller, or says why not.
    async fn pass(&self, mut request: Request, next: Next) -> Result<Response, Error> {
        let origin = request.extensions().get::<Arc<Origin>>().cloned().unwrap_or_default();
        let (credential, grant) = self.recognize(request.headers(), &origin).await?;
        request.extensions_mut().insert(credential);
        request.extensions_mut().insert(Caller::new(grant, origin));
        Ok(next.run(request).await)
    }
}

/// Recognizes the caller of an RPC.
pub async fn of_rpc(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if OPEN.iter().any(|open| path.starts_with(open)) {
        return next.run(request).await;
    }
    let answer = gate.pass(request, next).await;
    answer.unwrap_or_else(|error| Status::from(error).into_http())
}

/// Recognizes the caller of an HTTP request.
pub async fn of_http(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    gate.pass(request, next).await.unwrap_or_else(IntoResponse::into_response)
}

/// The caller of an RPC that passed [`of_rpc`].
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Error> {
    request.extensions().get::<Caller>().cloned().ok_or(Error::KeyMissing)
}

/// What the caller of an RPC that passed [`of_rpc`] has shown, to look at it again in a long call.
pub fn credential<T>(request: &tonic::Request<T>) -> Result<Credential, Error> {
    request.extensions().get::<Credential>().copied().ok_or(Error::KeyMissing)
}
