//! Servers that people run, each in a directory of its own. `just receivers` installs them; with
//! `AUDIT_LOGS_TEST_RECEIVERS=required` they must be there.

use std::{
    env,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Whether a receiver is there, to be asked before it is started.
pub fn is_installed(name: &str, program: &Path) -> bool {
    let required = env::var("AUDIT_LOGS_TEST_RECEIVERS").is_ok_and(|value| value == "required");
    let found = program.exists();
    assert!(found || !required, "{name} is required, but not there: `just receivers`");
    if !found {
        eprintln!("{name} is not installed: what it would test is skipped (`just receivers`)");
    }
    found
}

/// A process that ends with this.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Kills it, as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
