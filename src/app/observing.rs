//! What operators see of a server: who looks where, and the listener that tells.

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};

use crate::{
    config::Settings,
    service::Services,
    store::{PoolState, Store},
    telemetry::{PoolUse, Telemetry},
    transport::{admin, router::Readiness},
};

/// What observes a server.
pub struct Observation {
    pub telemetry: Telemetry,
    pub listener: Option<TcpListener>,
}

/// Starts what the settings and the environment ask for.
pub async fn start(settings: &Settings) -> Result<Observation> {
    // For collectors that are reached over TLS.
    crate::tls::install_provider();
    let telemetry = Telemetry::start(settings.metrics.listen.is_some())?;
    let listener = match settings.metrics.listen {
        None => None,
        Some(address) => {
            let listener = TcpListener::bind(address).await;
            Some(listener.with_context(|| format!("cannot serve metrics on {address}"))?)
        }
    };
    Ok(Observation { telemetry, listener })
}

impl Observation {
    /// Has the parts of the server looked at.
    pub fn watch(&self, store: &Store, services: &Services, readiness: &Readiness) {
        let metrics = &self.telemetry.metrics;
        metrics.tell_build(store.engine().name());
        let (pools, hub, ready) =
            (store.clone(), services.watches.hub().clone(), readiness.clone());
        metrics.observe_pools(move || pools.pools().into_iter().map(pool_use).collect());
        metrics.observe_watchers(move || hub.callers() as u64);
        metrics.observe_readiness(move || ready.is_ready());
    }

    /// Serves operators until `stop`, if the settings say so.
    pub fn serve(
        &mut self,
        readiness: &Readiness,
        workers: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let Some(listener) = self.listener.take() else { return };
        match listener.local_addr() {
            Ok(address) => info!(%address, "metrics are served"),
            Err(error) => error!(%error, "metrics are served nowhere"),
        }
        let serving =
            admin::serve(listener, self.telemetry.clone(), readiness.clone(), stop.clone());
        workers.spawn(async move {
            if let Err(error) = serving.await {
                error!(%error, "metrics are not served any more");
            }
        });
    }
}

fn pool_use(PoolState { name, open, idle, most }: PoolState) -> PoolUse {
    let idle = idle as u64;
    PoolUse { name, idle, used: u64::from(open).saturating_sub(idle), most: most.into() }
}
