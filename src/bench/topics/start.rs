//! Cold start, and the memory of a server that nobody calls.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tonic::transport::Endpoint;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::super::{
    arena::Ground,
    load::number,
    process::{Guarded, Start, free_port},
    report::{Goal, Section, mebibytes},
};

/// Starts on a database that is there already; the median counts.
const STARTS: usize = 5;
/// How often health is asked until it says SERVING.
const LOOK: Duration = Duration::from_millis(2);
/// How long a start may take at all.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a server rests before it counts as idle.
const REST: Duration = Duration::from_secs(5);
/// What a cold start may take, in milliseconds.
const START_GOAL: f64 = 300.0;
/// What an idle server may have resident.
const MEMORY_GOAL: f64 = 40.0 * 1_024.0 * 1_024.0;

/// Measures.
pub async fn run(ground: &Ground) -> Result<Section> {
    ground.progress.say(&format!("{}: start", ground.backend));
    let directory = ground.directory.join("start");
    fs::create_dir(&directory).context("cannot make a directory")?;
    let url = match &ground.postgres {
        Some(server) => {
            let name = format!("audit_logs_bench_{}_start", std::process::id());
            server.create_database(&name).await?
        }
        None => format!("sqlite://{}", directory.join("audit-logs.db").display()),
    };
    let (first, _) = start(ground, &directory, &url, Duration::ZERO).await?;
    let mut starts = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        starts.push(start(ground, &directory, &url, Duration::ZERO).await?.0);
    }
    starts.sort_unstable();
    let median = starts[STARTS / 2];
    let (_, resident) = start(ground, &directory, &url, REST).await?;
    if let Some(server) = &ground.postgres {
        server.drop_databases().await?;
    }
    fs::remove_dir_all(&directory).context("cannot remove what was measured")?;
    Ok(section(ground, first, median, resident))
}

fn section(ground: &Ground, first: Duration, median: Duration, resident: u64) -> Section {
    let milliseconds = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1_000.0);
    let goal = |what: &str, found, bound| {
        Goal::at_most(format!("{what}, {}", ground.backend), found, bound, 1.0)
    };
    Section {
        title: "Start".to_owned(),
        note: "From the start of the process to the first SERVING of grpc.health.v1.Health, and \
               resident memory (VmRSS) 5 s later, without a call."
            .to_owned(),
        header: vec!["what", "measured"],
        rows: vec![
            vec!["start on an empty database, with its schema".to_owned(), milliseconds(first)],
            vec![format!("start on its database, median of {STARTS}"), milliseconds(median)],
            vec!["resident, idle".to_owned(), mebibytes(number(resident))],
        ],
        goals: vec![
            goal("cold start, to 300 ms", median.as_secs_f64() * 1_000.0, START_GOAL),
            goal("idle resident memory, to 40 MiB", number(resident), MEMORY_GOAL),
        ],
        ..Default::default()
    }
}

/// Starts a server, ends it after `rest`, and returns how long it took to be ready, and its memory.
async fn start(
    ground: &Ground,
    directory: &Path,
    url: &str,
    rest: Duration,
) -> Result<(Duration, u64)> {
    let (address, log) = (format!("127.0.0.1:{}", free_port()?), directory.join("serve.log"));
    let key = format!("sk_{}", "0".repeat(40));
    let begun = Instant::now();
    let process = Guarded::start(&Start {
        command: vec![ground.program.as_os_str(), OsStr::new("serve"), OsStr::new("--migrate")],
        variables: vec![
            ("AUDIT_LOGS_LISTEN", address.clone()),
            ("AUDIT_LOGS_DATA_DIR", directory.display().to_string()),
            ("AUDIT_LOGS_DATABASE_URL", url.to_owned()),
            ("AUDIT_LOGS_BOOTSTRAP_API_KEY", key),
        ],
        directory,
        log: &log,
        signal: "TERM",
        user: None,
    })?;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    while !is_serving(&endpoint).await {
        process.expect_running(&log)?;
        ensure!(begun.elapsed() < PATIENCE, "the server was not ready within a minute");
        tokio::time::sleep(LOOK).await;
    }
    let ready = begun.elapsed();
    tokio::time::sleep(rest).await;
    Ok((ready, process.memory()?.0))
}

async fn is_serving(endpoint: &Endpoint) -> bool {
    let Ok(channel) = endpoint.connect().await else { return false };
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
}
