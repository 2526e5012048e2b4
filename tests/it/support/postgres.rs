//! A real PostgreSQL for the suite: one server per run, one database per test.

use std::{
    env, fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use audit_logs::store::{Store, StoreOptions};
use sea_orm::{ConnectionTrait, Database};
use tokio::sync::OnceCell;

/// The base URL of the server, without a database; `None` where there is none.
static SERVER: LazyLock<Option<Server>> = LazyLock::new(|| {
    if let Ok(url) = env::var("AUDIT_LOGS_TEST_POSTGRES_URL") {
        return Some(Server { base: url.trim_end_matches('/').to_owned(), _guard: None });
    }
    let server = binaries().map(|binaries| start(&binaries));
    if server.is_none() {
        let required = env::var("AUDIT_LOGS_TEST_POSTGRES").is_ok_and(|value| value == "required");
        assert!(!required, "PostgreSQL is required, but initdb is not found");
        eprintln!("PostgreSQL is not installed: its half of the suite is skipped");
    }
    server
});

struct Server {
    base: String,
    /// Its standard input holds the server alive: when this process ends, however it ends, the
    /// pipe closes and the shell that waits for it stops the server.
    _guard: Option<Child>,
}

/// Whether the PostgreSQL half of the suite can run.
pub fn is_available() -> bool {
    SERVER.is_some()
}

fn server_url() -> &'static str {
    &SERVER.as_ref().expect("asked first").base
}

/// The directory of initdb and postgres. Debian keeps it off PATH.
fn binaries() -> Option<PathBuf> {
    let on_path = env::split_paths(&env::var_os("PATH")?).collect::<Vec<_>>();
    let mut debian: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    let has_both = |directory: &PathBuf| {
        ["initdb", "postgres"].iter().all(|name| directory.join(name).is_file())
    };
    debian.into_iter().rev().chain(on_path).find(has_both)
}

fn start(binaries: &Path) -> Server {
    let directory = tempfile::Builder::new().prefix("audit-logs-pg").tempdir().unwrap().keep();
    // PostgreSQL refuses to run as root.
    let user = is_root().then(unprivileged_user);
    if let Some(user) = user {
        chown(&directory, Some(user), Some(user)).unwrap();
    }
    let data = directory.join("data");
    let mut initdb = as_user(Command::new(binaries.join("initdb")), user);
    let output = initdb
        .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "-D"])
        .arg(&data)
        .current_dir(&directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    let port = free_port();
    // fsync off: the suite tests our promises, not the disk's; durability has tests of its own.
    let script = format!(
        "'{}' -D '{}' -c fsync=off -c max_connections=400 -c port={port} \
         -c listen_addresses=127.0.0.1 -c unix_socket_directories='{}' >'{}' 2>&1 & \
         server=$!; cat >/dev/null; kill -QUIT $server; wait $server; rm -rf '{}'",
        binaries.join("postgres").display(),
        data.display(),
        directory.display(),
        directory.join("log").display(),
        directory.display(),
    );
    let guard = as_user(Command::new("sh"), user)
        .args(["-c", &script])
        .current_dir(&directory)
        .stdin(Stdio::piped())
        // Apart from the signals of the terminal, so that the shell can clean up.
        .process_group(0)
        .spawn()
        .unwrap();
    wait_for(port);
    Server { base: format!("postgres://postgres@127.0.0.1:{port}"), _guard: Some(guard) }
}

fn wait_for(port: u16) {
    let start = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(30), "PostgreSQL does not start");
        thread::sleep(Duration::from_millis(20));
    }
}

fn as_user(mut command: Command, user: Option<u32>) -> Command {
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command
}

fn is_root() -> bool {
    id(&["-u"]).is_some_and(|id| id == 0)
}

/// The user that Debian's package makes, or else nobody.
fn unprivileged_user() -> u32 {
    id(&["-u", "postgres"]).or_else(|| id(&["-u", "nobody"])).unwrap_or(65_534)
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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
