//! What it costs to be watched: CreateEvent with nothing on, with metrics, and with metrics and a trace of
//! every call.

use anyhow::Result;

use super::super::{
    arena::{Arena, Ground},
    collector::Collector,
    load::{Rounds, number},
    report::{Goal, Section, grouped, times},
};

const IN_FLIGHT: usize = 256;
/// What must be left of the rate.
const BOUND: f64 = 0.95;
/// A free port of the server's choice.
const PAGE: (&str, &str) = ("AUDIT_LOGS_METRICS_LISTEN", "127.0.0.1:0");

/// Measures.
pub async fn run(ground: &Ground) -> Result<Section> {
    let collector = Collector::start().await?;
    let endpoint = format!("http://{}", collector.address);
    let traced = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str());
    let arenas = [
        ground.arena_with("telemetry_off", &[]).await?,
        ground.arena_with("telemetry_metrics", &[PAGE]).await?,
        ground.arena_with("telemetry_full", &[PAGE, traced]).await?,
    ];
    let mut rounds = [Rounds::default(), Rounds::default(), Rounds::default()];
    // The difference is smaller than what one round differs from the next.
    for round in 1..=ground.plan.rounds * 3 {
        ground.progress.say(&format!("{}: telemetry, round {round}", ground.backend));
        for (arena, rounds) in arenas.iter().zip(&mut rounds) {
            rounds.0.push(create(arena).await?);
        }
    }
    let [off, metrics, full] = &rounds;
    // Spans come some seconds after their calls.
    let calls: usize = full.0.iter().map(|round| round.calls).sum();
    let each = number(collector.spans()) / number(calls.max(1) as u64);
    let mut section = Section {
        title: "Telemetry".to_owned(),
        note: format!(
            "CreateEvent, {IN_FLIGHT} in flight, events/s. \"All\" is metrics and, at a sampling of \
             100 %, for every call the spans of the call and of the commit, sent to a collector on \
             this machine that counts them: {each:.1} for each counted call, those of the warm-up \
             included and those that are still on their way not."
        ),
        header: vec!["", "off", "metrics", "all", "metrics : off", "all : off"],
        ..Default::default()
    };
    section.rows.push(vec![
        "CreateEvent".to_owned(),
        grouped(off.rate()),
        grouped(metrics.rate()),
        grouped(full.rate()),
        times(metrics.rate(), off.rate()),
        times(full.rate(), off.rate()),
    ]);
    for (name, rounds) in [("off", off), ("metrics", metrics), ("all", full)] {
        section.point("telemetry", name, rounds);
    }
    let what = "CreateEvent: rate with metrics and every call traced to that with neither";
    section.goals.push(Goal::at_least(what, full.rate(), off.rate(), BOUND));
    for arena in arenas {
        arena.close().await?;
    }
    Ok(section)
}

async fn create(arena: &Arena<'_>) -> Result<super::super::load::Measurement> {
    arena.create(IN_FLIGHT, &arena.load(arena.ground.plan.organizations)).await
}
