//! A log that grows: rates at several sizes, and its export.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};

use super::super::{
    arena::{Arena, Ground},
    load::{Caller, Measurement, Rounds, number},
    plan::Backend,
    postgres::find_programs,
    report::{Goal, Section, grouped, milliseconds, times},
    server::BatchCaller,
};
use crate::proto::v1::{CreateExportRequest, ExportState};

const IN_FLIGHT: usize = 256;
const BATCH: (usize, usize) = (1_000, 4);
/// What must be left of the rate of an empty log.
const BOUND: f64 = 0.8;

/// The rounds at one size of the log.
#[derive(Default)]
struct Level {
    size: u64,
    create: Rounds,
    batch: Rounds,
    limit: Rounds,
}

/// Measures growth, export, or both over one log.
pub async fn run(ground: &Ground, with_growth: bool, with_export: bool) -> Result<Vec<Section>> {
    let arena = ground.arena("long_log").await?;
    let plan = &ground.plan;
    let mut sizes = if with_growth { plan.growth.to_vec() } else { Vec::new() };
    if with_export {
        sizes.push(plan.export_events);
    }
    sizes.sort_unstable();
    sizes.dedup();
    let (mut levels, mut sections) = (Vec::new(), Vec::new());
    // Organizations are registered by one event each.
    let mut stored = 1;
    for size in sizes {
        stored += fill(&arena, size.saturating_sub(stored)).await?;
        if with_export && size == plan.export_events {
            sections.push(export_section(&arena).await?);
        }
        if with_growth && plan.growth.contains(&size) {
            let level = measure(&arena, stored).await?;
            stored += level.stored();
            levels.push(level);
        }
    }
    arena.close().await?;
    if with_growth {
        sections.push(growth_section(&levels));
    }
    Ok(sections)
}

impl Level {
    fn stored(&self) -> u64 {
        self.create.0.iter().chain(&self.batch.0).map(|round| round.events).sum()
    }
}

/// Stores so many events more in the first organization, by batches.
async fn fill(arena: &Arena<'_>, events: u64) -> Result<u64> {
    let mut callers: Vec<_> = arena
        .server
        .callers(BATCH.1)
        .map(|client| BatchCaller { client, load: arena.load(1), size: BATCH.0 })
        .collect();
    let mut stored = 0;
    let backend = arena.ground.backend;
    while stored < events {
        let calls = callers.iter_mut().map(Caller::call);
        stored += futures::future::try_join_all(calls).await?.into_iter().sum::<u64>();
        if stored.is_multiple_of(100_000) {
            let (done, all) = (grouped(number(stored)), grouped(number(events)));
            arena.ground.progress.say(&format!("{backend}: filling a log, {done} of {all}"));
        }
    }
    Ok(stored)
}

async fn measure(arena: &Arena<'_>, size: u64) -> Result<Level> {
    let mut level = Level { size, ..Default::default() };
    let load = arena.load(1);
    for round in 1..=arena.ground.plan.rounds {
        let what = format!("a log of {} events, round {round}", grouped(number(size)));
        arena.ground.progress.say(&format!("{}: {what}", arena.ground.backend));
        level.create.0.push(arena.create(IN_FLIGHT, &load).await?);
        level.batch.0.push(arena.batch(BATCH.0, BATCH.1, &load).await?);
        level.limit.0.push(arena.limit(IN_FLIGHT).await?);
    }
    Ok(level)
}

fn growth_section(levels: &[Level]) -> Section {
    let mut section = Section {
        title: "As a log grows".to_owned(),
        note: format!(
            "Events/s into one log that holds so many already: CreateEvent at {IN_FLIGHT} in flight, \
             and batches of {} at {}. The limit shows what the machine itself drifted by.",
            BATCH.0, BATCH.1
        ),
        header: vec![
            "events in the log",
            "CreateEvent",
            "p50",
            ": empty",
            "BatchCreateEvents",
            ": empty",
            "limit",
        ],
        ..Default::default()
    };
    let (Some(empty), Some(full)) = (levels.first(), levels.last()) else { return section };
    for level in levels {
        let situation = format!("{} events in the log", level.size);
        section.rows.push(vec![
            grouped(number(level.size)),
            grouped(level.create.rate()),
            milliseconds(level.create.p50()),
            times(level.create.rate(), empty.create.rate()),
            grouped(level.batch.rate()),
            times(level.batch.rate(), empty.batch.rate()),
            grouped(level.limit.rate()),
        ]);
        section.point("CreateEvent", &situation, &level.create);
        section.point("BatchCreateEvents", &situation, &level.batch);
        section.point("limit", &situation, &level.limit);
    }
    for (what, full_rate, empty_rate) in [
        ("CreateEvent", full.create.rate(), empty.create.rate()),
        ("BatchCreateEvents", full.batch.rate(), empty.batch.rate()),
    ] {
        let size = grouped(number(full.size));
        let what = format!("{what}: rate at {size} events in the log to that at an empty one");
        section.goals.push(Goal::at_least(what, full_rate, empty_rate, BOUND));
    }
    section
}

/// An export of the whole log of the first organization.
pub struct Exported {
    /// Its rows.
    pub rows: u64,
    /// Seconds until the file was ready on the server.
    ready: f64,
    /// Seconds until it was downloaded.
    downloaded: f64,
}

/// Exports the log of the first organization and downloads the file.
pub async fn export(arena: &Arena<'_>) -> Result<Exported> {
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let request = CreateExportRequest {
        organization_id: arena.ground.sample.organizations()[0].clone(),
        range_start: at(0),
        range_end: at(i64::from(u32::MAX)),
        ..Default::default()
    };
    let path = arena.path("export.csv");
    let started = Instant::now();
    let mut ready = 0.0;
    let exported = arena.server.client().export(request, &path, |export| {
        if export.state() == ExportState::Ready {
            ready = started.elapsed().as_secs_f64();
        }
    });
    let rows = exported.await?.rows_written;
    let downloaded = started.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(Exported { rows, ready, downloaded })
}

/// The same by the database's own program. The payload holds the whole event, so sequence and
/// payload are all that is needed for the same information.
fn peer_command(arena: &Arena<'_>, file: &Path) -> Result<Option<Command>> {
    let organization = &arena.ground.sample.organizations()[0];
    let select = |payload: &str| {
        format!(
            "SELECT sequence, {payload} FROM events WHERE organization_id = '{organization}' \
             ORDER BY occurred_at, sequence"
        )
    };
    Ok(match arena.ground.backend {
        Backend::Postgres => find_programs(&["psql"]).map(|programs| {
            let copy = select("convert_from(payload, 'UTF8')");
            let copy = format!("\\copy ({copy}) TO '{}' CSV", file.display());
            let mut command = Command::new(programs.join("psql"));
            // The parameters are those of the driver, which psql does not know.
            let url = arena.database_url.split('?').next().unwrap_or_default();
            command.args(["--no-psqlrc", "-d", url, "-c", &copy]);
            command.stdout(Stdio::null());
            command
        }),
        Backend::Sqlite => {
            let output = File::create(file)?;
            let mut command = Command::new("sqlite3");
            command.args(["-readonly", "-csv"]).arg(arena.path("audit-logs.db"));
            command.arg(select("CAST(payload AS TEXT)")).stdout(output);
            let is_there = super::super::process::output_of("sqlite3", &["--version"]).is_some();
            is_there.then_some(command)
        }
    })
}

async fn peer_export(arena: &Arena<'_>) -> Result<Option<f64>> {
    let file = arena.path("peer.csv");
    let Some(mut command) = peer_command(arena, &file)? else { return Ok(None) };
    let started = Instant::now();
    let status = tokio::task::spawn_blocking(move || command.status()).await??;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(status.success(), "the export of the peer failed: {status}");
    std::fs::remove_file(file).context("the peer wrote no file")?;
    Ok(Some(seconds))
}

async fn export_section(arena: &Arena<'_>) -> Result<Section> {
    let peer = match arena.ground.backend {
        Backend::Sqlite => "sqlite3 -csv",
        Backend::Postgres => "psql \\copy",
    };
    let mut section = Section {
        title: "Export to CSV".to_owned(),
        note: format!(
            "Rows/s: CreateExport until the file is READY, and until it is downloaded; {peer} of \
             sequence and payload (which holds the whole event) in the same order."
        ),
        header: vec!["rows", "READY", "downloaded", "peer", "downloaded : peer"],
        ..Default::default()
    };
    let (mut ready, mut downloaded, mut theirs) =
        (Rounds::default(), Rounds::default(), Rounds::default());
    let mut rows = 0;
    for round in 1..=arena.ground.plan.rounds {
        let what = format!("{}: export, round {round}", arena.ground.backend);
        arena.ground.progress.say(&what);
        let ours = export(arena).await?;
        rows = ours.rows;
        ready.0.push(rate(rows, ours.ready));
        downloaded.0.push(rate(rows, ours.downloaded));
        if let Some(seconds) = peer_export(arena).await? {
            theirs.0.push(rate(rows, seconds));
        }
    }
    section.rows.push(vec![
        grouped(number(rows)),
        grouped(ready.rate()),
        grouped(downloaded.rate()),
        if theirs.0.is_empty() { "not installed".to_owned() } else { grouped(theirs.rate()) },
        times(downloaded.rate(), theirs.rate()),
    ]);
    let situation = format!("{rows} rows");
    section.point("export until READY", &situation, &ready);
    section.point("export until downloaded", &situation, &downloaded);
    section.point(peer, &situation, &theirs);
    if !theirs.0.is_empty() {
        let what = format!("Export, downloaded: rows/s to those of {peer}");
        section.goals.push(Goal::at_least(what, downloaded.rate(), theirs.rate(), 1.0));
    }
    Ok(section)
}

fn rate(events: u64, seconds: f64) -> Measurement {
    let per_second = number(events) / seconds;
    Measurement { calls: 1, events, seconds, per_second, ..Default::default() }
}
