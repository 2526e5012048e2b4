//! Many events per call, against the fastest way into the same table.

use anyhow::Result;

use super::{
    super::{
        arena::{Arena, Ground},
        load::Rounds,
        plan::Backend,
        report::{Goal, Section, grouped, milliseconds, times},
    },
    best,
};

/// Sizes of batches, each with the numbers in flight of which the best counts.
const BATCHES: [(usize, &[usize]); 2] = [(100, &[8, 16, 32]), (1_000, &[2, 3, 4, 8])];
/// Numbers of connections of which the best counts.
const CONNECTIONS: &[usize] = &[1, 2, 4];

/// Measures.
pub async fn run(ground: &Ground) -> Result<Section> {
    let arena = ground.arena("batch").await?;
    let peer = match ground.backend {
        Backend::Sqlite => "prepared INSERT",
        Backend::Postgres => "binary COPY",
    };
    let mut section = Section {
        title: "Many events per call".to_owned(),
        note: format!(
            "BatchCreateEvents against {peer} of 1,000 rows per commit, events/s. Each with the \
             number in flight, or of connections, that a first try found best."
        ),
        header: vec![
            "batch",
            "organizations",
            "in flight",
            "BatchCreateEvents",
            "p50",
            "p99",
            "connections",
            "bulk peer",
            ": bulk peer",
        ],
        ..Default::default()
    };
    for organizations in [1, ground.plan.organizations] {
        for (size, numbers) in BATCHES {
            contest(&arena, size, numbers, organizations, &mut section).await?;
        }
    }
    arena.close().await?;
    Ok(section)
}

async fn contest(
    arena: &Arena<'_>,
    size: usize,
    numbers: &[usize],
    organizations: usize,
    section: &mut Section,
) -> Result<()> {
    let backend = arena.ground.backend;
    let say = |what: &str| {
        let all = format!("{backend}: batches of {size}, {organizations} organizations: {what}");
        arena.ground.progress.say(&all);
    };
    let load = arena.load(organizations);
    say("looking for the best number in flight");
    let in_flight = best(numbers, async |n| arena.batch(size, n, &load).await).await?;
    let connections = match backend {
        Backend::Sqlite => 1,
        Backend::Postgres => {
            best(CONNECTIONS, async |n| arena.bulk(n, organizations).await).await?
        }
    };
    let (mut ours, mut bulk) = (Rounds::default(), Rounds::default());
    for round in 1..=arena.ground.plan.rounds {
        say(&format!("round {round}"));
        ours.0.push(arena.batch(size, in_flight, &load).await?);
        bulk.0.push(arena.bulk(connections, organizations).await?);
    }
    section.rows.push(vec![
        size.to_string(),
        organizations.to_string(),
        in_flight.to_string(),
        grouped(ours.rate()),
        milliseconds(ours.p50()),
        milliseconds(ours.p99()),
        connections.to_string(),
        grouped(bulk.rate()),
        times(ours.rate(), bulk.rate()),
    ]);
    let situation = format!("batches of {size}, {organizations} organizations");
    section.point(&format!("BatchCreateEvents, {in_flight} in flight"), &situation, &ours);
    section.point(&format!("bulk peer, {connections} connections"), &situation, &bulk);
    if (size, organizations) == (1_000, 1) {
        let (peer, bound) = match backend {
            Backend::Sqlite => ("a prepared-statement loop in one transaction", 0.6),
            Backend::Postgres => ("binary COPY", 0.5),
        };
        let what = format!("BatchCreateEvents (1,000, one organization): rate to that of {peer}");
        section.goals.push(Goal::at_least(what, ours.rate(), bulk.rate(), bound));
    }
    Ok(())
}
