//! Exports of a long log, beside what the database's own program writes.

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};

use super::super::{
    arena::Arena,
    load::{Measurement, Rounds, number},
    plan::Backend,
    postgres::find_programs,
    report::{Goal, Section, grouped, times},
};
use crate::{
    client::manifest_path,
    proto::v1::{CreateExportRequest, ExportFormat, ExportState},
};

/// The formats, and what each must reach beside the peer.
const FORMATS: [(ExportFormat, &str, f64); 2] =
    [(ExportFormat::Csv, "CSV", 1.0), (ExportFormat::JsonLines, "JSON Lines", 1.2)];
/// The cells of the service's CSV, as each database takes them from the payload.
const TEXTS: [&str; 9] = [
    "id",
    "organization_id",
    "action",
    "version",
    "occurred_at",
    "created_at",
    "actor.id",
    "actor.type",
    "actor.name",
];
const MORE: [&str; 5] =
    ["actor.metadata", "targets", "context.location", "context.user_agent", "metadata"];

/// An export of the whole log of the first organization.
pub struct Exported {
    /// Its rows.
    pub rows: u64,
    /// Seconds until the file was ready on the server.
    ready: f64,
    /// Seconds until it was downloaded.
    downloaded: f64,
}

/// What the peer writes.
#[derive(Debug, Clone, Copy)]
enum Columns {
    /// Sequence and payload, which holds the whole event.
    Raw,
    /// The same cells as the service's CSV.
    Same,
}

/// Exports the log of the first organization and downloads the file.
pub async fn export(arena: &Arena<'_>, format: ExportFormat) -> Result<Exported> {
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let request = CreateExportRequest {
        organization_id: arena.ground.sample.organizations()[0].clone(),
        range_start: at(0),
        range_end: at(i64::from(u32::MAX)),
        format: format.into(),
        ..Default::default()
    };
    let path = arena.path("export");
    let started = Instant::now();
    let mut ready = 0.0;
    let exported = arena.server.client().export(request, &path, |export| {
        if export.state() == ExportState::Ready {
            ready = started.elapsed().as_secs_f64();
        }
    });
    let rows = exported.await?.rows_written;
    let downloaded = started.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    if format == ExportFormat::JsonLines {
        std::fs::remove_file(manifest_path(&path))?;
    }
    Ok(Exported { rows, ready, downloaded })
}

/// What the peer selects, in the order of the service's CSV.
fn select(arena: &Arena<'_>, columns: Columns) -> String {
    let organization = &arena.ground.sample.organizations()[0];
    let (postgres, paths) = (arena.ground.backend == Backend::Postgres, TEXTS.iter().chain(&MORE));
    let columns = match (columns, postgres) {
        (Columns::Raw, true) => "sequence, convert_from(payload, 'UTF8')".to_owned(),
        (Columns::Raw, false) => "sequence, CAST(payload AS TEXT)".to_owned(),
        (Columns::Same, true) => {
            let cells = paths.map(|path| {
                let path = path.replace('.', ",");
                format!("convert_from(payload, 'UTF8')::json #>> '{{{path}}}'")
            });
            cells.chain(["sequence".to_owned()]).collect::<Vec<_>>().join(", ")
        }
        (Columns::Same, false) => {
            let cells = paths.map(|path| format!("CAST(payload AS TEXT) ->> '$.{path}'"));
            cells.chain(["sequence".to_owned()]).collect::<Vec<_>>().join(", ")
        }
    };
    format!(
        "SELECT {columns} FROM events WHERE organization_id = '{organization}' \
         ORDER BY occurred_at, sequence"
    )
}

/// The same by the database's own program.
fn peer_command(arena: &Arena<'_>, columns: Columns, file: &Path) -> Result<Option<Command>> {
    let select = select(arena, columns);
    Ok(match arena.ground.backend {
        Backend::Postgres => find_programs(&["psql"]).map(|programs| {
            let copy = format!("\\copy ({select}) TO '{}' CSV", file.display());
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
            command.arg(select).stdout(output);
            let is_there = super::super::process::output_of("sqlite3", &["--version"]).is_some();
            is_there.then_some(command)
        }
    })
}

async fn peer_export(arena: &Arena<'_>, columns: Columns) -> Result<Option<f64>> {
    let file = arena.path("peer.csv");
    let Some(mut command) = peer_command(arena, columns, &file)? else { return Ok(None) };
    let started = Instant::now();
    let status = tokio::task::spawn_blocking(move || command.status()).await??;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(status.success(), "the export of the peer failed: {status}");
    std::fs::remove_file(file).context("the peer wrote no file")?;
    Ok(Some(seconds))
}

/// The rounds of one format.
#[derive(Default)]
struct Format {
    ready: Rounds,
    downloaded: Rounds,
}

fn told(rounds: &Rounds) -> String {
    if rounds.0.is_empty() { "not installed".to_owned() } else { grouped(rounds.rate()) }
}

fn empty_section(peer: &str) -> Section {
    Section {
        title: "Export".to_owned(),
        note: format!(
            "Rows/s: CreateExport until the file is READY, and until it is downloaded; {peer} of \
             sequence and payload (which holds the whole event) and, as a second peer, of the 15 cells \
             of the service's CSV, in the same order."
        ),
        header: vec![
            "format",
            "rows",
            "READY",
            "downloaded",
            "peer",
            "peer, same cells",
            "READY : peer",
            "downloaded : peer",
            "downloaded : same cells",
        ],
        ..Default::default()
    }
}

/// Measures both formats and the peer, in turn.
pub async fn section(arena: &Arena<'_>) -> Result<Section> {
    let peer = match arena.ground.backend {
        Backend::Sqlite => "sqlite3 -csv",
        Backend::Postgres => "psql \\copy",
    };
    let mut section = empty_section(peer);
    let mut formats: [Format; 2] = Default::default();
    let (mut raw, mut same, mut rows) = (Rounds::default(), Rounds::default(), 0);
    for round in 1..=arena.ground.plan.rounds {
        let what = format!("{}: export, round {round}", arena.ground.backend);
        arena.ground.progress.say(&what);
        for ((format, ..), measured) in FORMATS.iter().zip(&mut formats) {
            let ours = export(arena, *format).await?;
            rows = ours.rows;
            measured.ready.0.push(rate(rows, ours.ready));
            measured.downloaded.0.push(rate(rows, ours.downloaded));
        }
        for (columns, rounds) in [(Columns::Raw, &mut raw), (Columns::Same, &mut same)] {
            if let Some(seconds) = peer_export(arena, columns).await? {
                rounds.0.push(rate(rows, seconds));
            }
        }
    }
    let situation = format!("{rows} rows");
    for ((_, name, wanted), Format { ready, downloaded }) in FORMATS.iter().zip(&formats) {
        section.rows.push(vec![
            (*name).to_owned(),
            grouped(number(rows)),
            grouped(ready.rate()),
            grouped(downloaded.rate()),
            told(&raw),
            told(&same),
            times(ready.rate(), raw.rate()),
            times(downloaded.rate(), raw.rate()),
            times(downloaded.rate(), same.rate()),
        ]);
        section.point(&format!("{name} export until READY"), &situation, ready);
        section.point(&format!("{name} export until downloaded"), &situation, downloaded);
        if !raw.0.is_empty() {
            let what = format!("Export to {name}, downloaded: rows/s to those of {peer}");
            section.goals.push(Goal::at_least(what, downloaded.rate(), raw.rate(), *wanted));
        }
    }
    section.point(peer, &situation, &raw);
    section.point(&format!("{peer}, same cells"), &situation, &same);
    Ok(section)
}

fn rate(events: u64, seconds: f64) -> Measurement {
    let per_second = number(events) / seconds;
    Measurement { calls: 1, events, seconds, per_second, ..Default::default() }
}
