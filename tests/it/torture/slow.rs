//! Every answer of the database comes 100 ms late.

use std::time::Duration;

use super::{Torture, connections::readiness, rounds};
use crate::{
    operations::proxy::{Line, Proxy},
    program::process::Program,
    support::{
        postgres::{is_available, migrated_database},
        server::ROOT_KEY,
    },
};

const DELAY: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_slow() {
    if !is_available() {
        return;
    }
    let (mut proxy, through) = Proxy::open(&migrated_database().await).await;
    let program = Program::over(Some(through))
        .with("AUDIT_LOGS_BOOTSTRAP_API_KEY", ROOT_KEY)
        // With one connection for all callers, as other tests have it, they would wait in turn.
        .with("AUDIT_LOGS_DATABASE_MAX_CONNECTIONS", "20");
    let server = program.serve().await;
    let client = server.client().await;
    let name = "PostgreSQL slow by 100 ms".to_owned();
    let mut torture = Torture::over(name, program, vec![client.clone()]).await;
    for _ in 0..rounds() {
        let storm = torture.storm();
        torture.some_moment().await;
        proxy.set(Line::Slow(DELAY));
        torture.disaster();
        let refused = torture.ledger.tally.refusals();
        torture.some_moment().await;
        torture.some_moment().await;
        // Slow is not away.
        readiness(&server.url, true).await;
        assert_eq!(torture.ledger.tally.refusals(), refused, "calls were refused");
        proxy.set(Line::Open);
        torture.some_moment().await;
        storm.end().await;
        torture.check(&client).await;
    }
    torture.conclude(&client).await;
}
