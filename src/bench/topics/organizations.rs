//! One organization and many.

use anyhow::Result;

use super::super::{
    arena::Ground,
    load::Rounds,
    report::{Goal, Section, grouped, times},
};

const IN_FLIGHT: usize = 256;
const BATCH: (usize, usize) = (1_000, 4);
/// How fast one must be beside many, and many beside one.
const BOUND: f64 = 0.7;

/// Measures.
pub async fn run(ground: &Ground) -> Result<Section> {
    let arena = ground.arena("organizations").await?;
    let many = ground.plan.organizations;
    let loads = [arena.load(1), arena.load(many)];
    let mut section = Section {
        title: "One organization and many".to_owned(),
        note: format!("Events/s into one log and into {many}. Peer 1 beside them."),
        header: vec!["", "one", "many", "one : many", "many : one"],
        ..Default::default()
    };
    let mut create = [Rounds::default(), Rounds::default()];
    let mut naive = create.clone();
    let mut batch = create.clone();
    for round in 1..=ground.plan.rounds {
        for (index, load) in loads.iter().enumerate() {
            let count = load.organizations;
            let what = format!("{}: {count} organizations, round {round}", ground.backend);
            ground.progress.say(&what);
            create[index].0.push(arena.create(IN_FLIGHT, load).await?);
            naive[index].0.push(arena.naive(IN_FLIGHT, count, false).await?);
            batch[index].0.push(arena.batch(BATCH.0, BATCH.1, load).await?);
        }
    }
    let create_name = format!("CreateEvent, {IN_FLIGHT} in flight");
    let batch_name = format!("BatchCreateEvents of {}, {} in flight", BATCH.0, BATCH.1);
    note(&create_name, &create, true, &mut section);
    note(&batch_name, &batch, true, &mut section);
    note(&format!("peer 1, {IN_FLIGHT} in flight"), &naive, false, &mut section);
    arena.close().await?;
    Ok(section)
}

fn note(name: &str, [one, many]: &[Rounds; 2], ours: bool, section: &mut Section) {
    section.rows.push(vec![
        name.to_owned(),
        grouped(one.rate()),
        grouped(many.rate()),
        times(one.rate(), many.rate()),
        times(many.rate(), one.rate()),
    ]);
    section.point(name, "one organization", one);
    section.point(name, "many organizations", many);
    if ours {
        let (one, many) = (one.rate(), many.rate());
        section.goals.extend([
            Goal::at_least(format!("{name}: one organization to many"), one, many, BOUND),
            Goal::at_least(format!("{name}: many organizations to one"), many, one, BOUND),
        ]);
    }
}
