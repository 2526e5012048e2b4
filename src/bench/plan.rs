//! What is measured, and for how long.

use std::{fmt, str::FromStr, time::Duration};

/// A database engine under the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// A part of the benchmark that can be asked for alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Cold start and idle memory.
    Start,
    /// One event per call, at several numbers in flight.
    Create,
    /// Many events per call.
    Batch,
    /// A stream of events.
    Ingest,
    /// One organization and many.
    Organizations,
    /// With and without receipts.
    Receipts,
    /// With and without TLS.
    Tls,
    /// With and without metrics and traces.
    Telemetry,
    /// Watchers, busy and idle.
    Watch,
    /// Log streams, one and many.
    Forward,
    /// A log to CSV.
    Export,
    /// Memory of the server.
    Memory,
    /// Rates as a log grows.
    Growth,
}

impl Topic {
    /// All, in the order in which they are measured.
    pub const ALL: [Self; 13] = [
        Self::Start,
        Self::Create,
        Self::Batch,
        Self::Ingest,
        Self::Organizations,
        Self::Receipts,
        Self::Tls,
        Self::Telemetry,
        Self::Watch,
        Self::Forward,
        Self::Export,
        Self::Memory,
        Self::Growth,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Create => "create",
            Self::Batch => "batch",
            Self::Ingest => "ingest",
            Self::Organizations => "organizations",
            Self::Receipts => "receipts",
            Self::Tls => "tls",
            Self::Telemetry => "telemetry",
            Self::Watch => "watch",
            Self::Forward => "forward",
            Self::Export => "export",
            Self::Memory => "memory",
            Self::Growth => "growth",
        }
    }
}

impl FromStr for Topic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|topic| topic.name() == text);
        found.ok_or_else(|| format!("there is no topic {text}; there are {}", names()))
    }
}

/// How long one measurement takes.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Load before anything counts.
    pub warm_up: Duration,
    /// Load that counts.
    pub measured: Duration,
}

/// The numbers of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long each measurement takes.
    pub timing: Timing,
    /// How often each is repeated, contenders in turn; the median counts.
    pub rounds: usize,
    /// Numbers of calls in flight, ascending.
    pub in_flight: &'static [usize],
    /// How many organizations "many" are.
    pub organizations: usize,
    /// How many watchers wait for nothing, and for how many seconds.
    pub idle_watchers: usize,
    /// See `idle_watchers`.
    pub idle_seconds: u64,
    /// How many events a log stream forwards at once.
    pub forwarded_events: u64,
    /// How many log streams there are where there are many.
    pub log_streams: usize,
    /// How many events an export has.
    pub export_events: u64,
    /// Sizes of a log at which rates are measured, ascending from 0.
    pub growth: &'static [u64],
}

impl Plan {
    /// The figures of record: some 10 minutes per engine.
    pub const fn full() -> Self {
        Self {
            timing: timing(2_000),
            rounds: 3,
            in_flight: &[1, 8, 64, 256, 1_024],
            organizations: 1_000,
            idle_watchers: 5_000,
            idle_seconds: 24,
            forwarded_events: 300_000,
            log_streams: 500,
            export_events: 1_000_000,
            growth: &[0, 1_000_000, 5_000_000],
        }
    }

    /// A look that everything works: some 30 seconds per engine.
    pub const fn quick() -> Self {
        Self {
            timing: timing(500),
            rounds: 1,
            in_flight: &[1, 64, 256],
            organizations: 1_000,
            idle_watchers: 500,
            idle_seconds: 2,
            forwarded_events: 10_000,
            log_streams: 50,
            export_events: 20_000,
            growth: &[0, 20_000, 50_000],
        }
    }

    /// The same with that many seconds per measurement.
    #[must_use]
    pub fn with_seconds(self, seconds: f64) -> Self {
        let measured = Duration::from_secs_f64(seconds);
        Self { timing: Timing { warm_up: measured / 4, measured }, ..self }
    }
}

const fn timing(milliseconds: u64) -> Timing {
    Timing {
        warm_up: Duration::from_millis(milliseconds / 4),
        measured: Duration::from_millis(milliseconds),
    }
}
