//! What takes events in the tests: servers that people run, each in a directory of its own. `just
//! receivers` installs them; with `AUDIT_LOGS_TEST_RECEIVERS=required` they must be there.

pub mod authority;
pub mod collector;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod rsyslog;

use std::{
    env,
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::support::until;

/// Whether a receiver is there, to be asked before it is started.
fn is_installed(name: &str, program: &Path) -> bool {
    let required = env::var("AUDIT_LOGS_TEST_RECEIVERS").is_ok_and(|value| value == "required");
    let found = program.exists();
    assert!(found || !required, "{name} is required, but not there: `just receivers`");
    if !found {
        eprintln!("{name} is not installed: what it would test is skipped (`just receivers`)");
    }
    found
}

/// Where `just receivers` puts what it installs.
fn installed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(path)
}

/// A process that ends with this.
struct Running(Child);

impl Running {
    /// Starts it in a directory and waits until it listens on a port of 127.0.0.1. What it says goes
    /// into the file `output` there.
    async fn start(name: &str, command: &mut Command, directory: &Path, port: u16) -> Self {
        let output = directory.join("output");
        let file = File::create(&output).unwrap();
        command.current_dir(directory).stdin(Stdio::null());
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let mut running = Self(command.spawn().unwrap());
        until(&format!("{name} listens"), async || {
            let ended = running.0.try_wait().unwrap();
            let said = || fs::read_to_string(&output).unwrap_or_default();
            assert!(ended.is_none(), "{name} ended: {}", said());
            TcpStream::connect(("127.0.0.1", port)).ok()
        })
        .await;
        running
    }

    /// Kills it, as a power cut would.
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
