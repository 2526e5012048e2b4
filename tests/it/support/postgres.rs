//! A real PostgreSQL for the suite: one server per run, one database per test.

use std::{
    env,
    net::TcpListener,
    sync::{
        LazyLock,
        atomic::{AtomicU16, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use audit_logs::store::{Store, StoreOptions};
use sea_orm::{ConnectionTrait, Database};
use tokio::sync::OnceCell;

use super::cluster::{Cluster, is_installed};

/// The base URL of the server, without a database; `None` where there is none.
static SERVER: LazyLock<Option<Server>> = LazyLock::new(|| {
    if let Ok(url) = env::var("AUDIT_LOGS_TEST_POSTGRES_URL") {
        return Some(Server { base: url.trim_end_matches('/').to_owned(), _cluster: None });
    }
    // fsync off: the suite tests our promises, not the disk's; durability has tests of its own.
    let cluster = is_installed().then(|| Cluster::start(&["-c fsync=off"]));
    if cluster.is_none() {
        eprintln!("PostgreSQL is not installed: its half of the suite is skipped");
    }
    cluster.map(|cluster| Server { base: cluster.base(), _cluster: Some(cluster) })
});

struct Server {
    base: String,
    _cluster: Option<Cluster>,
}

/// Whether the PostgreSQL half of the suite can run.
pub fn is_available() -> bool {
    SERVER.is_some()
}

fn server_url() -> &'static str {
    &SERVER.as_ref().expect("asked first").base
}

/// A port that stays free until its server is started, and started again: it is not one that the system
/// gives away by itself (on Linux those begin at 32,768), and nobody else here gets the same.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 100).unwrap() * 100;
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

static DATABASES: AtomicU32 = AtomicU32::new(0);
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// The URL of a new, empty database.
pub async fn empty_database() -> String {
    create_database(None).await
}

/// The URL of a new, migrated database.
pub async fn migrated_database() -> String {
    let template = TEMPLATE.get_or_init(|| async {
        let url = create_database(None).await;
        let options = StoreOptions { url: url.clone(), max_connections: 2 };
        let store = Store::connect(&options).await.unwrap();
        store.migrate().await.unwrap();
        store.close().await.unwrap();
        url.rsplit('/').next().unwrap().to_owned()
    });
    create_database(Some(template.await)).await
}

async fn create_database(template: Option<&str>) -> String {
    let base = server_url();
    let number = DATABASES.fetch_add(1, Ordering::SeqCst);
    let name = format!("audit_logs_{}_{number}", std::process::id());
    let start = Instant::now();
    let admin = loop {
        // The port opens a moment before the server takes connections.
        match Database::connect(format!("{base}/postgres")).await {
            Ok(admin) => break admin,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(30), "{error}"),
        }
    };
    let template = template.map(|name| format!(" TEMPLATE {name}")).unwrap_or_default();
    admin.execute_unprepared(&format!("CREATE DATABASE {name}{template}")).await.unwrap();
    admin.close().await.unwrap();
    format!("{base}/{name}")
}
