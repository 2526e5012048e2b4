//! Callers that record events all the time.

use std::sync::{Arc, Mutex};

use audit_logs::client::AuditLogs;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    program::process::Server,
    support::{create_event, schema_for, until},
};

pub const ORGANIZATIONS: [&str; 2] = ["acme", "hooli"];
const CALLERS: usize = 4;

/// An event that is said to be stored.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    pub organization: &'static str,
    pub sequence: u64,
    pub event_id: String,
}

/// Callers that go on until they are stopped.
pub struct Load {
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    stop: CancellationToken,
    callers: JoinSet<()>,
}

impl Load {
    /// Starts callers of a server that has no action yet.
    pub async fn start(server: &Server) -> Self {
        server.client().await.create_action_schema(schema_for("doc.read")).await.unwrap();
        let (acknowledged, stop) = (Arc::default(), CancellationToken::new());
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let organization = ORGANIZATIONS[number % ORGANIZATIONS.len()];
            let client = server.client().await;
            callers.spawn(call(client, organization, Arc::clone(&acknowledged), stop.clone()));
        }
        Self { acknowledged, stop, callers }
    }

    /// What was acknowledged so far.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Waits until so many more events of each organization were acknowledged.
    pub async fn wait_for(&self, more: usize) {
        let count = |organization| {
            let of = |known: &&Acknowledged| known.organization == organization;
            self.acknowledged.lock().unwrap().iter().filter(of).count()
        };
        for organization in ORGANIZATIONS {
            let enough = count(organization) + more;
            until("enough was acknowledged", async || {
                (count(organization) >= enough).then_some(())
            })
            .await;
        }
    }

    /// Ends the callers; each has had its last answer.
    pub async fn stop(self) {
        self.stop.cancel();
        self.callers.join_all().await;
    }
}

async fn call(
    mut client: AuditLogs,
    organization: &'static str,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let answer = client.create_event(create_event(organization, "doc.read")).await;
        let answer = answer.unwrap().into_inner();
        let (sequence, event_id) = (answer.sequence, answer.event_id);
        acknowledged.lock().unwrap().push(Acknowledged { organization, sequence, event_id });
    }
}
