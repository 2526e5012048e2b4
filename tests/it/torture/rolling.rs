//! A rolling restart: two replicas behind a client that spreads its calls over both, restarted one after
//! the other while it calls. With the retries that gRPC clients make by themselves, no call is lost.

use std::{
    collections::HashSet,
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use audit_logs::{
    client::{AuditLogs, Bearer},
    proto::v1::{ListEventsRequest, audit_logs_client::AuditLogsClient},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Endpoint};

use super::rounds;
use crate::{
    program::process::{Program, Server},
    support::{
        Engine, create_event,
        postgres::{free_port, is_available},
        schema_for,
        server::ROOT_KEY,
        until,
    },
};

/// Without those of the system log.
const STORED: &str =
    "SELECT COUNT(*) FROM events WHERE organization_id NOT LIKE 'system_environment_%'";

const WRITERS: u64 = 12;
const READERS: u64 = 4;
/// What a gRPC service config's `retryPolicy` may say at most (gRFC A6): this many attempts, with
/// pauses that double.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Tally {
    calls: AtomicU64,
    /// Calls by the number of attempts that they needed, from one on.
    retried: [AtomicU64; ATTEMPTS as usize],
    slowest_micros: AtomicU64,
}

impl Tally {
    /// How the calls went.
    fn report(&self) -> String {
        let retried: Vec<_> = self.retried.iter().skip(1).map(|calls| calls.load(SeqCst)).collect();
        format!(
            "{} calls, of which {retried:?} needed 2, 3, ... attempts; the slowest took {:.1?}",
            self.calls.load(SeqCst),
            Duration::from_micros(self.slowest_micros.load(SeqCst)),
        )
    }

    /// Makes a call as often as it takes, within what a client does by itself.
    async fn call<T, Answer>(&self, balancer: &Balancer, call: impl Fn(AuditLogs) -> Answer) -> T
    where
        Answer: Future<Output = Result<T, Status>>,
    {
        let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
        let first = balancer.calls.fetch_add(1, SeqCst);
        for attempt in 1..=ATTEMPTS {
            match call(balancer.client(first + u64::from(attempt))).await {
                Ok(answer) => {
                    self.calls.fetch_add(1, SeqCst);
                    self.retried[attempt as usize - 1].fetch_add(1, SeqCst);
                    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap();
                    self.slowest_micros.fetch_max(micros, SeqCst);
                    return answer;
                }
                Err(status) => {
                    assert!(is_worth_a_retry(&status), "attempt {attempt}: {status:?}");
                    assert!(attempt < ATTEMPTS, "a call is lost: {status:?}");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        unreachable!()
    }
}

/// Clients of both replicas, which calls take in turn, and each attempt of a call the other one (gRPC's
/// `round_robin`, but less clever: it does not leave out a replica that cannot be reached).
#[derive(Clone)]
struct Balancer {
    clients: [AuditLogs; 2],
    calls: Arc<AtomicU64>,
}

impl Balancer {
    fn over(addresses: &[String; 2]) -> Self {
        let clients = addresses.each_ref().map(|address| {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
            let key = Bearer::new(ROOT_KEY).unwrap();
            AuditLogsClient::with_interceptor(endpoint.connect_lazy(), key)
        });
        Self { clients, calls: Arc::default() }
    }

    fn client(&self, turn: u64) -> AuditLogs {
        self.clients[usize::from(turn.is_multiple_of(2))].clone()
    }
}

/// Whether a gRPC client would try again by itself: the service is not available, or the connection was
/// closed (of which tonic tells in its own words, such as Cancelled).
fn is_worth_a_retry(status: &Status) -> bool {
    status.code() == Code::Unavailable || status.source().is_some()
}

async fn write(
    balancer: Balancer,
    writer: u64,
    tally: Arc<Tally>,
    over: CancellationToken,
) -> Vec<(u64, String)> {
    let mut written = Vec::new();
    for number in 0.. {
        if over.is_cancelled() {
            break;
        }
        let mut request = create_event("acme", "doc.read");
        request.idempotency_key = format!("{writer} {number}");
        let call = |mut client: AuditLogs| {
            let request = request.clone();
            async move { client.create_event(request).await }
        };
        let answer = tally.call(&balancer, call).await.into_inner();
        written.push((answer.sequence, answer.event_id));
    }
    written
}

async fn read(balancer: Balancer, tally: Arc<Tally>, over: CancellationToken) {
    let request = ListEventsRequest { organization_id: "acme".into(), ..Default::default() };
    while !over.is_cancelled() {
        let call = |mut client: AuditLogs| {
            let request = request.clone();
            async move { client.list_events(request).await }
        };
        tally.call(&balancer, call).await;
    }
}

async fn serve(program: &Program, address: &str) -> Server {
    program.serve_with(&["--listen", address]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_no_call() {
    if !is_available() {
        return;
    }
    let program = Program::on(Engine::Postgres).await;
    let addresses = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let mut servers = [serve(&program, &addresses[0]).await, serve(&program, &addresses[1]).await];
    let balancer = Balancer::over(&addresses);
    balancer.client(0).create_action_schema(schema_for("doc.read")).await.unwrap();
    balancer.client(0).create_event(create_event("acme", "doc.read")).await.unwrap();

    let (tally, over) = (Arc::<Tally>::default(), CancellationToken::new());
    let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
    for writer in 0..WRITERS {
        writers.spawn(write(balancer.clone(), writer, tally.clone(), over.clone()));
    }
    for _ in 0..READERS {
        readers.spawn(read(balancer.clone(), tally.clone(), over.clone()));
    }
    for _ in 0..rounds() {
        for (server, address) in servers.iter_mut().zip(&addresses) {
            wait_for(&tally, 200).await;
            server.process.signal("TERM");
            until("the replica ends", async || server.process.exit()).await;
            wait_for(&tally, 200).await;
            *server = serve(&program, address).await;
        }
    }
    wait_for(&tally, 200).await;
    over.cancel();
    let written: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    readers.join_all().await;
    println!("torture: rolling restart: {}", tally.report());

    let distinct: HashSet<_> = written.iter().collect();
    assert_eq!(distinct.len(), written.len(), "two calls have one event");
    let stored = program.query_integers(STORED).await[0];
    // And the one before.
    assert_eq!(usize::try_from(stored).unwrap(), written.len() + 1, "an event is lost or doubled");
    program.run(&["verify", "database"]).await.expect_success();
}

async fn wait_for(tally: &Tally, more: u64) {
    let enough = tally.calls.load(SeqCst) + more;
    until("calls are answered", async || (tally.calls.load(SeqCst) >= enough).then_some(())).await;
}
