//! The disk of the database is full, and has room again.

use super::{Torture, connections::readiness, rounds};
use crate::{
    program::process::{Program, Server},
    support::{
        Engine,
        cluster::{Cluster, is_installed},
        disk::{SmallDisk, can_mount},
        server::ROOT_KEY,
        until,
    },
};

/// What is left on the disk when a round begins.
const ROOM: u64 = 1024 * 1024;
/// How many calls are refused before a disk counts as full.
const REFUSALS: u64 = 20;
/// A round costs seconds and a few MiB of memory.
const MOST_ROUNDS: u64 = 20;

/// Large enough for the engine's own files and what all rounds write.
fn size_of_disk() -> u32 {
    u32::try_from(64 + 4 * rounds().min(MOST_ROUNDS)).unwrap()
}

async fn until_full(torture: &Torture) {
    let tally = &torture.ledger.tally;
    let enough = tally.refusals() + REFUSALS;
    until("the disk is full", async || (tally.refusals() >= enough).then_some(())).await;
}

/// Fills the disk and makes room again, under callers that go on.
async fn fills_up(torture: &mut Torture, server: &Server, disk: &SmallDisk) {
    let client = server.client().await;
    disk.fill_up_to(ROOM);
    let storm = torture.storm();
    until_full(torture).await;
    storm.end().await;
    torture.disaster();
    // What is there can be read.
    torture.look(&client).await;
    let storm = torture.storm();
    until_full(torture).await;
    disk.free();
    // It goes on by itself.
    readiness(&server.url, true).await;
    torture.some_moment().await;
    storm.end().await;
    torture.check(&client).await;
}

/// Fills the disk and kills the server; there is room again when the next one has begun to start.
async fn fills_up_and_is_killed(torture: &mut Torture, server: Server, disk: &SmallDisk) -> Server {
    disk.fill_up_to(ROOM);
    let storm = torture.storm();
    until_full(torture).await;
    server.kill();
    torture.disaster();
    storm.end().await;
    disk.free();
    let server = torture.program.serve().await;
    let client = server.client().await;
    torture.fleet.replace(0, client.clone());
    torture.check(&client).await;
    server
}

async fn the_disk_is_full(engine: Engine, program: Program, disk: &SmallDisk) {
    let mut server = program.serve_with(&["--migrate"]).await;
    let name = format!("disk full, {engine:?}");
    let mut torture = Torture::over(name, program, vec![server.client().await]).await;
    torture.shape.padding = 2_000;
    for round in 0..rounds().min(MOST_ROUNDS) {
        if round % 2 == 0 {
            fills_up(&mut torture, &server, disk).await;
        } else {
            server = fills_up_and_is_killed(&mut torture, server, disk).await;
        }
    }
    torture.conclude(&server.client().await).await;
    server.stop().await.expect_success();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_sqlite_is_full() {
    if !can_mount() {
        return;
    }
    let program = Program::on(Engine::Sqlite).await;
    let data = program.path("data");
    std::fs::create_dir(&data).unwrap();
    let disk = SmallDisk::mount(&data, size_of_disk());
    the_disk_is_full(Engine::Sqlite, program, &disk).await;
}

fn program_over(cluster: &Cluster) -> Program {
    Program::over(Some(format!("{}/postgres", cluster.base())))
        .with("AUDIT_LOGS_BOOTSTRAP_API_KEY", ROOT_KEY)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_postgres_is_full() {
    if !can_mount() || !is_installed() {
        return;
    }
    let cluster = Cluster::with_small_disk(size_of_disk());
    let program = program_over(&cluster);
    the_disk_is_full(Engine::Postgres, program, cluster.disk.as_ref().unwrap()).await;
}

/// PostgreSQL cannot go on without its log: it goes down, and stays down until there is room and
/// somebody starts it again. Each round costs 20 seconds of waiting, so only the long form has any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_the_log_of_postgres_is_full() {
    let rounds = rounds().min(MOST_ROUNDS) / 4;
    if rounds == 0 || !can_mount() || !is_installed() {
        return;
    }
    let mut cluster = Cluster::with_small_disk_for_log(size_of_disk());
    let program = program_over(&cluster);
    let server = program.serve_with(&["--migrate"]).await;
    let client = server.client().await;
    let name = "disk of the write-ahead log full, Postgres".to_owned();
    let mut torture = Torture::over(name, program, vec![client.clone()]).await;
    torture.shape.padding = 2_000;
    for _ in 0..rounds {
        // Gives segments back that are kept for later.
        torture.program.execute("CHECKPOINT").await;
        cluster.disk.as_ref().unwrap().fill_up_to(ROOM);
        let storm = torture.storm();
        until_full(&torture).await;
        torture.disaster();
        cluster.stop_immediately();
        cluster.disk.as_ref().unwrap().free();
        cluster.resume();
        readiness(&server.url, true).await;
        torture.some_moment().await;
        storm.end().await;
        torture.check(&client).await;
    }
    torture.conclude(&client).await;
    server.stop().await.expect_success();
}
