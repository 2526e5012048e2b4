//! A bucket on an S3 server of our own (moto), and a proxy in front of it that does harm.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::{
    program::process::Program,
    support::{postgres::free_port, until},
};

const NAME: &str = "audit-exports";

/// Whether there is an S3 server to start. With `AUDIT_LOGS_TEST_S3=required` there must be.
pub fn is_installed() -> bool {
    let required = env::var("AUDIT_LOGS_TEST_S3").is_ok_and(|value| value == "required");
    assert!(!required || moto().is_file(), "moto is required, but not there: `just moto`");
    moto().is_file()
}

/// The program.
pub fn moto() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/moto/bin/moto_server")
}

/// What the proxy does with a request that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers 500.
    Internal,
    /// Answers 503, as S3 does when it is asked too often.
    SlowDown,
    /// Never answers.
    Hang,
    /// Hands half of the request on and closes the connection.
    Cut,
    /// Answers 403: nobody asks again.
    Refuse,
}

/// Which requests are harmed: so many pass, then so many do not.
#[derive(Debug, Clone, Copy)]
struct Plan {
    pass: usize,
    harm: usize,
    fault: Fault,
}

/// Harm to requests that do not write.
struct Others {
    /// So many of the next lists wait.
    hold_lists: AtomicUsize,
    /// Lists that wait for a permit.
    held: AtomicUsize,
    release: Semaphore,
    /// So many of the next deletions are refused.
    refuse_deletes: AtomicUsize,
}

impl Others {
    /// Whether it is the turn of one more.
    fn takes(count: &AtomicUsize) -> bool {
        count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    async fn harm(&self, head: &str) -> Option<Fault> {
        if head.starts_with("get") && head.contains("list-type") && Self::takes(&self.hold_lists) {
            self.held.fetch_add(1, Ordering::SeqCst);
            self.release.acquire().await.unwrap().forget();
            self.held.fetch_sub(1, Ordering::SeqCst);
        }
        (head.starts_with("delete") && Self::takes(&self.refuse_deletes)).then_some(Fault::Refuse)
    }
}

/// A bucket behind a proxy. The server ends with it.
pub struct Bucket {
    server: Child,
    direct: String,
    proxied: String,
    plan: Arc<Mutex<Plan>>,
    others: Arc<Others>,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Bucket {
    /// An empty one.
    pub async fn start() -> Self {
        audit_logs::tls::install_provider();
        let port = free_port();
        let server = Command::new(moto())
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let direct = format!("http://127.0.0.1:{port}/{NAME}");
        let http = reqwest::Client::builder().build().unwrap();
        until("moto makes a bucket", async || {
            http.put(&direct).send().await.ok()?.error_for_status().ok()
        })
        .await;
        let plan = Arc::new(Mutex::new(Plan { pass: 0, harm: 0, fault: Fault::Hang }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxied = format!("http://{}", listener.local_addr().unwrap());
        let others = Arc::new(Others {
            hold_lists: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            release: Semaphore::new(0),
            refuse_deletes: AtomicUsize::new(0),
        });
        tokio::spawn(serve(listener, port, plan.clone(), others.clone()));
        Self { server, direct, proxied, plan, others }
    }

    /// The program with its exports in this bucket.
    pub fn serves(&self, program: Program) -> Program {
        program
            .with("AUDIT_LOGS_EXPORT_URL", &format!("s3://{NAME}/some/prefix"))
            .with("AWS_ENDPOINT", &self.proxied)
            .with("AWS_ALLOW_HTTP", "true")
            .with("AWS_ACCESS_KEY_ID", "test")
            .with("AWS_SECRET_ACCESS_KEY", "secret")
            .with("AWS_REGION", "us-east-1")
    }

    /// The variables that lead there.
    pub fn variables(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT", self.proxied.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// From now on, so many requests that write pass, and then so many are harmed.
    pub fn harm(&self, pass: usize, harm: usize, fault: Fault) {
        *self.plan.lock().unwrap() = Plan { pass, harm, fault };
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.harm(0, 0, Fault::Hang);
    }

    /// The next list waits until [`Self::release`].
    pub fn hold_a_list(&self) {
        self.others.hold_lists.store(1, Ordering::SeqCst);
    }

    /// Whether a list waits.
    pub fn holds_a_list(&self) -> bool {
        self.others.held.load(Ordering::SeqCst) > 0
    }

    /// Lets the list that waits pass.
    pub fn release(&self) {
        self.others.release.add_permits(1);
    }

    /// The next deletion is refused.
    pub fn refuse_a_delete(&self) {
        self.others.refuse_deletes.store(1, Ordering::SeqCst);
    }

    async fn count(&self, query: &str, element: &str) -> usize {
        let text = reqwest::get(format!("{}?{query}", self.direct)).await.unwrap().text().await;
        text.unwrap().matches(element).count()
    }

    /// How many files can be seen.
    pub async fn files(&self) -> usize {
        self.count("list-type=2", "<Contents>").await
    }

    /// How many uploads in parts are neither finished nor taken back.
    pub async fn uploads(&self) -> usize {
        self.count("uploads", "<Upload>").await
    }
}

async fn serve(listener: TcpListener, upstream: u16, plan: Arc<Mutex<Plan>>, others: Arc<Others>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(one_request(client, upstream, plan.clone(), others.clone()));
    }
}

/// One request a connection, so that each can be looked at.
async fn one_request(
    mut client: TcpStream,
    upstream: u16,
    plan: Arc<Mutex<Plan>>,
    others: Arc<Others>,
) -> Option<()> {
    let mut head = Vec::new();
    let end = loop {
        let mut byte = [0; 4_096];
        let read = client.read(&mut byte).await.ok()?;
        if read == 0 {
            return None;
        }
        head.extend_from_slice(&byte[..read]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
    };
    let text = String::from_utf8_lossy(&head[..end]).to_lowercase();
    let writes = text.starts_with("put") || text.starts_with("post");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    let body = head.split_off(end + 4);
    let fault = if writes { next_fault(&plan) } else { others.harm(&text).await };
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Internal | Fault::SlowDown | Fault::Refuse) => {
            let mut left = length.saturating_sub(body.len());
            let mut rest = vec![0; 65_536];
            while left > 0 {
                left -= client.read(&mut rest).await.ok().filter(|read| *read > 0)?;
            }
            let (status, code) = match fault {
                Some(Fault::SlowDown) => ("503 Slow Down", "SlowDown"),
                Some(Fault::Refuse) => ("403 Forbidden", "AccessDenied"),
                _ => ("500 Internal Server Error", "InternalError"),
            };
            let xml = format!("<Error><Code>{code}</Code><Message>not now</Message></Error>");
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{xml}",
                xml.len()
            );
            return client.write_all(answer.as_bytes()).await.ok();
        }
        Some(Fault::Cut) | None => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).await.ok()?;
    head.truncate(end);
    head.extend_from_slice(b"\r\nconnection: close\r\n\r\n");
    server.write_all(&head).await.ok()?;
    if fault == Some(Fault::Cut) {
        return server.write_all(&body[..body.len() / 2]).await.ok();
    }
    server.write_all(&body).await.ok()?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok().map(|_| ())
}

fn next_fault(plan: &Mutex<Plan>) -> Option<Fault> {
    let mut plan = plan.lock().unwrap();
    if plan.pass > 0 {
        plan.pass -= 1;
        return None;
    }
    plan.harm = plan.harm.checked_sub(1)?;
    Some(plan.fault)
}
