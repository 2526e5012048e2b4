//! Others have taken every connection that the database has to give.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions};

use super::{Torture, connections::readiness, rounds};
use crate::{
    program::process::Program,
    support::{
        cluster::{Cluster, is_installed},
        server::ROOT_KEY,
    },
};

const MOST: &str = "-c max_connections=40";
/// Ends the sessions that are not of the crowd.
const PUSH: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE backend_type = 'client backend' AND application_name <> 'crowd'";

/// Connections that only stand around.
struct Crowd {
    options: PgConnectOptions,
    connections: Vec<PgConnection>,
}

impl Crowd {
    async fn gather(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().unwrap();
        let mut crowd =
            Self { options: options.application_name("crowd"), connections: Vec::new() };
        crowd.take_what_is_free().await;
        crowd
    }

    async fn take_what_is_free(&mut self) {
        while let Ok(connection) = PgConnection::connect_with(&self.options).await {
            self.connections.push(connection);
        }
    }

    /// Takes the places of everybody else.
    async fn push(&mut self) {
        self.connections[0].execute(PUSH).await.unwrap();
        self.take_what_is_free().await;
    }
}

async fn is_ready(url: &str) -> bool {
    reqwest::get(format!("{url}/readyz")).await.unwrap().status().is_success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_is_taken() {
    if !is_installed() {
        return;
    }
    let cluster = Cluster::start(&[MOST]);
    let url = format!("{}/postgres", cluster.base());
    let program = Program::over(Some(url.clone())).with("AUDIT_LOGS_BOOTSTRAP_API_KEY", ROOT_KEY);
    let server = program.serve_with(&["--migrate"]).await;
    let client = server.client().await;
    let name = "every connection taken".to_owned();
    let mut torture = Torture::over(name, program, vec![client.clone()]).await;
    for _ in 0..rounds() {
        let storm = torture.storm();
        torture.some_moment().await;
        let mut crowd = Crowd::gather(&url).await;
        torture.disaster();
        // Who has a connection keeps it; the crowd takes the places of those that are ended.
        let enough = torture.ledger.tally.refusals() + 20;
        while is_ready(&server.url).await || torture.ledger.tally.refusals() < enough {
            crowd.push().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(crowd);
        let left = Instant::now();
        readiness(&server.url, true).await;
        println!("torture: ready {:.1?} after the crowd left", left.elapsed());
        torture.some_moment().await;
        storm.end().await;
        torture.check(&client).await;
    }
    torture.conclude(&client).await;
}
