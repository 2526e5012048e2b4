//! Clients that mean no good, against a real server in a process of its own: others are served all the time,
//! memory and files stay bounded, and the bad connections end.

mod floods;
pub mod frames;
mod slow;

use std::time::Duration;

use audit_logs::client::AuditLogs;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use crate::{
    program::process::{Program, Server},
    support::{Engine, create_event, schema_for, server::ROOT_KEY, until},
};

/// Much longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_mins(1);
/// What floods may add to the memory of a server, in bytes.
const MEMORY: u64 = 64 * 1_024 * 1_024;

/// A server that is abused, and somebody who only wants to work.
struct Victim {
    server: Server,
    other: AuditLogs,
    sockets: usize,
    memory: u64,
    // The data must live as long as the server.
    _program: Program,
}

impl Victim {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let mut program = Program::on(Engine::Sqlite).await;
        for (name, value) in variables {
            program = program.with(name, value);
        }
        let server = program.serve().await;
        let mut other = server.client().await;
        other.create_action_schema(schema_for("doc.read")).await.unwrap();
        other.create_event(create_event("acme", "doc.read")).await.unwrap();
        let (sockets, memory) = (server.process.open_sockets(), server.process.most_memory());
        Self { server, other, sockets, memory, _program: program }
    }

    fn address(&self) -> &str {
        self.server.url.trim_start_matches("http://")
    }

    /// Others are served, over old connections and new ones.
    async fn serves_others(&mut self) {
        let old = self.other.create_event(create_event("acme", "doc.read"));
        timeout(PATIENCE, old).await.expect("an old connection is served").unwrap();
        let new = async {
            let mut client = self.server.client_as(ROOT_KEY).await;
            client.create_event(create_event("acme", "doc.read")).await
        };
        timeout(PATIENCE, new).await.expect("a new connection is served").unwrap();
    }

    /// Nothing is left of the abuse but some memory.
    async fn recovers(mut self) {
        self.serves_others().await;
        // The connection above may still be closing.
        let most = self.sockets + 4;
        until("connections are gone", async || {
            (self.server.process.open_sockets() <= most).then_some(())
        })
        .await;
        let grown = self.server.process.most_memory().saturating_sub(self.memory);
        assert!(grown < MEMORY, "{grown} more bytes of memory");
        self.server.stop().await.expect_success();
    }
}

/// Waits until the server has closed a connection, and says what it sent.
async fn closed(mut stream: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed");
    rest
}

async fn dial(address: &str) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}
