//! The database is paused (SIGSTOP): its sockets stay open, and nothing is answered any more.

use std::time::{Duration, Instant};

use audit_logs::{client::AuditLogs, proto::v1::ListEventsRequest};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{Torture, connections::readiness, rounds};
use crate::{
    program::process::Program,
    support::{
        cluster::{Cluster, is_installed},
        server::ROOT_KEY,
    },
};

/// Within this every call is answered, whatever the database does. Far above what it takes.
const ANSWERED: Duration = Duration::from_secs(45);
const READERS: u32 = 4;

/// Callers that read without a break and have all the patience in the world.
struct Readers {
    tasks: JoinSet<Duration>,
    over: CancellationToken,
}

impl Readers {
    fn begin(client: &AuditLogs) -> Self {
        let (mut tasks, over) = (JoinSet::new(), CancellationToken::new());
        for reader in 0..READERS {
            tasks.spawn(read(client.clone(), format!("org_{reader}"), over.clone()));
        }
        Self { tasks, over }
    }

    /// Waits for their last answers; how long the slowest of all took.
    async fn end(self) -> Duration {
        self.over.cancel();
        self.tasks.join_all().await.into_iter().max().unwrap()
    }
}

/// Reads until it is over; how long the slowest answer took.
async fn read(mut client: AuditLogs, organization: String, over: CancellationToken) -> Duration {
    let mut slowest = Duration::ZERO;
    while !over.is_cancelled() {
        let request =
            ListEventsRequest { organization_id: organization.clone(), ..Default::default() };
        let begun = Instant::now();
        match client.list_events(request).await {
            Ok(_) => {}
            // Its first event did not come yet.
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => expect_retry(&status),
        }
        slowest = slowest.max(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    slowest
}

/// Checks a refusal that asks to come again.
fn expect_retry(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.get_details_retry_info().is_some(), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_paused() {
    if !is_installed() {
        return;
    }
    let cluster = Cluster::start(&[]);
    let program = Program::over(Some(format!("{}/postgres", cluster.base())))
        .with("AUDIT_LOGS_BOOTSTRAP_API_KEY", ROOT_KEY);
    let server = program.serve_with(&["--migrate"]).await;
    let client = server.client().await;
    let name = "PostgreSQL paused".to_owned();
    let mut torture = Torture::over(name, program, vec![client.clone()]).await;
    for _ in 0..rounds().min(10).div_ceil(2) {
        let (storm, readers) = (torture.storm(), Readers::begin(&client));
        torture.some_moment().await;
        cluster.pause();
        torture.disaster();
        let paused = Instant::now();
        readiness(&server.url, false).await;
        let noticed = paused.elapsed();
        // Everybody is answered while it is away.
        let ends = async { tokio::join!(storm.end(), readers.end()).1 };
        let waited = Instant::now();
        let slowest = tokio::time::timeout(ANSWERED, ends).await;
        let slowest =
            slowest.unwrap_or_else(|_| panic!("calls hang: {}", server.process.stderr.text()));
        let waited = waited.elapsed();
        cluster.unpause();
        let unpaused = Instant::now();
        readiness(&server.url, true).await;
        println!(
            "torture: noticed after {noticed:.1?}, all calls answered {waited:.1?} later, the slowest \
             read took {slowest:.1?}, ready {:.1?} after the end",
            unpaused.elapsed(),
        );
        let storm = torture.storm();
        torture.some_moment().await;
        storm.end().await;
        torture.check(&client).await;
    }
    torture.conclude(&client).await;
}
