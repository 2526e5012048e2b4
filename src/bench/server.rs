//! The real server as a child process, the limit server likewise, and connections to them.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rand::{RngExt, distr::Alphanumeric};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{
    process::{Guarded, Start, free_port},
    sample::Sample,
};
use crate::{
    client::{AuditLogs, Client, Trust, explain},
    proto::v1,
};

/// How long a server may take to start.
const START: Duration = Duration::from_mins(1);
/// How often to look whether it did.
const LOOK: Duration = Duration::from_millis(30);
/// Connections of a client with many calls in flight.
const CONNECTIONS: usize = 4;
/// Up to so many calls in flight a client has one connection.
const FEW: usize = 8;

/// A server under guard, and connections to it.
pub struct Server {
    /// The process.
    pub process: Guarded,
    clients: Vec<Client>,
    log: PathBuf,
    target: Target,
}

/// Where a server is, and how it is called.
struct Target {
    url: String,
    key: String,
    trust: Trust,
}

impl Target {
    async fn connect(&self) -> Result<Client> {
        Client::connect_with(&self.url, &self.key, &self.trust).await
    }
}

impl Server {
    /// Starts `audit-logs serve` in a directory, on a database, and registers the action and all
    /// organizations of the sample.
    pub async fn start(
        program: &Path,
        (directory, database_url): (&Path, &str),
        variables: &[(&'static str, &str)],
        sample: &Sample,
    ) -> Result<Self> {
        let own = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let plain = (own, Trust::default(), "http");
        Self::start_trusted(program, directory, database_url, sample, plain).await
    }

    /// The same with TLS, under a certificate that it makes for itself.
    pub async fn start_secured(
        program: &Path,
        directory: &Path,
        database_url: &str,
        sample: &Sample,
    ) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let (certificate, key) = (directory.join("server.pem"), directory.join("server.key"));
        fs::write(&certificate, made.cert.pem())?;
        fs::write(&key, made.signing_key.serialize_pem())?;
        let trust = Trust::read(Some(&certificate), None, None)?;
        let variables = vec![
            ("AUDIT_LOGS_TLS_CERT", certificate.display().to_string()),
            ("AUDIT_LOGS_TLS_KEY", key.display().to_string()),
        ];
        Self::start_trusted(program, directory, database_url, sample, (variables, trust, "https"))
            .await
    }

    async fn start_trusted(
        program: &Path,
        directory: &Path,
        database_url: &str,
        sample: &Sample,
        (variables, trust, scheme): (Vec<(&'static str, String)>, Trust, &str),
    ) -> Result<Self> {
        let random = rand::rng().sample_iter(Alphanumeric).take(40).map(char::from);
        let key = format!("sk_{}", random.collect::<String>());
        let address = format!("127.0.0.1:{}", free_port()?);
        let log = directory.join("serve.log");
        let mut own = vec![
            ("AUDIT_LOGS_LISTEN", address.clone()),
            ("AUDIT_LOGS_DATA_DIR", directory.display().to_string()),
            ("AUDIT_LOGS_DATABASE_URL", database_url.to_owned()),
            ("AUDIT_LOGS_BOOTSTRAP_API_KEY", key.clone()),
            // The receiver of log streams is here.
            ("AUDIT_LOGS_LOG_STREAMS_ALLOWED_NETWORKS", "127.0.0.0/8".to_owned()),
            // One key does what thousands would.
            ("AUDIT_LOGS_LIMITS_REQUESTS_PER_MINUTE", "0".to_owned()),
        ];
        own.extend(variables);
        let process = Guarded::start(&Start {
            command: vec![program.as_os_str(), OsStr::new("serve"), OsStr::new("--migrate")],
            variables: own,
            directory,
            log: &log,
            signal: "KILL",
            user: None,
        })?;
        let target = Target { url: format!("{scheme}://{address}"), key, trust };
        let clients = connect(&process, &log, &target).await?;
        let server = Self { process, clients, log, target };
        server.register(sample).await?;
        Ok(server)
    }

    /// Starts the server that stores nothing.
    pub async fn start_limit(program: &Path, directory: &Path) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let log = directory.join("limit.log");
        let process = Guarded::start(&Start {
            command: vec![
                program.as_os_str(),
                OsStr::new("bench"),
                OsStr::new("--limit-server"),
                OsStr::new(&address),
            ],
            variables: Vec::new(),
            directory,
            log: &log,
            signal: "KILL",
            user: None,
        })?;
        let (url, key) = (format!("http://{address}"), "none".to_owned());
        let target = Target { url, key, trust: Trust::default() };
        let clients = connect(&process, &log, &target).await?;
        Ok(Self { process, clients, log, target })
    }

    /// A client for each caller: over one connection for a few calls in flight, over four for many.
    pub fn callers(&self, in_flight: usize) -> impl Iterator<Item = AuditLogs> {
        let connections = if in_flight <= FEW { 1 } else { CONNECTIONS };
        (0..in_flight).map(move |n| self.clients[n % connections].audit_logs())
    }

    /// The first connection.
    pub fn client(&self) -> &Client {
        &self.clients[0]
    }

    /// More connections, for more calls at once than the others take.
    pub async fn connections(&self, count: usize) -> Result<Vec<Client>> {
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            clients.push(self.target.connect().await?);
        }
        Ok(clients)
    }

    async fn register(&self, sample: &Sample) -> Result<()> {
        let mut client = self.client().audit_logs();
        let started = Instant::now();
        while let Err(status) = client.create_action_schema(sample.schema_request()).await {
            self.process.expect_running(&self.log)?;
            // It listens before its database is ready.
            if status.code() != Code::Unavailable || started.elapsed() > START {
                bail!("the server refused the schema: {}", explain(&status));
            }
            tokio::time::sleep(LOOK).await;
        }
        for organizations in sample.organizations().chunks(100) {
            let requests = || organizations.iter().map(|id| sample.message(id)).collect();
            send_batch(&mut client, requests).await?;
        }
        Ok(())
    }
}

async fn connect(process: &Guarded, log: &Path, target: &Target) -> Result<Vec<Client>> {
    let started = Instant::now();
    let mut clients = Vec::new();
    while clients.len() < CONNECTIONS {
        match target.connect().await {
            Ok(client) => clients.push(client),
            Err(error) => {
                process.expect_running(log)?;
                if started.elapsed() > START {
                    return Err(error);
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }
    Ok(clients)
}

/// Sends a batch of which every event must be stored; returns how many there were.
pub async fn send_batch(
    client: &mut AuditLogs,
    requests: impl Fn() -> Vec<v1::CreateEventRequest>,
) -> Result<u64> {
    let (sent, results) = loop {
        let requests = requests();
        let sent = requests.len();
        let request = v1::BatchCreateEventsRequest { requests, atomic: false };
        match client.batch_create_events(request).await {
            Ok(answer) => break (sent, answer.into_inner().results),
            Err(status) => wait_to_retry(&status).await?,
        }
    };
    let created = |result: &v1::BatchCreateEventsResult| {
        matches!(result.result, Some(v1::batch_create_events_result::Result::Created(_)))
    };
    if results.len() != sent || !results.iter().all(created) {
        let refused = results.into_iter().find(|result| !created(result));
        bail!("the server did not store every event of a batch: {refused:?}");
    }
    Ok(sent as u64)
}

/// Waits as long as a full server asks for, as every client should; anything else is an error.
async fn wait_to_retry(status: &Status) -> Result<()> {
    if status.code() != Code::ResourceExhausted {
        bail!("the server refused a call: {}", explain(status));
    }
    let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
    tokio::time::sleep(asked.unwrap_or(LOOK)).await;
    Ok(())
}

/// What all callers need to know.
#[derive(Clone)]
pub struct Load {
    /// The events.
    pub sample: Arc<Sample>,
    /// How many organizations they belong to.
    pub organizations: usize,
    /// Whether each has an idempotency key of its own.
    pub keyed: bool,
    /// Whether a receipt is asked for.
    pub receipt: bool,
}

impl Load {
    /// The next request.
    pub fn request(&self) -> v1::CreateEventRequest {
        let (_, organization_id) = self.sample.any_organization(self.organizations);
        let mut request = self.sample.message(organization_id);
        if self.keyed {
            request.idempotency_key = format!("{:032x}", rand::rng().random::<u128>());
        }
        request.receipt = self.receipt;
        request
    }
}

/// Sends one event per call.
pub struct CreateCaller {
    /// The connection.
    pub client: AuditLogs,
    /// What to send.
    pub load: Load,
}

impl super::load::Caller for CreateCaller {
    async fn call(&mut self) -> Result<u64> {
        while let Err(status) = self.client.create_event(self.load.request()).await {
            wait_to_retry(&status).await?;
        }
        Ok(1)
    }
}

/// Sends many events per call.
pub struct BatchCaller {
    /// The connection.
    pub client: AuditLogs,
    /// What to send.
    pub load: Load,
    /// How many events a call has.
    pub size: usize,
}

impl super::load::Caller for BatchCaller {
    async fn call(&mut self) -> Result<u64> {
        let (load, size) = (&self.load, self.size);
        send_batch(&mut self.client, || (0..size).map(|_| load.request()).collect()).await
    }
}
