//! The checks find what they are there for.

use std::panic::AssertUnwindSafe;

use audit_logs::client::AuditLogs;
use futures::FutureExt;

use super::{Torture, load::Item};
use crate::{program::process::Program, support::Engine};

/// What could have gone wrong, done by hand.
enum Wrong {
    /// Behind the service's back.
    Statements(&'static [&'static str]),
    /// Through the service: an event with this number, past the ledger.
    Event(u64),
}

const WRONGS: &[(&str, Wrong)] = &[
    (
        "the newest event is lost",
        Wrong::Statements(&[
            "DELETE FROM events WHERE (organization_id, sequence) IN \
             (SELECT organization_id, size - 1 FROM log_heads)",
            "UPDATE log_heads SET size = size - 1 WHERE size > 0",
        ]),
    ),
    (
        "the head is behind",
        Wrong::Statements(&["UPDATE log_heads SET size = size - 1 WHERE size > 0"]),
    ),
    ("there is a gap", Wrong::Statements(&["DELETE FROM events WHERE sequence = 1"])),
    (
        "a leaf is another",
        Wrong::Statements(&["UPDATE events SET leaf_hash = zeroblob(32) WHERE sequence = 0"]),
    ),
    ("an event is there twice", Wrong::Event(0)),
    ("an event was never sent", Wrong::Event(1_000_000)),
];

fn item(number: u64) -> Item {
    Item { number, organization: "org_0".to_owned(), keyed: false, valid: true, padding: 0 }
}

/// An event of which nothing is unknown.
async fn acknowledged(torture: &Torture, client: &mut AuditLogs) {
    let number = torture.ledger.enter("org_0");
    let created = client.create_event(item(number).request()).await.unwrap().into_inner();
    torture.ledger.acknowledge(number, created, false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_notices_what_is_wrong() {
    let program = Program::on(Engine::Sqlite).await;
    let server = program.serve().await;
    let mut client = server.client().await;
    let mut torture = Torture::over("teeth".to_owned(), program, vec![client.clone()]).await;
    torture.shape.organizations = 2;
    acknowledged(&torture, &mut client).await;
    let storm = torture.storm();
    torture.ledger.wait_for(20).await;
    storm.end().await;
    acknowledged(&torture, &mut client).await;
    torture.check(&client).await;
    server.stop().await.expect_success();
    let untouched = std::fs::read(torture.program.path("data/audit-logs.db")).unwrap();
    for (name, wrong) in WRONGS {
        torture.program.write("data/audit-logs.db", &untouched);
        let server = torture.program.serve().await;
        let mut client = server.client().await;
        torture.ledger.read_again();
        torture.look(&client).await;
        match wrong {
            Wrong::Statements(statements) => {
                for statement in *statements {
                    torture.program.execute(statement).await;
                }
            }
            Wrong::Event(number) => {
                client.create_event(item(*number).request()).await.unwrap();
            }
        }
        torture.ledger.read_again();
        let found = AssertUnwindSafe(torture.look(&client)).catch_unwind().await;
        assert!(found.is_err(), "not found: {name}");
        server.stop().await.expect_success();
    }
}
