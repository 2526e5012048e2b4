//! Sweepers that die.

use std::time::Duration;

use audit_logs::domain::ids::OrganizationId;

use super::Trail;
use crate::{
    program::process::Program,
    support::{Engine, on_every_engine, until},
    transparency::grow,
};

on_every_engine!(a_step_that_is_cut_off_leaves_nothing_half_done, a_killed_server_goes_on);

async fn a_step_that_is_cut_off_leaves_nothing_half_done(engine: Engine) {
    let trail = Trail::new(engine).await;
    for _ in 0..3 {
        grow(&trail.server, "acme", 1_000).await;
    }
    trail.after_days(366);
    let organization = OrganizationId::from_stored("acme");
    // Dropped wherever it happens to be, as when the process ends.
    for round in 0..12 {
        let step = trail.store.erase_step(&organization, trail.rule());
        let cut_off = tokio::time::timeout(Duration::from_micros(round * 400), step).await;
        // A commit that was under way when its caller went may land between two looks.
        let (told, (events, erased), (rows, tombstones)) = loop {
            let told = trail.configuration("acme").await.erased_events;
            let looks = (told, trail.verified("acme").await, trail.rows("acme").await);
            if trail.configuration("acme").await.erased_events == told {
                break looks;
            }
        };
        assert_eq!((events, erased), (3_000, told), "{cut_off:?}");
        assert_eq!(u64::try_from(rows).unwrap(), 3_000 - erased);
        assert!(tombstones < 256);
    }
    trail.sweep().await;
    assert_eq!(trail.rows("acme").await, (0, 3_000 - 11 * 256));
    assert_eq!(trail.verified("acme").await, (3_000, 3_000));
}

/// The program itself, killed while it sweeps.
async fn a_killed_server_goes_on(engine: Engine) {
    let program =
        Program::on(engine).await.with("AUDIT_LOGS_RETENTION_SWEEP_INTERVAL_SECONDS", "1");
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(crate::support::schema_for("doc.read")).await.unwrap();
    let request = crate::support::create_event("acme", "doc.read");
    for _ in 0..8 {
        let batch = audit_logs::proto::v1::BatchCreateEventsRequest {
            requests: vec![request.clone(); 1_000],
            atomic: true,
        };
        client.batch_create_events(batch).await.unwrap();
    }
    // Held until the server is ready, so that the test sees the sweep begin.
    program.execute("UPDATE leases SET held_until = 9000000000000000").await;
    // As if they had been received long ago.
    program.execute("UPDATE events SET created_at = created_at - 34560000000000").await;
    let erased = async || {
        let database = sea_orm::Database::connect(program.database_url()).await.unwrap();
        let sql = "SELECT COALESCE(MAX(erased_below), 0) FROM log_retention";
        let statement = sea_orm::Statement::from_string(
            sea_orm::ConnectionTrait::get_database_backend(&database),
            sql,
        );
        let row = sea_orm::ConnectionTrait::query_one_raw(&database, statement).await.unwrap();
        row.unwrap().try_get_by_index::<i64>(0).unwrap()
    };
    program.execute("UPDATE leases SET held_until = 0, finished_at = 0").await;
    until("the sweep began", async || (erased().await > 0).then_some(())).await;
    server.kill();
    let said = program.run(&["verify", "database"]).await;
    // That the times were put back shows in what is left; nothing else is wrong.
    let differs = "the column created_at is not what the event says";
    let wrong: Vec<_> =
        said.stdout.lines().filter(|line| line.starts_with("TAMPERED acme")).collect();
    assert!(wrong.iter().all(|line| line.contains(differs)), "{said:?}");
    // The dead server's lease would run out by itself.
    program.execute("UPDATE leases SET held_until = 0").await;
    let server = program.serve().await;
    until("the sweep ended", async || (erased().await == 8_000).then_some(())).await;
    server.stop().await;
    let said = program.run(&["verify", "database"]).await.expect_success();
    assert!(said.starts_with("verified: 8002 events (8002 erased by retention)"), "{said}");
}
