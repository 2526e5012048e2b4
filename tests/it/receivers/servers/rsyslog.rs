//! rsyslog, with TLS by OpenSSL, which writes what it understood as a line of JSON for each message.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::{Running, authority::Authority};
use crate::support::{postgres::free_port, until};

const PROGRAM: &str = "/usr/sbin/rsyslogd";

/// Whether it can be started.
pub fn is_installed() -> bool {
    super::is_installed("rsyslog", Path::new(PROGRAM))
}

/// A running rsyslog.
pub struct Rsyslog {
    directory: TempDir,
    process: Running,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
}

impl Rsyslog {
    /// With a certificate for that name.
    pub async fn start(authority: &Authority, name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = authority.certify_in(directory.path(), name);
        let port = free_port();
        let path = directory.path().display();
        // The size of messages is what rsyslog takes by default. One worker, so that the file has the
        // order of the connection.
        let configuration = format!(
            r#"global(
  workDirectory="{path}"
  defaultNetstreamDriver="ossl"
  defaultNetstreamDriverCAFile="{}"
  defaultNetstreamDriverCertFile="{}"
  defaultNetstreamDriverKeyFile="{}"
)
main_queue(queue.workerThreads="1")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="line" type="list" option.jsonf="on") {{
  property(name="pri" outname="pri" format="jsonf")
  property(name="timereported" outname="time" dateFormat="rfc3339" format="jsonf")
  property(name="hostname" outname="host" format="jsonf")
  property(name="app-name" outname="app" format="jsonf")
  property(name="procid" outname="process" format="jsonf")
  property(name="msgid" outname="id" format="jsonf")
  property(name="structured-data" outname="data" format="jsonf")
  property(name="msg" outname="message" format="jsonf")
}}
input(type="imtcp" address="127.0.0.1" port="{port}")
action(type="omfile" file="{path}/messages" template="line")
"#,
            files.authority.display(),
            files.certificate.display(),
            files.key.display(),
        );
        fs::write(directory.path().join("rsyslog.conf"), configuration).unwrap();
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

    /// What it has written, as soon as there are so many messages.
    pub async fn messages(&self, count: usize) -> Vec<Value> {
        until("rsyslog writes messages", async || {
            let text = fs::read_to_string(self.directory.path().join("messages")).ok()?;
            let lines: Vec<&str> = text.lines().collect();
            let all = lines.len() >= count && text.ends_with('\n');
            all.then(|| lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect())
        })
        .await
    }
}

async fn run(directory: &Path, port: u16) -> Running {
    let pid = directory.join("pid");
    let _ = fs::remove_file(&pid);
    let mut command = Command::new(PROGRAM);
    command.arg("-n").arg("-f").arg(directory.join("rsyslog.conf")).arg("-i").arg(pid);
    Running::start("rsyslog", &mut command, directory, port).await
}
