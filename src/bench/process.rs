//! Processes that end when the benchmark ends, however it ends.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

/// Runs a program and waits for the end of its own standard input: a pipe that closes when its owner
/// dies. Then it ends the program. Arguments: log file, signal, program, arguments.
const GUARD: &str = r#"log=$1 signal=$2; shift 2
"$@" </dev/null >"$log" 2>&1 & program=$!
echo "$program"
cat >/dev/null
kill -s "$signal" "$program" 2>/dev/null
wait "$program""#;

/// A program under guard; ended when dropped.
pub struct Guarded {
    shell: Child,
    /// Process id of the program, not of its guard.
    pub pid: u32,
}

/// What to start.
pub struct Start<'a> {
    /// The program and its arguments.
    pub command: Vec<&'a OsStr>,
    /// Variables to add to the environment.
    pub variables: Vec<(&'a str, String)>,
    /// Where it runs.
    pub directory: &'a Path,
    /// Where its output goes.
    pub log: &'a Path,
    /// The signal that ends it.
    pub signal: &'a str,
    /// User and group to run it as; our own if absent.
    pub user: Option<u32>,
}

impl Guarded {
    /// Starts a program.
    pub fn start(start: &Start<'_>) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "sh"]).arg(start.log).arg(start.signal).args(&start.command);
        command.envs(start.variables.iter().map(|(name, value)| (name, value)));
        // Settings of the benchmark's own environment tune the server, but do not lead it elsewhere.
        for name in ["CONFIG", "EXPORT_URL", "PUBLIC_URL", "LOG_FORMAT"] {
            command.env_remove(format!("AUDIT_LOGS_{name}"));
        }
        command.current_dir(start.directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        // The shell would tell that it killed the program.
        command.stderr(Stdio::null());
        // Apart from the signals of the terminal, so that the guard can do its work.
        command.process_group(0);
        if let Some(user) = start.user {
            command.uid(user).gid(user);
        }
        let mut shell = command.spawn().context("cannot start sh")?;
        let mut line = String::new();
        if let Some(output) = shell.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let pid = line.trim().parse().context("sh did not tell the process id")?;
        Ok(Self { shell, pid })
    }

    /// Fails if the program has ended.
    pub fn expect_running(&self, log: &Path) -> Result<()> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let ended = status.is_empty() || status.contains("State:\tZ");
        let said = || fs::read_to_string(log).unwrap_or_default();
        ensure!(!ended, "a process of the benchmark ended:\n{}", said());
        Ok(())
    }

    /// Resident memory in bytes: now, and the most since [`Guarded::forget_peak`].
    pub fn memory(&self) -> Result<(u64, u64)> {
        let path = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        let resident = kib("VmRSS").context("no VmRSS")?;
        Ok((resident * 1_024, kib("VmHWM").context("no VmHWM")? * 1_024))
    }

    /// How long it has kept processors busy (proc(5), `/proc/pid/stat`, fields 14 and 15, in hundredths
    /// of a second).
    pub fn processor_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.pid);
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        // After the name, which may have anything in it, comes field 3.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 =
            fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Starts to look for a new peak of memory (proc(5), `/proc/pid/clear_refs`, value 5).
    pub fn forget_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.pid);
        fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Fails only if it was waited for before.
        let _ = self.shell.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

/// What a command prints; `None` if it cannot be run or fails.
pub fn output_of(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
