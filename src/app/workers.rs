//! The workers of a server, from its settings.

use std::sync::Arc;

use rand::RngExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Settings,
    domain::clock::Clock,
    export::files::ExportFiles,
    service::{Services, watch::Replicas},
    store::Store,
    telemetry::Telemetry,
    worker::{
        export::ExportWorker, forward::Forwarder, housekeeping::Housekeeper,
        key_uses::KeyUseKeeper, retention::RetentionSweeper,
    },
};

const SECONDS_PER_DAY: i64 = 86_400;

/// Starts them; they work until `shutdown`.
pub fn spawn(
    settings: &Settings,
    services: &Services,
    (store, clock): (&Store, &Arc<dyn Clock>),
    files: ExportFiles,
    telemetry: &Telemetry,
    workers: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let owner = format!("worker_{:032x}", rand::rng().random::<u128>());
    let exports = ExportWorker {
        store: store.clone(),
        clock: clock.clone(),
        files: files.clone(),
        formula_guard: settings.exports.csv_formula_guard,
        signer: services.transparency.signer().clone(),
        updates: services.exports.updates(),
        telemetry: telemetry.clone(),
        owner: owner.clone(),
    };
    let hub = services.watches.hub();
    workers.spawn(hub.clone().run());
    if settings.streams.listen {
        let name = owner.clone();
        workers.spawn(Replicas::new(hub.clone(), name).run());
    }
    let forwarder = Forwarder {
        store: store.clone(),
        clock: clock.clone(),
        hub: hub.clone(),
        streams: services.log_streams.clone(),
        telemetry: telemetry.clone(),
        owner: owner.clone(),
        deliveries: usize::try_from(settings.log_streams.deliveries).unwrap_or(usize::MAX),
    };
    workers.spawn(forwarder.run(shutdown.clone()));
    for number in 0..settings.exports.workers {
        let owner = format!("{}_{number}", exports.owner);
        workers.spawn(ExportWorker { owner, ..exports.clone() }.run(shutdown.clone()));
    }
    let housekeeper = Housekeeper {
        store: store.clone(),
        clock: clock.clone(),
        files,
        export_retention: i64::from(settings.exports.retention_days) * SECONDS_PER_DAY,
        idempotency_window: settings.idempotency.window_seconds.into(),
    };
    workers.spawn(housekeeper.run(shutdown.clone()));
    let key_uses = KeyUseKeeper { store: store.clone(), uses: services.auth.uses().clone() };
    workers.spawn(key_uses.run(shutdown.clone()));
    let sweeper = RetentionSweeper {
        store: store.clone(),
        clock: clock.clone(),
        default_days: settings.retention.default_days,
        interval_seconds: settings.retention.sweep_interval_seconds,
        telemetry: telemetry.clone(),
        owner,
    };
    workers.spawn(sweeper.run(shutdown.clone()));
}
