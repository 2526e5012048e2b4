//! Settings for what operators see. Traces and metrics over OTLP have the standard `OTEL_*` variables.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// Where to serve `/metrics`, `/healthz` and `/readyz` to operators, without a key; nowhere if absent.
    pub listen: Option<SocketAddr>,
}
