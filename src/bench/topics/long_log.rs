//! A log that grows: rates at several sizes, and its export.

use anyhow::Result;

use super::{
    super::{
        arena::{Arena, Ground},
        load::{Caller, Rounds, number},
        report::{Goal, Section, grouped, milliseconds, times},
        server::BatchCaller,
    },
    export,
};

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
            sections.push(export::section(&arena).await?);
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
pub(super) async fn fill(arena: &Arena<'_>, events: u64) -> Result<u64> {
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
