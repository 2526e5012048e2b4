//! An OpenTelemetry Collector (`collector/`), which appends each request to a file, as OTLP JSON.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::{Running, authority::Authority};
use crate::support::postgres::free_port;

/// Whether it can be started.
pub fn is_installed() -> bool {
    super::is_installed("the OpenTelemetry Collector", &super::installed("collector/collector"))
}

/// A running collector.
pub struct Collector {
    directory: TempDir,
    process: Running,
    /// Where it takes OTLP over HTTPS, on 127.0.0.1.
    pub port: u16,
}

impl Collector {
    /// With a certificate for 127.0.0.1.
    pub async fn start(authority: &Authority) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = authority.certify_in(directory.path(), "127.0.0.1");
        let port = free_port();
        let configuration = format!(
            "receivers:
  otlp:
    protocols:
      http:
        endpoint: 127.0.0.1:{port}
        tls: {{cert_file: '{}', key_file: '{}'}}
exporters:
  lines: {{path: '{}'}}
service:
  pipelines:
    logs: {{receivers: [otlp], exporters: [lines]}}
",
            files.certificate.display(),
            files.key.display(),
            directory.path().join("requests").display(),
        );
        fs::write(directory.path().join("collector.yaml"), configuration).unwrap();
        let process = run(directory.path(), port).await;
        Self { directory, process, port }
    }

    /// One that takes traces over gRPC, without TLS.
    pub async fn of_traces() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let configuration = format!(
            "receivers:
  otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{port}'}}}}}}
exporters:
  lines: {{path: '{}'}}
service:
  pipelines:
    traces: {{receivers: [otlp], exporters: [lines]}}
",
            directory.path().join("requests").display(),
        );
        fs::write(directory.path().join("collector.yaml"), configuration).unwrap();
        let process = run(directory.path(), port).await;
        Self { directory, process, port }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again where it was.
    pub async fn start_again(&mut self) {
        self.process = run(self.directory.path(), self.port).await;
    }

    /// The resources of the requests that it took.
    pub fn resources(&self) -> Vec<Value> {
        self.all("resourceLogs")
    }

    fn all(&self, member: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.directory.path().join("requests")).unwrap();
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let requests = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        requests.flat_map(|request| request[member].as_array().unwrap().clone()).collect()
    }

    /// The spans that it took.
    pub fn spans(&self) -> Vec<Value> {
        let scopes = self.all("resourceSpans").into_iter();
        let scopes = scopes.flat_map(|spans| spans["scopeSpans"].as_array().unwrap().clone());
        scopes.flat_map(|spans| spans["spans"].as_array().unwrap().clone()).collect()
    }

    /// The records that it took, in the order in which they came.
    pub fn records(&self) -> Vec<Value> {
        let scopes = self.resources().into_iter();
        let scopes = scopes.flat_map(|logs| logs["scopeLogs"].as_array().unwrap().clone());
        scopes.flat_map(|logs| logs["logRecords"].as_array().unwrap().clone()).collect()
    }
}

async fn run(directory: &Path, port: u16) -> Running {
    let mut command = Command::new(super::installed("collector/collector"));
    command.arg("--config").arg(directory.join("collector.yaml"));
    Running::start("the collector", &mut command, directory, port).await
}
