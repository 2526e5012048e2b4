//! Whether a server takes calls.

use std::time::Duration;

use anyhow::{Context, Result};
use tonic::{Request, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{Trust, refused};
use crate::tls;

/// How long all of it may take: less than what asks is given, such as a container engine's.
const PATIENCE: Duration = Duration::from_secs(4);

/// Asks the server at `url`, such as `http://127.0.0.1:50051`, whether it serves `service`; all of its
/// services if that is empty (gRPC Health Checking Protocol). One that has TLS is known by `trust`, under the
/// name in `url` or, if there is one, under `name`.
pub async fn is_serving(
    url: &str,
    service: &str,
    trust: &Trust,
    name: Option<&str>,
) -> Result<bool> {
    tls::install_provider();
    // A server that stands still may do so at any point, a handshake among them.
    let answer = tokio::time::timeout(PATIENCE, ask(url, service, trust, name)).await;
    answer.with_context(|| format!("{url} does not answer"))?
}

async fn ask(url: &str, service: &str, trust: &Trust, name: Option<&str>) -> Result<bool> {
    let endpoint =
        Endpoint::from_shared(url.to_owned()).with_context(|| format!("{url} is not a URL"))?;
    let endpoint = match (endpoint.uri().scheme_str(), name) {
        (Some("https"), None) => endpoint.tls_config(trust.of_channel())?,
        (Some("https"), Some(name)) => endpoint.tls_config(trust.of_channel().domain_name(name))?,
        _ => endpoint,
    };
    let channel = endpoint.connect().await.with_context(|| format!("cannot connect to {url}"))?;
    let request = Request::new(HealthCheckRequest { service: service.to_owned() });
    let answer = HealthClient::new(channel).check(request).await;
    let answer = answer.map_err(|status| refused(&status))?;
    Ok(answer.into_inner().status() == ServingStatus::Serving)
}
