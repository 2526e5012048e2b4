//! `/healthz` and `/readyz`, for orchestrators that do not speak gRPC.

use axum::{extract::State, http::StatusCode};

use crate::transport::router::Readiness;

/// The process lives.
pub async fn live() -> (StatusCode, &'static str) {
    (StatusCode::OK, "ok\n")
}

/// The database is migrated and reachable, and the service is not shutting down; the same as gRPC
/// health's SERVING.
pub async fn ready(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    if readiness.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not serving\n")
    }
}
