//! A client of the service for the command line: typed calls with a key, exports to a file, and logs that
//! are followed.

mod follow;
mod trust;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use futures::StreamExt;
use tokio::io::{AsyncWriteExt, BufWriter};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

pub use self::{
    follow::{Follower, Told},
    trust::Trust,
};
use crate::{
    proto::v1::{
        CreateExportRequest, Export, ExportFormat, ExportState, GetExportRequest,
        audit_logs_client::AuditLogsClient, log_streams_client::LogStreamsClient,
    },
    tls,
};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often in a row, and after which pause, the server is called again that follows an export: as long as
/// a restart takes.
const CALLS: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);
/// Bytes of a download that are written at once.
const WRITE_BYTES: usize = 512 * 1_024;

/// Longest manifest that is read; most are a kilobyte.
const MANIFEST_BYTES: usize = 1_024 * 1_024;

/// Puts the key into every call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    /// Sends `api_key`.
    pub fn new(api_key: &str) -> Result<Self> {
        let mut key = MetadataValue::try_from(format!("Bearer {api_key}"))
            .context("the API key has characters that no header can have")?;
        key.set_sensitive(true);
        Ok(Self(key))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// `auditlogs.v1.AuditLogs`, with a key.
pub type AuditLogs = AuditLogsClient<InterceptedService<Channel, Bearer>>;

/// `auditlogs.v1.LogStreams`, with a key.
pub type LogStreams = LogStreamsClient<InterceptedService<Channel, Bearer>>;

/// A connection to a server.
#[derive(Clone)]
pub struct Client {
    audit_logs: AuditLogs,
    log_streams: LogStreams,
    http: reqwest::Client,
}

impl Client {
    /// Connects to the server at `url`, such as `http://127.0.0.1:50051`.
    pub async fn connect(url: &str, api_key: &str) -> Result<Self> {
        Self::connect_with(url, api_key, &Trust::default()).await
    }

    /// Connects to the server at `url`, which is known by `trust` if it has TLS (`https://...`).
    pub async fn connect_with(url: &str, api_key: &str, trust: &Trust) -> Result<Self> {
        tls::install_provider();
        let endpoint = Endpoint::from_shared(url.to_owned())
            .with_context(|| format!("{url} is not a URL"))?
            .connect_timeout(CONNECT_TIMEOUT);
        let endpoint = match endpoint.uri().scheme_str() {
            Some("https") => endpoint.tls_config(trust.of_channel())?,
            _ => endpoint,
        };
        let channel = endpoint.connect().await;
        let channel = channel.with_context(|| format!("cannot connect to {url}"))?;
        let bearer = Bearer::new(api_key)?;
        let log_streams = LogStreamsClient::with_interceptor(channel.clone(), bearer.clone());
        let audit_logs = AuditLogsClient::with_interceptor(channel, bearer);
        Ok(Self { audit_logs, log_streams, http: trust.http_client()? })
    }

    /// The event service.
    pub fn audit_logs(&self) -> AuditLogs {
        self.audit_logs.clone()
    }

    /// The service of log streams.
    pub fn log_streams(&self) -> LogStreams {
        self.log_streams.clone()
    }

    /// Exports to the file at `path` and returns the export. Calls `progress` with each state that
    /// the server tells. The file appears whole or not at all; beside a JSON Lines file its manifest,
    /// at [`manifest_path`].
    pub async fn export(
        &self,
        request: CreateExportRequest,
        path: &Path,
        mut progress: impl FnMut(&Export),
    ) -> Result<Export> {
        let created = self
            .audit_logs()
            .create_export(request)
            .await
            .map_err(|status| refused(&status))?
            .into_inner();
        let export = created.export.context("the server sent no export")?;
        progress(&export);
        let export = self.follow_export(&export.id, progress).await?;
        if export.state() != ExportState::Ready {
            bail!("the export {} {}", export.id, why_not_ready(&export));
        }
        if export.format() == ExportFormat::JsonLines {
            // First, so that there is never a file without what proves it.
            self.download(&export.manifest_url, &manifest_path(path)).await?;
        }
        self.download(&export.url, path).await?;
        Ok(export)
    }

    /// Follows an export to its end, over restarts of the server.
    async fn follow_export(&self, id: &str, mut progress: impl FnMut(&Export)) -> Result<Export> {
        let mut failures = 0;
        loop {
            let told = |export: &Export| {
                progress(export);
                failures = 0;
            };
            let status = match self.export_frames(id, told).await {
                Ok(last) => return last.context("the server sent no state of the export"),
                Err(status) => status,
            };
            // Unknown: the connection broke.
            let may_pass = matches!(status.code(), Code::Unavailable | Code::Unknown);
            if !may_pass || failures == CALLS {
                return Err(refused(&status));
            }
            failures += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn export_frames(
        &self,
        id: &str,
        mut told: impl FnMut(&Export),
    ) -> Result<Option<Export>, tonic::Status> {
        let request = GetExportRequest { export_id: id.to_owned(), watch: Some(true) };
        let mut frames = self.audit_logs().get_export(request).await?.into_inner();
        let mut last = None;
        while let Some(frame) = frames.message().await? {
            last = frame.export;
            if let Some(export) = &last {
                told(export);
            }
        }
        Ok(last)
    }

    /// Downloads to a file beside `path`, which takes the name when it is whole.
    async fn download(&self, url: &str, path: &Path) -> Result<()> {
        let mut name = path.file_name().context("the output is not a file name")?.to_owned();
        name.push(".part");
        let partial = path.with_file_name(name);
        let whole = self.download_to(url, &partial).await;
        let unwritable = || format!("cannot write {}", path.display());
        let named = match whole {
            Ok(()) => tokio::fs::rename(&partial, path).await.with_context(unwritable),
            Err(error) => Err(error),
        };
        if named.is_err() {
            // Best effort: it may never have been made.
            let _ = tokio::fs::remove_file(&partial).await;
        }
        named
    }

    async fn download_to(&self, url: &str, path: &Path) -> Result<()> {
        let failed = "cannot download the export";
        // A signed link is a credential: errors do not repeat it.
        let response = self.http.get(url).send().await.map_err(reqwest::Error::without_url);
        let response = response.context(failed)?.error_for_status();
        let response = response.map_err(reqwest::Error::without_url).context(failed)?;
        let unwritable = || format!("cannot write {}", path.display());
        let file = tokio::fs::File::create(path).await.with_context(unwritable)?;
        let mut file = BufWriter::with_capacity(WRITE_BYTES, file);
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(reqwest::Error::without_url);
            let chunk = chunk.context("the download broke off")?;
            file.write_all(&chunk).await.with_context(unwritable)?;
        }
        file.shutdown().await.with_context(unwritable)
    }
}

/// The text at a link, at most a megabyte of it.
pub async fn fetch_text(url: &str, trust: &Trust) -> Result<String> {
    tls::install_provider();
    let failed = "cannot fetch the manifest";
    // A signed link is a credential: errors do not repeat it.
    let response = trust.http_client()?.get(url).send().await.map_err(reqwest::Error::without_url);
    let response = response.context(failed)?;
    let response = response.error_for_status().map_err(reqwest::Error::without_url);
    let mut chunks = response.context(failed)?.bytes_stream();
    let mut text = Vec::new();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.map_err(reqwest::Error::without_url).context(failed)?);
        if text.len() > MANIFEST_BYTES {
            bail!("{failed}: it is too large to be one");
        }
    }
    String::from_utf8(text).context("the manifest is not UTF-8")
}

/// Where the manifest of the export at `path` is: the same name with `.manifest.json`.
pub fn manifest_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".manifest.json");
    name.into()
}

fn why_not_ready(export: &Export) -> String {
    match export.state() {
        ExportState::Cancelled => "was cancelled".to_owned(),
        ExportState::Expired => "has expired".to_owned(),
        _ => format!("failed: {}", export.error),
    }
}

fn refused(status: &Status) -> anyhow::Error {
    anyhow!("{}", explain(status))
}

/// What the server has against a request, in words.
pub fn explain(status: &Status) -> String {
    let fields = status.get_details_bad_request().map(|request| request.field_violations);
    let told = fields.unwrap_or_default().into_iter().map(|violation| {
        let (field, description) = (violation.field, violation.description);
        // Most descriptions name the field themselves.
        if description.contains(&field) { description } else { format!("{field} {description}") }
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() {
        format!("{} ({:?})", status.message(), status.code())
    } else {
        told.join("; ")
    }
}
