//! The database is lost for good, and its standby takes over under the same address.

use std::time::Instant;

use super::{Torture, connections::readiness, rounds};
use crate::{
    operations::proxy::{Line, Proxy},
    program::process::Program,
    support::{
        cluster::{Cluster, is_installed},
        server::ROOT_KEY,
    },
};

/// What becomes of the connections to a server that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connections {
    /// They end, and its address refuses new ones until it moves.
    Refused,
    /// Nobody ever hears of them again: its machine is gone.
    Forsaken,
}

/// The service knows one address, which leads to the primary. (The driver takes one host, so in a
/// deployment that address is a virtual one, a proxy, or a name that moves.)
async fn the_standby_takes_over(connections: Connections) {
    if !is_installed() {
        return;
    }
    let mut primary = Cluster::start(&[]);
    let (mut proxy, through) = Proxy::open(&format!("{}/postgres", primary.base())).await;
    // With the few that other tests have, all callers wait for one connection.
    let program = Program::over(Some(through))
        .with("AUDIT_LOGS_BOOTSTRAP_API_KEY", ROOT_KEY)
        .with("AUDIT_LOGS_DATABASE_MAX_CONNECTIONS", "20");
    let server = program.serve_with(&["--migrate"]).await;
    let client = server.client().await;
    let name = format!("standby takes over, connections {connections:?}");
    let mut torture = Torture::over(name, program, vec![client.clone()]).await;
    // A standby costs seconds to make.
    for _ in 0..rounds().min(5).div_ceil(2) {
        let standby = primary.standby().await;
        let storm = torture.storm();
        torture.some_moment().await;
        match connections {
            Connections::Refused => proxy.set(Line::Cut),
            Connections::Forsaken => proxy.forsake(),
        }
        primary.stop_immediately();
        torture.disaster();
        standby.promote().await;
        proxy.lead_to(standby.address());
        proxy.set(Line::Open);
        let promoted = Instant::now();
        torture.some_moment().await;
        let written = promoted.elapsed();
        readiness(&server.url, true).await;
        println!(
            "torture: events were written {written:.1?} after the standby took over, ready after \
             {:.1?}",
            promoted.elapsed(),
        );
        storm.end().await;
        torture.check(&client).await;
        primary = standby;
    }
    torture.conclude(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_standby_takes_over_from_a_server_that_ended() {
    the_standby_takes_over(Connections::Refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_standby_takes_over_from_a_server_that_vanished() {
    the_standby_takes_over(Connections::Forsaken).await;
}
