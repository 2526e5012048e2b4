//! The database goes away under a server that stays: stopped as by a power cut, or connection by
//! connection.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};

use super::{Torture, rounds};
use crate::{
    program::process::Program,
    support::{
        Engine,
        cluster::{Cluster, is_installed},
        postgres::is_available,
        server::ROOT_KEY,
        until,
    },
};

/// Waits until the server says that it is ready, or is not.
pub async fn readiness(url: &str, ready: bool) {
    let url = format!("{url}/readyz");
    until("readiness changes", async || {
        let response = reqwest::get(&url).await.unwrap();
        (response.status().is_success() == ready).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_stopped_at_once() {
    if !is_installed() {
        return;
    }
    // On a disk, with fsync: the defaults.
    let mut cluster = Cluster::start(&[]);
    let program = Program::over(Some(format!("{}/postgres", cluster.base())))
        .with("AUDIT_LOGS_BOOTSTRAP_API_KEY", ROOT_KEY);
    let server = program.serve_with(&["--migrate"]).await;
    let client = server.client().await;
    let name = "PostgreSQL stopped with immediate".to_owned();
    let mut torture = Torture::over(name, program, vec![client.clone()]).await;
    for round in 0..rounds() {
        let storm = torture.storm();
        torture.some_moment().await;
        cluster.stop_immediately();
        torture.disaster();
        if round % 10 == 9 {
            // A long one.
            readiness(&server.url, false).await;
        } else {
            let downtime = Duration::from_millis(torture.random.random_range(0..400));
            tokio::time::sleep(downtime).await;
        }
        cluster.resume();
        // By itself.
        readiness(&server.url, true).await;
        torture.some_moment().await;
        storm.end().await;
        torture.check(&client).await;
    }
    torture.conclude(&client).await;
}

/// How many connections are cut while one storm lasts.
const CUTS: u64 = 30;

/// Cuts one connection of the server.
async fn cut_one(database: &DatabaseConnection, random: &mut StdRng) {
    let backend = database.get_database_backend();
    let others = "SELECT pid FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let rows = database.query_all_raw(Statement::from_string(backend, others)).await.unwrap();
    let pids: Vec<i32> = rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
    if let Some(pid) = pids.choose(random) {
        let cut = format!("SELECT pg_terminate_backend({pid})");
        database.execute_unprepared(&cut).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_cut_one_by_one() {
    if !is_available() {
        return;
    }
    let program = Program::on(Engine::Postgres).await;
    let server = program.serve().await;
    let client = server.client().await;
    let name = "connections cut".to_owned();
    let mut torture = Torture::over(name, program, vec![client.clone()]).await;
    for _ in 0..rounds() {
        // One connection for all: its own is the one that it does not cut.
        let mut options = ConnectOptions::new(torture.program.database_url());
        options.max_connections(1);
        let database = Database::connect(options).await.unwrap();
        let storm = torture.storm();
        for _ in 0..CUTS {
            cut_one(&database, &mut torture.random).await;
            torture.disaster();
            let pause = Duration::from_micros(torture.random.random_range(500..8_000));
            tokio::time::sleep(pause).await;
        }
        torture.some_moment().await;
        storm.end().await;
        database.close().await.unwrap();
        torture.check(&client).await;
    }
    torture.conclude(&client).await;
}
