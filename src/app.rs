//! The composition root: a server from settings, and its life from the first connection to the last.

mod callers;
mod listening;
mod observing;
mod upkeep;
mod workers;

use std::{
    future::Future, net::SocketAddr, sync::Arc, thread::available_parallelism, time::Duration,
};

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;
use tracing::{info, warn};

use self::observing::Observation;
use crate::{
    config::{Secret, Settings},
    domain::{
        api_key::KeyValue, clock::Clock, destination_check::DestinationRules,
        schema_check::TargetRule,
    },
    export::files::ExportFiles,
    forward::{Egress, vault::SecretKeys},
    service::{
        Parts, Rules, Services, api_keys::ApiKeys, lanes::LaneRules, log_streams::Credentials,
        signer::CheckpointSigner, watch::WatcherLimits,
    },
    signing_key,
    store::{Engine, Store, StoreError, StoreOptions},
    tls::{self, ServerTls},
    transport::{
        listener,
        router::{Readiness, routes},
    },
    worker::checkpoints::CheckpointKeeper,
};

/// How often to look whether the database is there.
const PROBE: Duration = Duration::from_secs(2);
/// How long calls may take to end after a shutdown began. Orchestrators kill after 30 s.
const DRAIN: Duration = Duration::from_secs(20);
/// Writers of events where the settings do not say how many.
const LEAST_LANES: usize = 2;
const MOST_LANES: usize = 8;

/// What a server may do with the schema of its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migration {
    /// SQLite is migrated, PostgreSQL must be up to date.
    EmbeddedOnly,
    /// Either is migrated.
    Always,
}

/// A server that listens but does not answer yet.
pub struct App {
    settings: Settings,
    clock: Arc<dyn Clock>,
    store: Store,
    files: ExportFiles,
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    services: Services,
    routes: Routes,
    readiness: Readiness,
    observation: Observation,
    shutdown: CancellationToken,
}

/// Opens the store that the settings name.
pub async fn open_store(settings: &Settings) -> Result<Store, StoreError> {
    let max_connections = settings.database.max_connections;
    Store::connect(&StoreOptions { url: settings.database_url(), max_connections }).await
}

/// The rules that the settings make.
fn rules(settings: &Settings) -> Rules {
    let target_rule =
        if settings.events.strict_targets { TargetRule::Strict } else { TargetRule::Contains };
    let size = |setting: u32| usize::try_from(setting).unwrap_or(usize::MAX);
    let lanes = LaneRules {
        lanes: match settings.lanes.count {
            0 => available_parallelism()
                .map_or(LEAST_LANES, usize::from)
                .clamp(LEAST_LANES, MOST_LANES),
            count => size(count),
        },
        queue_events: size(settings.lanes.queue_events),
        queue_bytes: size(settings.lanes.queue_bytes),
        idempotency_window: settings.idempotency.window_seconds.into(),
    };
    Rules {
        auto_register: settings.organizations.auto_register,
        require_schema: settings.actions.require_schema,
        target_rule,
        lanes,
        default_retention_days: settings.retention.default_days,
        stream_patience: Duration::from_secs(settings.streams.slow_reader_seconds.into()),
        watchers: WatcherLimits {
            replica: settings.streams.watchers as usize,
            key: settings.streams.watchers_per_key as usize,
        },
        presigned_urls: settings.exports.presigned_urls,
        destinations: DestinationRules { allow_http: settings.log_streams.allow_http },
    }
}

/// The keys, as the operator's commands manage them.
pub fn api_keys(settings: &Settings, store: &Store, clock: &Arc<dyn Clock>) -> ApiKeys {
    ApiKeys::over(store, clock, rules(settings))
}

/// Opens the place for export files.
pub fn open_files(settings: &Settings) -> Result<ExportFiles> {
    // For buckets that are reached over HTTPS.
    tls::install_provider();
    let patience = Duration::from_secs(settings.exports.store_patience_seconds.into());
    ExportFiles::open_url(&settings.export_url()?, std::env::vars(), patience)
        .map_err(anyhow::Error::msg)
}

/// What destinations of log streams are reached with.
fn credentials(settings: &Settings) -> Result<Credentials> {
    let egress = Egress::parse(&settings.log_streams.allowed_networks)
        .map_err(anyhow::Error::msg)
        .context("the setting log_streams.allowed_networks cannot be used")?;
    let current = settings.secrets.key.as_ref().map(Secret::reveal);
    let previous = settings.secrets.previous_keys.as_ref().map_or("", Secret::reveal);
    let keys = SecretKeys::parse(current, previous)
        .map_err(anyhow::Error::msg)
        .context("the settings secrets.key and secrets.previous_keys cannot be used")?;
    Ok(Credentials::new(keys, egress))
}

impl App {
    /// Binds the listener and puts everything together. Health answers from the first moment of
    /// [`App::run`]; the rest once the database is ready.
    pub async fn bind(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        settings.check_plaintext()?;
        let tls = listening::tls(&settings)?;
        let listener = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("cannot listen on {}", settings.listen))?;
        let address = listener.local_addr()?;
        let store = open_store(&settings).await?;
        let files = open_files(&settings)?;
        let public_url = settings
            .public_url
            .clone()
            .unwrap_or_else(|| listening::reachable(address, tls.is_some()));
        let observation = observing::start(&settings).await?;
        let telemetry = observation.telemetry.clone();
        let shutdown = CancellationToken::new();
        let key = signing_key::load_or_create(&settings)?;
        let signer = CheckpointSigner::new(key, &settings.log_name);
        let services = Services::new(Parts {
            store: store.clone(),
            clock: clock.clone(),
            files: files.clone(),
            public_url,
            rules: rules(&settings),
            record_reads: settings.system_log.reads,
            refused_per_minute: settings.keys.refused_per_minute,
            signer,
            credentials: credentials(&settings)?,
            telemetry: telemetry.clone(),
            shutdown: shutdown.clone(),
        });
        let rules = listening::transport_rules(&settings)?;
        let (routes, readiness) = routes(&services, &rules, &telemetry).await?;
        observation.watch(&store, &services, &readiness);
        Ok(Self {
            settings,
            clock,
            store,
            files,
            listener,
            tls,
            services,
            routes,
            readiness,
            observation,
            shutdown,
        })
    }

    /// Where the server listens.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Where operators are served, if they are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.observation.listener.as_ref()?.local_addr().ok()
    }

    /// Warns if other replicas, which there can be on PostgreSQL, would each make a key of their own.
    pub fn warn_of_a_key_of_its_own(&self) {
        if self.store.engine() == Engine::Postgres && self.settings.signing_key_file.is_none() {
            warn!(
                path = %signing_key::path(&self.settings).display(),
                "signing_key_file is not set: replicas must share one key file"
            );
        }
    }

    /// The services, for the process that runs the server.
    pub fn services(&self) -> Services {
        self.services.clone()
    }

    /// Serves until `stop` returns, then drains: health says NOT_SERVING, the listener closes, calls
    /// and workers end. Calls `on_ready` once, when the database is ready, with the value of the
    /// first key if one was made.
    pub async fn run(
        self,
        migration: Migration,
        stop: impl Future<Output = ()> + Send + 'static,
        on_ready: impl FnOnce(Option<KeyValue>) + Send,
    ) -> Result<()> {
        let Self { settings, clock, store, files, listener, tls, services, routes, .. } = self;
        let Self { readiness, mut observation, shutdown, .. } = self;
        let checkpoints = CheckpointKeeper {
            store: store.clone(),
            clock: clock.clone(),
            signer: services.transparency.signer().clone(),
        };
        let drain = CancellationToken::new();
        let mut server = tokio::spawn(listener::serve(
            listener,
            tls.clone(),
            routes,
            listening::connection_rules(&settings),
            drain.clone(),
        ));
        let workers = TaskTracker::new();
        workers.spawn(listening::renew(tls, shutdown.clone()));
        observation.serve(&readiness, &workers, &shutdown);
        let start = async {
            make_ready(&settings, &services, &store, migration).await.map(on_ready)?;
            // Who calls waits on connections that are no older than the one whose silence is noticed. An
            // outage that begins just now is no reason to end.
            _ = store.ping().await;
            readiness.set(true).await;
            let durability = store.durability().await.unwrap_or_else(|error| error.to_string());
            info!(engine = store.engine().name(), durability, "ready");
            let probe = (store.clone(), readiness.clone(), shutdown.clone());
            workers.spawn(upkeep::probe_database(probe.0, probe.1, probe.2));
            workers.spawn(checkpoints.clone().run(shutdown.clone()));
            workers::spawn(
                &settings,
                &services,
                (&store, &clock),
                files,
                &observation.telemetry,
                &workers,
                &shutdown,
            );
            std::future::pending::<Result<()>>().await
        };
        let result = tokio::select! {
            failed = start => failed,
            () = stop => Ok(()),
            ended = &mut server => ended.context("the listener ended"),
        };
        info!("shutting down");
        let was_ready = readiness.is_ready();
        shutdown.cancel();
        readiness.set(false).await;
        // From here on no connection takes new calls.
        drain.cancel();
        readiness.close().await;
        if !server.is_finished() && tokio::time::timeout(DRAIN, &mut server).await.is_err() {
            warn!("calls did not end in time");
            server.abort();
        }
        upkeep::end_writing(&services, &workers, was_ready.then_some(checkpoints)).await;
        upkeep::close_database(store).await;
        observation.telemetry.shutdown().await;
        result
    }
}

/// Waits for the database, sees to its schema and to the first key.
async fn make_ready(
    settings: &Settings,
    services: &Services,
    store: &Store,
    migration: Migration,
) -> Result<Option<KeyValue>> {
    loop {
        match prepare_database(settings, services, store, migration).await {
            Err(error) if is_outage(&error) => {
                warn!(error = format!("{error:#}"), "waiting for the database");
                tokio::time::sleep(PROBE).await;
            }
            result => return result,
        }
    }
}

async fn prepare_database(
    settings: &Settings,
    services: &Services,
    store: &Store,
    migration: Migration,
) -> Result<Option<KeyValue>> {
    if migration == Migration::Always || store.engine() == Engine::Sqlite {
        store.migrate().await?;
    }
    match store.check_migrated().await {
        Err(StoreError::NotMigrated) => {
            let how = "run `audit-logs migrate`, or start with --migrate";
            return Err(StoreError::NotMigrated).context(how);
        }
        result => result?,
    }
    services.transparency.register_key().await?;
    if let Some(value) = &settings.bootstrap_api_key {
        let value = KeyValue::from_operator(value.reveal()).context("bootstrap_api_key is weak")?;
        services.api_keys.bootstrap(value).await.context("bootstrap_api_key")?;
        return Ok(None);
    }
    Ok(services.api_keys.first_run().await?)
}

fn is_outage(error: &anyhow::Error) -> bool {
    use crate::service::error::{Code, Error};
    let in_store = error
        .downcast_ref()
        .is_some_and(|error| matches!(error, StoreError::Unavailable(_) | StoreError::Conflict(_)));
    let in_service =
        error.downcast_ref().is_some_and(|error: &Error| error.code() == Code::Unavailable);
    in_store || in_service
}
