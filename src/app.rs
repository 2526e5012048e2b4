//! The composition root: a server from settings, and its life from the first connection to the last.

mod callers;
mod workers;

use std::{
    future::Future, net::SocketAddr, sync::Arc, thread::available_parallelism, time::Duration,
};

use anyhow::{Context, Result};
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{service::Routes, transport::Server};
use tracing::{error, info, warn};

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
    tls,
    transport::{
        rest::RestRules,
        router::{Readiness, TransportRules, routes},
    },
    worker::checkpoints::CheckpointKeeper,
};

/// How often to look whether the database is there.
const PROBE: Duration = Duration::from_secs(2);
/// How long calls may take to end after a shutdown began. Orchestrators kill after 30 s.
const DRAIN: Duration = Duration::from_secs(20);
/// How long the lanes may take after that to write what was taken.
const LANES_END: Duration = Duration::from_secs(3);
/// How long the workers may take after that.
const WORKERS_END: Duration = Duration::from_secs(3);
/// How long the database may take to close.
const DATABASE_CLOSE: Duration = Duration::from_secs(2);
/// How long to wait after a connection could not be accepted.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// Writers of events where the settings do not say how many.
const LEAST_LANES: usize = 2;
const MOST_LANES: usize = 8;
const KEEPALIVE: Duration = Duration::from_secs(30);
const MAX_CONCURRENT_STREAMS: u32 = 1_024;
/// Most bytes that a client may send in one call before they are read (RFC 9113, section 5.2).
const CALL_WINDOW: u32 = 1_024 * 1_024;
/// The same for a connection: more, so that a stream that is not read for a while, as back-pressure, does
/// not hold up the other calls beside it.
const CONNECTION_WINDOW: u32 = 8 * CALL_WINDOW;

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
    services: Services,
    routes: Routes,
    readiness: Readiness,
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

/// What the settings say of the listener's side.
fn transport_rules(settings: &Settings) -> Result<TransportRules> {
    Ok(TransportRules {
        rest: RestRules {
            body_bytes: usize::try_from(settings.rest.max_body_bytes).unwrap_or(usize::MAX),
            expired_as_error: settings.rest.expired_as_error,
        },
        origins: settings.cors.origins().map(str::to_owned).collect(),
        trusted_proxies: callers::trusted_proxies(settings)?,
    })
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
        let listener = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("cannot listen on {}", settings.listen))?;
        let address = listener.local_addr()?;
        let store = open_store(&settings).await?;
        let files = open_files(&settings)?;
        let public_url = settings.public_url.clone().unwrap_or_else(|| reachable(address));
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
            shutdown: shutdown.clone(),
        });
        let (routes, readiness) = routes(&services, &transport_rules(&settings)?).await?;
        Ok(Self { settings, clock, store, files, listener, services, routes, readiness, shutdown })
    }

    /// Where the server listens.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
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
        let Self { settings, clock, store, files, listener, services, routes, readiness, shutdown } =
            self;
        let checkpoints = CheckpointKeeper {
            store: store.clone(),
            clock: clock.clone(),
            signer: services.transparency.signer().clone(),
        };
        let drain = CancellationToken::new();
        let mut server = tokio::spawn(serve(listener, routes, drain.clone()));
        let workers = TaskTracker::new();
        let start = async {
            make_ready(&settings, &services, &store, migration).await.map(on_ready)?;
            readiness.set(true).await;
            // An outage that begins just now is no reason to end.
            let durability = store.durability().await.unwrap_or_else(|error| error.to_string());
            info!(engine = store.engine().name(), durability, "ready");
            let probe = (store.clone(), readiness.clone(), shutdown.clone());
            workers.spawn(probe_database(probe.0, probe.1, probe.2));
            workers.spawn(checkpoints.clone().run(shutdown.clone()));
            workers::spawn(&settings, &services, &store, &clock, files, &workers, &shutdown);
            std::future::pending::<Result<()>>().await
        };
        let result = tokio::select! {
            failed = start => failed,
            () = stop => Ok(()),
            ended = &mut server => ended.context("the listener ended")?,
        };
        info!("shutting down");
        let was_ready = readiness.is_ready();
        readiness.set(false).await;
        shutdown.cancel();
        // From here on no connection takes new calls.
        drain.cancel();
        readiness.close().await;
        if !server.is_finished() && tokio::time::timeout(DRAIN, &mut server).await.is_err() {
            warn!("calls did not end in time");
            server.abort();
        }
        end_writing(&services, &workers, was_ready.then_some(checkpoints)).await;
        close_database(store).await;
        result
    }
}

/// Sees the last events written, then signs the logs that grew, if `checkpoints` are kept, and waits
/// for the workers.
async fn end_writing(
    services: &Services,
    workers: &TaskTracker,
    checkpoints: Option<CheckpointKeeper>,
) {
    // Events whose callers went away are still written.
    if tokio::time::timeout(LANES_END, services.drain()).await.is_err() {
        warn!("the lanes did not end in time");
    }
    if let Some(checkpoints) = checkpoints {
        workers.spawn(checkpoints.finish());
    }
    workers.close();
    if tokio::time::timeout(WORKERS_END, workers.wait()).await.is_err() {
        warn!("workers did not end in time");
    }
}

async fn close_database(store: Store) {
    match tokio::time::timeout(DATABASE_CLOSE, store.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "the database did not close"),
        // A statement hangs; it goes when the process goes.
        Err(_) => warn!("the database did not close in time"),
    }
}

async fn serve(listener: TcpListener, routes: Routes, drain: CancellationToken) -> Result<()> {
    let incoming = TcpListenerStream::new(listener).then(|connection| async {
        match &connection {
            // Small answers must not wait for a full segment.
            Ok(stream) => _ = stream.set_nodelay(true),
            // Out of file descriptors, most likely: trying again at once would only burn the CPU.
            Err(_) => tokio::time::sleep(ACCEPT_REST).await,
        }
        connection
    });
    Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .initial_stream_window_size(CALL_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, drain.cancelled_owned())
        .await
        .context("the listener failed")
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

/// Keeps health in step with the database.
async fn probe_database(store: Store, readiness: Readiness, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PROBE) => {}
        }
        let answers = store.ping().await;
        // A shutdown that began meanwhile has the last word.
        if shutdown.is_cancelled() {
            return;
        }
        if answers.is_ok() != readiness.is_ready() {
            match &answers {
                Ok(()) => info!("the database is back"),
                Err(error) => error!(%error, "the database is away"),
            }
            readiness.set(answers.is_ok()).await;
        }
    }
}

/// The base URL under which this machine can reach the listener.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}
