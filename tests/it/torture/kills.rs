//! The server's end, at a random moment: by `kill -9`, in good order, one of two.

use std::time::{Duration, Instant};

use rand::RngExt;

use super::{Torture, rounds};
use crate::{
    program::process::Program,
    support::{Engine, on_every_engine, postgres::is_available},
};

on_every_engine!(the_server_is_killed, the_server_is_told_to_stop);

/// How long a shutdown may take, by the design; orchestrators kill after that.
const SHUTDOWN: Duration = Duration::from_secs(30);

async fn the_server_is_killed(engine: Engine) {
    let program = Program::on(engine).await;
    let mut server = program.serve().await;
    let name = format!("kill -9, {engine:?}");
    let mut torture = Torture::over(name, program, vec![server.client().await]).await;
    for _ in 0..rounds() {
        let storm = torture.storm();
        torture.some_moment().await;
        let lag = torture.random.random_range(0..4_000);
        tokio::time::sleep(Duration::from_micros(lag)).await;
        server.kill();
        torture.disaster();
        storm.end().await;
        server = torture.program.serve().await;
        torture.fleet.replace(0, server.client().await);
        torture.check(&server.client().await).await;
    }
    torture.conclude(&server.client().await).await;
}

async fn the_server_is_told_to_stop(engine: Engine) {
    let program = Program::on(engine).await;
    let mut server = program.serve().await;
    let name = format!("SIGTERM, {engine:?}");
    let mut torture = Torture::over(name, program, vec![server.client().await]).await;
    for _ in 0..rounds() {
        let storm = torture.storm();
        torture.some_moment().await;
        let told = Instant::now();
        let outcome = server.stop().await;
        assert!(told.elapsed() < SHUTDOWN, "it took {:?}: {outcome:?}", told.elapsed());
        outcome.expect_success();
        torture.disaster();
        storm.end().await;
        server = torture.program.serve().await;
        torture.fleet.replace(0, server.client().await);
        torture.check(&server.client().await).await;
    }
    torture.conclude(&server.client().await).await;
}

/// Callers go on with the other replica, and with the killed one when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_replicas_is_killed() {
    if !is_available() {
        return;
    }
    let program = Program::on(Engine::Postgres).await;
    let mut servers = vec![program.serve().await, program.serve().await];
    let clients = vec![servers[0].client().await, servers[1].client().await];
    let name = "kill -9 of one of two replicas, Postgres".to_owned();
    let mut torture = Torture::over(name, program, clients).await;
    torture.shape.organizations = 10;
    for _ in 0..rounds() {
        let storm = torture.storm();
        torture.some_moment().await;
        let victim = torture.random.random_range(0..2);
        servers.remove(victim).kill();
        torture.disaster();
        // The other one is not disturbed.
        torture.some_moment().await;
        servers.insert(victim, torture.program.serve().await);
        torture.fleet.replace(victim, servers[victim].client().await);
        torture.some_moment().await;
        storm.end().await;
        torture.check(&servers[victim].client().await).await;
    }
    torture.conclude(&servers[0].client().await).await;
}
