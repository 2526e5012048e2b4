//! One stream of events, against calls of many events.

use anyhow::Result;

use super::{
    super::{
        arena::{Arena, Ground},
        ingest::Pace,
        load::Rounds,
        report::{Goal, Section, grouped, times},
        server::Load,
    },
    best,
};

/// Events of a call, and items of a large message.
const SIZE: usize = 1_000;
/// Numbers of large messages, and of calls, under way, of which the best counts.
const LARGE: &[usize] = &[2, 3, 4];
/// Numbers of messages with one item each, likewise.
const SINGLE: &[usize] = &[1_000, 4_000];
/// How fast the stream must be beside the calls.
const BOUND: f64 = 0.9;

/// Measures.
pub async fn run(ground: &Ground) -> Result<Section> {
    let arena = ground.arena("ingest").await?;
    let mut section = Section {
        title: "A stream of events".to_owned(),
        note: format!(
            "IngestEvents on one stream against BatchCreateEvents of {SIZE}, events/s. Each with the \
             number of messages, or calls, under way that a first try found best."
        ),
        header: vec![
            "organizations",
            "calls",
            "BatchCreateEvents",
            "messages",
            "items of 1,000",
            "messages",
            "items of 1",
            "1,000 : batch",
            "1 : batch",
        ],
        ..Default::default()
    };
    for organizations in [1, ground.plan.organizations] {
        contest(&arena, &arena.load(organizations), &mut section).await?;
    }
    arena.close().await?;
    Ok(section)
}

async fn contest(arena: &Arena<'_>, load: &Load, section: &mut Section) -> Result<()> {
    let organizations = load.organizations;
    let say = |what: &str| {
        let engine = arena.ground.backend;
        let all = format!("{engine}: streams, {organizations} organizations: {what}");
        arena.ground.progress.say(&all);
    };
    say("looking for the best numbers under way");
    let calls = best(LARGE, async |n| arena.batch(SIZE, n, load).await).await?;
    let pace = |items, messages| Pace { items, messages };
    let large = best(LARGE, async |n| arena.ingest(pace(SIZE, n), load).await).await?;
    let single = best(SINGLE, async |n| arena.ingest(pace(1, n), load).await).await?;
    let (mut batch, mut thousands, mut ones) =
        (Rounds::default(), Rounds::default(), Rounds::default());
    for round in 1..=arena.ground.plan.rounds {
        say(&format!("round {round}"));
        batch.0.push(arena.batch(SIZE, calls, load).await?);
        thousands.0.push(arena.ingest(pace(SIZE, large), load).await?);
        ones.0.push(arena.ingest(pace(1, single), load).await?);
    }
    section.rows.push(vec![
        organizations.to_string(),
        calls.to_string(),
        grouped(batch.rate()),
        large.to_string(),
        grouped(thousands.rate()),
        single.to_string(),
        grouped(ones.rate()),
        times(thousands.rate(), batch.rate()),
        times(ones.rate(), batch.rate()),
    ]);
    let situation = format!("{organizations} organizations");
    section.point(&format!("BatchCreateEvents, {calls} in flight"), &situation, &batch);
    section.point(&format!("IngestEvents, {large} messages of 1,000"), &situation, &thousands);
    section.point(&format!("IngestEvents, {single} messages of 1"), &situation, &ones);
    let what = format!(
        "IngestEvents on one stream (1,000 per message, {situation}): rate to that of \
         BatchCreateEvents (1,000)"
    );
    section.goals.push(Goal::at_least(what, thousands.rate(), batch.rate(), BOUND));
    Ok(())
}
