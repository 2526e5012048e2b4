//! With and without TLS.

use anyhow::Result;

use super::super::{
    arena::Ground,
    load::Rounds,
    report::{Goal, Section, grouped, milliseconds, times},
};

const IN_FLIGHT: [usize; 2] = [64, 256];
/// What must be left of the rate.
const BOUND: f64 = 0.85;

/// Measures.
pub async fn run(ground: &Ground) -> Result<Section> {
    let arena = ground.arena("tls").await?;
    let secured = arena.secured().await?;
    let load = arena.load(ground.plan.organizations);
    let mut section = Section {
        title: "TLS".to_owned(),
        note: "CreateEvent over TLS 1.3, events/s and times of a call.".to_owned(),
        header: vec!["in flight", "plaintext", "p50", "TLS", "p50", "TLS : plaintext"],
        ..Default::default()
    };
    for in_flight in IN_FLIGHT {
        let (mut plain, mut encrypted) = (Rounds::default(), Rounds::default());
        for round in 1..=ground.plan.rounds {
            ground.progress.say(&format!("{}: TLS, {in_flight}, round {round}", ground.backend));
            plain.0.push(arena.create(in_flight, &load).await?);
            encrypted.0.push(arena.create_on(&secured, in_flight, &load).await?);
        }
        section.rows.push(vec![
            in_flight.to_string(),
            grouped(plain.rate()),
            milliseconds(plain.p50()),
            grouped(encrypted.rate()),
            milliseconds(encrypted.p50()),
            times(encrypted.rate(), plain.rate()),
        ]);
        section.point("plaintext", &in_flight.to_string(), &plain);
        section.point("TLS", &in_flight.to_string(), &encrypted);
        let what = format!("CreateEvent at {in_flight} in flight: rate over TLS to that without");
        section.goals.push(Goal::at_least(what, encrypted.rate(), plain.rate(), BOUND));
    }
    drop(secured);
    arena.close().await?;
    Ok(section)
}
