//! One event per call, at several numbers in flight.

use anyhow::Result;

use super::super::{
    arena::{Arena, Ground},
    load::Rounds,
    plan::Backend,
    report::{Goal, Section, grouped, milliseconds, times},
    server::Load,
};

/// Numbers in flight that goals are set for.
const ALONE: usize = 1;
const SOME: usize = 64;
const MANY: usize = 256;

/// The contenders' rounds at one number in flight.
#[derive(Default)]
struct Contest {
    ours: Rounds,
    naive: Rounds,
    bare: Rounds,
    limit: Rounds,
}

/// Measures.
pub async fn run(ground: &Ground) -> Result<Section> {
    let arena = ground.arena("create").await?;
    let organizations = ground.plan.organizations;
    let mut section = Section {
        title: "One event per call".to_owned(),
        note: format!(
            "CreateEvent, {} organizations, events/s and times of a call.",
            grouped(super::super::load::number(organizations as u64))
        ),
        header: vec![
            "in flight",
            "CreateEvent",
            "p50",
            "p99",
            "peer 1",
            "p50",
            "peer 2",
            "limit",
            "p50",
            ": peer 1",
            ": peer 2",
            ": limit",
        ],
        ..Default::default()
    };
    for in_flight in ground.plan.in_flight {
        let contest = contest(&arena, *in_flight, &arena.load(organizations)).await?;
        contest.note(&in_flight.to_string(), &mut section);
        contest.goals(ground.backend, *in_flight, &mut section);
    }
    let keyed = Load { keyed: true, ..arena.load(organizations) };
    let contest = contest(&arena, MANY, &keyed).await?;
    contest.note(&format!("{MANY}, with idempotency keys"), &mut section);
    arena.close().await?;
    Ok(section)
}

async fn contest(arena: &Arena<'_>, in_flight: usize, load: &Load) -> Result<Contest> {
    let mut contest = Contest::default();
    let backend = arena.ground.backend;
    for round in 1..=arena.ground.plan.rounds {
        let say = |who: &str| {
            let what = format!("{backend}: {in_flight} in flight, round {round}: {who}");
            arena.ground.progress.say(&what);
        };
        say("CreateEvent");
        contest.ours.0.push(arena.create(in_flight, load).await?);
        say("peer 1");
        let naive = arena.naive(in_flight, load.organizations, load.keyed).await?;
        contest.naive.0.push(naive);
        say("peer 2");
        contest.bare.0.push(arena.bare(in_flight, load.organizations).await?);
        say("limit");
        contest.limit.0.push(arena.limit(in_flight).await?);
    }
    Ok(contest)
}

impl Contest {
    fn note(&self, situation: &str, section: &mut Section) {
        let Self { ours, naive, bare, limit } = self;
        section.rows.push(vec![
            situation.to_owned(),
            grouped(ours.rate()),
            milliseconds(ours.p50()),
            milliseconds(ours.p99()),
            grouped(naive.rate()),
            milliseconds(naive.p50()),
            grouped(bare.rate()),
            grouped(limit.rate()),
            milliseconds(limit.p50()),
            times(ours.rate(), naive.rate()),
            times(ours.rate(), bare.rate()),
            times(ours.rate(), limit.rate()),
        ]);
        for (contender, rounds) in
            [("CreateEvent", ours), ("peer 1", naive), ("peer 2", bare), ("limit", limit)]
        {
            section.point(contender, situation, rounds);
        }
    }

    fn goals(&self, backend: Backend, in_flight: usize, section: &mut Section) {
        let Self { ours, naive, bare, limit } = self;
        let at_least = |what: &str, peer: &Rounds, bound| {
            let what = format!("CreateEvent at {in_flight} in flight: rate to that of {what}");
            Goal::at_least(what, ours.rate(), peer.rate(), bound)
        };
        match (in_flight, backend) {
            (ALONE, Backend::Postgres) => section.goals.push(Goal::at_most(
                "CreateEvent at 1 in flight: p50 to that of peer 1 plus the bare call",
                ours.p50(),
                naive.p50() + limit.p50(),
                1.3,
            )),
            (SOME, _) => {
                let what = "CreateEvent at 64 in flight: p99 to p50";
                section.goals.push(Goal::at_most(what, ours.p99(), ours.p50(), 5.0));
            }
            (MANY, Backend::Postgres) => section.goals.extend([
                at_least("peer 1 (one transaction per event)", naive, 2.5),
                at_least("peer 2 (bare INSERT)", bare, 0.8),
                at_least("the limit (stores nothing)", limit, 0.5),
            ]),
            (MANY, Backend::Sqlite) => {
                section.goals.push(at_least("peer 1 (one transaction per event)", naive, 3.0));
            }
            _ => {}
        }
    }
}
