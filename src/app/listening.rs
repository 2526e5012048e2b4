//! What the settings say of the listener's side.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    config::Settings,
    tls::{ServerFiles, ServerTls},
    transport::{
        listener::{ConnectionRules, keep_certificate},
        rest::RestRules,
        router::TransportRules,
    },
};

fn seconds(setting: u32) -> Duration {
    Duration::from_secs(setting.into())
}

fn bytes(setting: u32) -> usize {
    usize::try_from(setting).unwrap_or(usize::MAX)
}

/// What calls may do.
pub fn transport_rules(settings: &Settings) -> Result<TransportRules> {
    let limits = &settings.limits;
    Ok(TransportRules {
        rest: RestRules {
            body_bytes: bytes(settings.rest.max_body_bytes),
            body_patience: seconds(limits.body_seconds),
            expired_as_error: settings.rest.expired_as_error,
        },
        origins: settings.cors.origins().map(str::to_owned).collect(),
        message_bytes: bytes(limits.message_bytes),
        calls: limits.concurrent_requests,
        lasting: limits.concurrent_streams,
        writes_per_minute: limits.event_requests_per_minute,
        others_per_minute: limits.requests_per_minute,
        trusted_proxies: super::callers::trusted_proxies(settings)?,
    })
}

/// What connections may do.
pub fn connection_rules(settings: &Settings) -> ConnectionRules {
    let limits = &settings.limits;
    let unless_off = |setting: u32| (setting > 0).then(|| seconds(setting));
    ConnectionRules {
        headers: bytes(limits.headers),
        header_bytes: limits.header_bytes,
        streams: limits.streams_per_connection,
        connections: limits.connections,
        connections_per_address: limits.connections_per_address,
        handshake: seconds(limits.handshake_seconds),
        header: seconds(limits.header_seconds),
        answer: seconds(limits.answer_seconds),
        keepalive: seconds(limits.keepalive_seconds),
        idle: unless_off(limits.idle_seconds),
        age: unless_off(limits.connection_age_seconds),
    }
}

/// The certificate of the listener, where there is one.
pub fn tls(settings: &Settings) -> Result<Option<Arc<ServerTls>>> {
    let (Some(certificate), Some(key)) = (settings.tls.cert.clone(), settings.tls.key.clone())
    else {
        return Ok(None);
    };
    let client_authorities = settings.tls.client_ca.clone();
    let tls = ServerTls::load(ServerFiles { certificate, key, client_authorities })?;
    Ok(Some(Arc::new(tls)))
}

/// Reads certificates again when they change, and on SIGHUP, which ends no server, until `shutdown`.
pub async fn renew(tls: Option<Arc<ServerTls>>, shutdown: CancellationToken) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => Some(hangup),
        Err(error) => {
            warn!(%error, "SIGHUP is not heard");
            None
        }
    };
    let asked = async move || match &mut hangup {
        Some(hangup) => _ = hangup.recv().await,
        None => std::future::pending().await,
    };
    match tls {
        Some(tls) => keep_certificate(tls, asked, shutdown).await,
        // The signal is taken as long as there is `asked`.
        None => shutdown.cancelled().await,
    }
}

/// The base URL under which this machine can reach the listener.
pub fn reachable(address: SocketAddr, encrypted: bool) -> String {
    let scheme = if encrypted { "https" } else { "http" };
    if address.ip().is_unspecified() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}
