//! Memory of the server: resident bytes, idle and at load.

use std::time::Duration;

use anyhow::Result;

use super::{
    super::{
        arena::{Arena, Ground},
        load::number,
        report::{Section, grouped, mebibytes},
    },
    export,
};
use crate::proto::v1::ExportFormat;

const IN_FLIGHT: usize = 256;
const BATCH: (usize, usize) = (1_000, 4);
/// How long a server that has started rests before it counts as idle.
const REST: Duration = Duration::from_secs(1);

/// Measures.
pub async fn run(ground: &Ground) -> Result<Section> {
    let arena = ground.arena("memory").await?;
    let mut section = Section {
        title: "Memory of the server".to_owned(),
        note: "Resident memory (VmRSS) at the end of each phase, and the most during it (VmHWM)."
            .to_owned(),
        header: vec!["phase", "events", "at its end", "most during it"],
        ..Default::default()
    };
    let say = |what: &str| ground.progress.say(&format!("{}: memory, {what}", ground.backend));
    say("idle");
    arena.server.process.forget_peak()?;
    tokio::time::sleep(REST).await;
    note(&arena, "idle after the start", 0, &mut section)?;

    say("CreateEvent");
    let events = arena.create(IN_FLIGHT, &arena.load(ground.plan.organizations)).await?.events;
    note(&arena, &format!("CreateEvent, {IN_FLIGHT} in flight"), events, &mut section)?;

    say("BatchCreateEvents");
    let events = arena.batch(BATCH.0, BATCH.1, &arena.load(1)).await?.events;
    let phase = format!("BatchCreateEvents of {}, {} in flight", BATCH.0, BATCH.1);
    note(&arena, &phase, events, &mut section)?;

    say("export");
    let export = export::export(&arena, ExportFormat::Csv).await?;
    note(&arena, "export to CSV", export.rows, &mut section)?;
    arena.close().await?;
    Ok(section)
}

fn note(arena: &Arena<'_>, phase: &str, events: u64, section: &mut Section) -> Result<()> {
    let (resident, peak) = arena.server.process.memory()?;
    arena.server.process.forget_peak()?;
    section.rows.push(vec![
        phase.to_owned(),
        grouped(number(events)),
        mebibytes(number(resident)),
        mebibytes(number(peak)),
    ]);
    Ok(())
}
