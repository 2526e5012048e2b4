//! A database that comes late, goes away and comes back: health tells, calls are refused in a way
//! that says to come again, and no restart is needed.

use std::sync::Arc;

use audit_logs::{
    app::{App, Migration},
    client::{AuditLogs, Client},
    domain::clock::SystemClock,
    proto::v1::ListEventsRequest,
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_types::StatusExt;

use super::{
    health::health_of_all,
    proxy::{Line, Proxy},
};
use crate::support::{
    Engine, Refusal, TestServer, create_event,
    postgres::is_available,
    schema_for,
    server::{ROOT_KEY, fresh_settings},
    until,
};

/// A server that runs, whether or not it is ready.
struct Running {
    url: String,
    database_url: String,
    channel: Channel,
    _directory: TempDir,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// A server over a new database of the suite's PostgreSQL, behind a proxy.
    async fn behind(proxy: impl AsyncFnOnce(&str) -> (Proxy, String)) -> (Self, Proxy) {
        let (mut settings, directory) = fresh_settings(Engine::Postgres).await;
        let database_url = settings.database_url();
        let (proxy, through) = proxy(&database_url).await;
        settings.database_url = Some((&*through).into());
        let app = App::bind(settings, Arc::new(SystemClock)).await.unwrap();
        let url = format!("http://{}", app.address().unwrap());
        let (stop, stopped) = oneshot::channel();
        let stopped = async { _ = stopped.await };
        let ended = tokio::spawn(app.run(Migration::EmbeddedOnly, stopped, |_| ()));
        let channel = Channel::from_shared(url.clone()).unwrap().connect().await.unwrap();
        (Self { url, database_url, channel, _directory: directory, stop, ended }, proxy)
    }

    /// How many events are stored, asked past the proxy.
    async fn size_of_log(&self) -> u64 {
        let mut connection = PgConnection::connect(&self.database_url).await.unwrap();
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM events WHERE organization_id = 'acme'")
                .fetch_one(&mut connection)
                .await
                .unwrap();
        count.try_into().unwrap()
    }

    async fn client(&self) -> AuditLogs {
        Client::connect(&self.url, ROOT_KEY).await.unwrap().audit_logs()
    }

    async fn http_status(&self, path: &str) -> u16 {
        reqwest::get(format!("{}{path}", self.url)).await.unwrap().status().as_u16()
    }

    /// Waits until health has a value, and checks that everything else says the same.
    async fn until_health_is(&self, expected: ServingStatus) {
        until("health tells how the database is", async || {
            (health_of_all(&self.channel).await == [expected; 4]).then_some(())
        })
        .await;
        let ready = if expected == ServingStatus::Serving { 200 } else { 503 };
        assert_eq!(self.http_status("/readyz").await, ready);
        assert_eq!(self.http_status("/healthz").await, 200);
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap().unwrap();
    }
}

/// Checks a refusal that asks to come again.
fn expect_retry(status: &Status) {
    let refusal = Refusal::of(status);
    assert_eq!((refusal.code, &*refusal.reason), (Code::Unavailable, "SERVICE_UNAVAILABLE"));
    let delay = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(!delay.is_zero());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_may_come_late_and_go_and_come_back() {
    if !is_available() {
        return;
    }
    let (server, mut proxy) = Running::behind(Proxy::closed).await;
    server.until_health_is(ServingStatus::NotServing).await;
    let mut client = server.client().await;
    expect_retry(&client.create_action_schema(schema_for("doc.read")).await.unwrap_err());

    proxy.set(Line::Open);
    server.until_health_is(ServingStatus::Serving).await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();

    proxy.set(Line::Cut);
    server.until_health_is(ServingStatus::NotServing).await;
    expect_retry(&client.create_event(create_event("acme", "doc.read")).await.unwrap_err());

    proxy.set(Line::Open);
    server.until_health_is(ServingStatus::Serving).await;
    let created = client.create_event(create_event("acme", "doc.read")).await.unwrap();
    assert_eq!(created.into_inner().sequence, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_meets_the_outage_says_that_the_database_is_away() {
    if !is_available() {
        return;
    }
    let (server, mut proxy) = Running::behind(Proxy::open).await;
    server.until_health_is(ServingStatus::Serving).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    // Health is looked at now and then, so a call can come first.
    proxy.set(Line::Cut);
    let status = client.create_event(create_event("acme", "doc.read")).await.unwrap_err();
    let refusal = Refusal::of(&status);
    assert_eq!(refusal.code, Code::Unavailable);
    assert!(["DATABASE_UNAVAILABLE", "SERVICE_UNAVAILABLE"].contains(&&*refusal.reason));
    assert!(status.get_details_retry_info().is_some());
    server.stop().await;
}

/// The worst moment: the database has committed, and its answer never comes. The event is neither
/// stored again nor refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_commit_was_not_heard_of_is_found_again() {
    if !is_available() {
        return;
    }
    let (server, mut proxy) = Running::behind(Proxy::open).await;
    server.until_health_is(ServingStatus::Serving).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    // The first of an organization is written with locks, later ones in one statement.
    for expected in 1..4 {
        client.create_event(create_event("acme", "doc.read")).await.unwrap();
        proxy.set(Line::AnswersLost);
        let mut caller = client.clone();
        let call =
            tokio::spawn(
                async move { caller.create_event(create_event("acme", "doc.read")).await },
            );
        until("the database has the event", async || {
            (server.size_of_log().await == expected * 2).then_some(())
        })
        .await;
        proxy.set(Line::Cut);
        until("every connection is cut", async || proxy.is_idle().then_some(())).await;
        proxy.set(Line::Open);
        let created = call.await.unwrap().unwrap().into_inner();
        assert_eq!((created.sequence, created.duplicate), (expected * 2 - 1, false));
        assert_eq!(server.size_of_log().await, expected * 2);
        server.until_health_is(ServingStatus::Serving).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_answer_is_as_good_as_gone() {
    if !is_available() {
        return;
    }
    let (server, mut proxy) = Running::behind(Proxy::open).await;
    server.until_health_is(ServingStatus::Serving).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();

    proxy.set(Line::Silent);
    server.until_health_is(ServingStatus::NotServing).await;
    expect_retry(&client.create_event(create_event("acme", "doc.read")).await.unwrap_err());

    proxy.set(Line::Open);
    server.until_health_is(ServingStatus::Serving).await;
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_database_is_silent_can_be_stopped() {
    if !is_available() {
        return;
    }
    let (server, mut proxy) = Running::behind(Proxy::open).await;
    server.until_health_is(ServingStatus::Serving).await;
    proxy.set(Line::Silent);
    server.stop().await;
}

/// Ends the sessions of everybody else, as a server does whose role changes.
async fn end_sessions(admin: &mut PgConnection) {
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.execute(others).await.unwrap();
}

/// Checks that a write was refused by the database, for now.
fn expect_database_unavailable(status: &Status) {
    let refusal = Refusal::of(status);
    assert_eq!((refusal.code, &*refusal.reason), (Code::Unavailable, "DATABASE_UNAVAILABLE"));
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
}

/// As when a standby answers in the place of the primary, and is promoted later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_turns_read_only_and_back_needs_no_restart() {
    if !is_available() {
        return;
    }
    let server = TestServer::start(Engine::Postgres).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let url = server.settings.database_url();
    let name = url.rsplit('/').next().unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let alter = format!("ALTER DATABASE {name} SET default_transaction_read_only");
    admin.execute(AssertSqlSafe(format!("{alter} = on"))).await.unwrap();
    end_sessions(&mut admin).await;

    let event = client.create_event(create_event("acme", "doc.read")).await;
    expect_database_unavailable(&event.unwrap_err());
    let schema = client.create_action_schema(schema_for("doc.edited")).await;
    expect_database_unavailable(&schema.unwrap_err());
    let list = ListEventsRequest { organization_id: "acme".into(), ..Default::default() };
    assert_eq!(client.list_events(list).await.unwrap().into_inner().events.len(), 1);

    admin.execute(AssertSqlSafe(format!("{alter} = off"))).await.unwrap();
    // A lane makes a new connection after such an error, though its old one still works.
    let created = client.create_event(create_event("acme", "doc.read")).await.unwrap();
    assert_eq!(created.into_inner().sequence, 1);
    end_sessions(&mut admin).await;
    client.create_action_schema(schema_for("doc.edited")).await.unwrap();
    client.create_event(create_event("acme", "doc.edited")).await.unwrap();
}
