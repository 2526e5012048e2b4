//! The listener for operators: metrics and health, without a key and apart from callers.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{http::health, router::Readiness};
use crate::telemetry::Telemetry;

/// Serves operators until `stop`.
pub async fn serve(
    listener: TcpListener,
    telemetry: Telemetry,
    readiness: Readiness,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let health = Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .with_state(readiness);
    let router = Router::new().route("/metrics", get(metrics)).with_state(telemetry).merge(health);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// The page of metrics (Prometheus text format, version 0.0.4).
async fn metrics(State(telemetry): State<Telemetry>) -> Response {
    match telemetry.page() {
        Some((page, media_type)) => ([(header::CONTENT_TYPE, media_type)], page).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
