//! With and without receipts.

use anyhow::Result;

use super::super::{
    arena::Ground,
    load::Rounds,
    report::{Goal, Section, grouped, times},
    server::Load,
};

const IN_FLIGHT: usize = 256;
const BATCH: (usize, usize) = (1_000, 4);
/// What must be left of the rate.
const BOUND: f64 = 0.75;

/// Measures.
pub async fn run(ground: &Ground) -> Result<Section> {
    let arena = ground.arena("receipts").await?;
    let many = ground.plan.organizations;
    let mut section = Section {
        title: "Receipts".to_owned(),
        note: format!("Events/s into {many} organizations."),
        header: vec!["", "without", "with", "with : without"],
        ..Default::default()
    };
    let without = arena.load(many);
    let loads = [without.clone(), Load { receipt: true, ..without }];
    let mut create = [Rounds::default(), Rounds::default()];
    let mut batch = create.clone();
    for round in 1..=ground.plan.rounds {
        ground.progress.say(&format!("{}: receipts, round {round}", ground.backend));
        for (index, load) in loads.iter().enumerate() {
            create[index].0.push(arena.create(IN_FLIGHT, load).await?);
            batch[index].0.push(arena.batch(BATCH.0, BATCH.1, load).await?);
        }
    }
    let batch_name = format!("BatchCreateEvents of {}, {} in flight", BATCH.0, BATCH.1);
    for (name, [without, with]) in
        [(format!("CreateEvent, {IN_FLIGHT} in flight"), &create), (batch_name, &batch)]
    {
        section.rows.push(vec![
            name.clone(),
            grouped(without.rate()),
            grouped(with.rate()),
            times(with.rate(), without.rate()),
        ]);
        section.point(&name, "without receipts", without);
        section.point(&name, "with receipts", with);
        let what = format!("{name}: rate with receipts to that without");
        section.goals.push(Goal::at_least(what, with.rate(), without.rate(), BOUND));
    }
    arena.close().await?;
    Ok(section)
}
