//! The machine that a run was made on.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::Serialize;

use super::{load::number, process::output_of, report::grouped};
use crate::domain::clock::{Clock, SystemClock};

/// How long the disk is measured.
const DISK: Duration = Duration::from_secs(1);
const BLOCK: [u8; 4_096] = [0x5a; 4_096];

/// What there is to know of it.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Whether the program was built without optimization, so that figures mean nothing.
    pub debug_build: bool,
    /// Writes of 4 KiB per second, each followed by fdatasync.
    pub synced_writes_per_second: f64,
    /// Names and values, for people.
    pub facts: Vec<(String, String)>,
}

impl Machine {
    /// Looks at the machine; `directory` is where the databases will be.
    pub fn describe(directory: &Path) -> Result<Self> {
        let synced_writes_per_second = synced_writes(&directory.join("disk"))?;
        // Whoever else is at work on the machine spoils the figures.
        let load = fs::read_to_string("/proc/loadavg").ok().map(|text| text.trim().to_owned());
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        let unknown = || "unknown".to_owned();
        let from = |path, name| field(path, name).unwrap_or_else(unknown);
        let program = |name, arguments| output_of(name, arguments).unwrap_or_else(unknown);
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let disk =
            format!("{} writes of 4 KiB with fdatasync/s", grouped(synced_writes_per_second));
        let facts = [
            ("date", SystemClock.now().to_string()),
            ("program", format!("{} ({build} build)", env!("CARGO_PKG_VERSION"))),
            (
                "commit of the working directory",
                program("git", &["describe", "--always", "--dirty"]),
            ),
            ("rustc that is installed", program("rustc", &["--version"])),
            ("CPU", from("/proc/cpuinfo", "model name")),
            ("cores", cores.to_string()),
            ("memory", from("/proc/meminfo", "MemTotal")),
            ("load average before the run", load.unwrap_or_else(unknown)),
            ("kernel", program("uname", &["-sr"])),
            ("file system", file_system(directory).unwrap_or_else(unknown)),
            ("disk", disk),
        ];
        let facts = facts.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Ok(Self { debug_build: cfg!(debug_assertions), synced_writes_per_second, facts })
    }
}

/// The first value of `name` in a file of lines `name: value`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Type of the file system that holds a directory: that of the longest mount point above it.
fn file_system(directory: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let above = mounts.filter(|(point, _)| directory.starts_with(point));
    Some(above.max_by_key(|(point, _)| point.len())?.1.to_owned())
}

fn synced_writes(path: &Path) -> Result<f64> {
    let mut file = File::create(path)?;
    let started = Instant::now();
    let mut writes = 0;
    while started.elapsed() < DISK {
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        writes += 1;
    }
    let rate = number(writes) / started.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(rate)
}
