//! A server of our own, in this process, on a free port, over a database of its own.

use std::sync::Arc;

use audit_logs::{
    app::{App, Migration},
    client::{AuditLogs, Bearer, Client},
    config::{KeySettings, LimitSettings, Settings, SystemLogSettings},
    domain::{
        clock::{Clock, ManualClock, SystemClock},
        timestamp::Timestamp,
    },
    proto::v1::{
        ApiKeysCreateRequest, api_keys_client::ApiKeysClient, log_streams_client::LogStreamsClient,
        organizations_client::OrganizationsClient,
    },
    service::{Services, api_keys::NewApiKey},
    store::{Store, StoreOptions},
};
use sea_orm::{ConnectionTrait, Database, Statement};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{service::interceptor::InterceptedService, transport::Channel};

use super::postgres;

/// An engine that the suite runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// The key of the default environment, with every scope.
pub const ROOT_KEY: &str = "sk_test_0123456789abcdefghijklmnopqrstuvwxyz";

/// A running server.
pub struct TestServer {
    pub engine: Engine,
    pub url: String,
    pub settings: Settings,
    pub services: Services,
    /// Where operators are served, if the settings say so.
    pub metrics_url: Option<String>,
    /// Where its data is, if nobody else owns that.
    _directory: Option<TempDir>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

pub type Keys = ApiKeysClient<InterceptedService<Channel, Bearer>>;
pub type LogStreams = LogStreamsClient<InterceptedService<Channel, Bearer>>;
pub type Organizations = OrganizationsClient<InterceptedService<Channel, Bearer>>;

/// Settings for a server over a new database. The directory must live as long as the server.
pub async fn fresh_settings(engine: Engine) -> (Settings, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let database_url = match engine {
        Engine::Sqlite => format!("sqlite://{}", directory.path().join("test.db").display()),
        Engine::Postgres => postgres::migrated_database().await,
    };
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        data_dir: directory.path().to_owned(),
        database_url: Some(database_url.as_str().into()),
        bootstrap_api_key: Some(ROOT_KEY.into()),
        // Their records come a moment later, where tests count rows.
        system_log: SystemLogSettings { reads: false },
        // Tests send many keys that are refused.
        keys: KeySettings { refused_per_minute: 0 },
        // And look again and again, with one key.
        limits: LimitSettings { requests_per_minute: 0, ..LimitSettings::default() },
        ..Settings::default()
    };
    (settings, directory)
}

impl TestServer {
    /// A server with default rules and the machine's clock.
    pub async fn start(engine: Engine) -> Self {
        Self::start_with(engine, |_| {}).await
    }

    /// A server with changed settings.
    pub async fn start_with(engine: Engine, change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_at(engine, change, Arc::new(SystemClock)).await
    }

    /// A server whose clock stands at `now` until the test moves it.
    pub async fn start_with_clock(engine: Engine, now: Timestamp) -> (Self, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(now));
        (Self::start_at(engine, |_| {}, clock.clone()).await, clock)
    }

    /// The same with changed settings and another clock.
    pub async fn start_at(
        engine: Engine,
        change: impl FnOnce(&mut Settings),
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (mut settings, directory) = fresh_settings(engine).await;
        change(&mut settings);
        let server = Self::over(engine, settings, clock).await;
        Self { _directory: Some(directory), ..server }
    }

    /// A server over an existing database: a restart, or a second replica.
    pub async fn over(engine: Engine, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let app = App::bind(settings.clone(), clock).await.unwrap();
        let url = format!("http://{}", app.address().unwrap());
        let services = app.services();
        let metrics_url = app.metrics_address().map(|address| format!("http://{address}"));
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = oneshot::channel();
        let stopped = async { _ = stopped.await };
        let running =
            tokio::spawn(app.run(Migration::EmbeddedOnly, stopped, |_| _ = ready.send(())));
        is_ready.await.unwrap();
        let server = Self {
            engine,
            url,
            settings,
            services,
            metrics_url,
            _directory: None,
            stop: Some(stop),
            running: Some(running),
        };
        server.wait_until_ready().await;
        server
    }

    /// `on_ready` comes a moment before calls are let in.
    async fn wait_until_ready(&self) {
        let health = format!("{}/readyz", self.url);
        while !reqwest::get(&health).await.unwrap().status().is_success() {
            tokio::task::yield_now().await;
        }
    }

    /// Stops the server in good order.
    pub async fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(running) = self.running.take() {
            running.await.unwrap().unwrap();
        }
    }

    /// A client with the root key.
    pub async fn client(&self) -> AuditLogs {
        self.client_as(ROOT_KEY).await
    }

    /// A client with another key.
    pub async fn client_as(&self, key: &str) -> AuditLogs {
        Client::connect(&self.url, key).await.unwrap().audit_logs()
    }

    pub async fn organizations(&self) -> Organizations {
        self.organizations_as(ROOT_KEY).await
    }

    pub async fn organizations_as(&self, key: &str) -> Organizations {
        OrganizationsClient::with_interceptor(self.channel().await, Bearer::new(key).unwrap())
    }

    pub async fn log_streams(&self) -> LogStreams {
        self.log_streams_as(ROOT_KEY).await
    }

    pub async fn log_streams_as(&self, key: &str) -> LogStreams {
        LogStreamsClient::with_interceptor(self.channel().await, Bearer::new(key).unwrap())
    }

    pub async fn keys(&self) -> Keys {
        self.keys_as(ROOT_KEY).await
    }

    pub async fn keys_as(&self, key: &str) -> Keys {
        ApiKeysClient::with_interceptor(self.channel().await, Bearer::new(key).unwrap())
    }

    /// A connection without a key.
    pub async fn channel(&self) -> Channel {
        Channel::from_shared(self.url.clone()).unwrap().connect().await.unwrap()
    }

    /// The value of a new key in the default environment with some scopes.
    pub async fn key_with(&self, scopes: &[&str], organizations: &[&str]) -> String {
        let request = ApiKeysCreateRequest {
            name: "test".to_owned(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            organization_ids: organizations.iter().map(ToString::to_string).collect(),
        };
        self.keys().await.create(request).await.unwrap().into_inner().value
    }

    /// The value of a new key, with every scope, in another environment.
    pub async fn key_in(&self, environment: &str) -> String {
        let scopes = audit_logs::domain::api_key::Scope::ALL;
        let new = NewApiKey {
            name: "test".to_owned(),
            scopes: scopes.map(|scope| scope.to_string()).to_vec(),
            organization_ids: Vec::new(),
        };
        let created = self.services.api_keys.create_as_operator(environment, new).await.unwrap();
        created.1.reveal().to_owned()
    }

    /// Another handle to the server's database, past its back.
    pub async fn store(&self) -> Store {
        let url = self.settings.database_url();
        Store::connect(&StoreOptions { url, max_connections: 4 }).await.unwrap()
    }

    /// The first column of every row, as integers.
    pub async fn query_integers(&self, sql: &str) -> Vec<i64> {
        let database = Database::connect(self.settings.database_url()).await.unwrap();
        let statement = Statement::from_string(database.get_database_backend(), sql);
        let rows = database.query_all_raw(statement).await.unwrap();
        let values = rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
        database.close().await.unwrap();
        values
    }

    /// The first two columns of the first row, as bytes.
    pub async fn query_bytes(&self, sql: &str) -> (Vec<u8>, Vec<u8>) {
        let database = Database::connect(self.settings.database_url()).await.unwrap();
        let statement = Statement::from_string(database.get_database_backend(), sql);
        let row = database.query_one_raw(statement).await.unwrap().unwrap();
        let values = (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap());
        database.close().await.unwrap();
        values
    }

    /// Runs a statement past the server's back.
    pub async fn execute(&self, sql: &str) {
        let database = Database::connect(self.settings.database_url()).await.unwrap();
        database.execute_unprepared(sql).await.unwrap();
        database.close().await.unwrap();
    }

    /// How many rows a table has, without those of system logs.
    pub async fn count(&self, table: &str) -> i64 {
        let tenants = Self::of_tenants(table);
        self.query_integers(&format!("SELECT COUNT(*) FROM {table} WHERE {tenants}")).await[0]
    }

    /// The condition that leaves out what belongs to system logs.
    pub fn of_tenants(table: &str) -> String {
        let organization = match table {
            "events" | "log_heads" | "log_tiles" | "checkpoints" => "organization_id",
            "organizations" => "id",
            _ => "''",
        };
        format!("{organization} NOT LIKE 'system_environment_%'")
    }
}
