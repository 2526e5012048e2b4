//! What was acknowledged is there, once and in its place, whatever is done to the service and its
//! database: load from callers of every kind, a disaster, and then the logs against the ledger.
//!
//! Each scenario runs `AUDIT_LOGS_TEST_TORTURE_ROUNDS` disasters; `just torture` sets many. The random
//! choices follow from `AUDIT_LOGS_TEST_TORTURE_SEED`; what happens between processes does not.

mod connections;
mod crowd;
mod disk;
mod kills;
mod ledger;
mod load;
mod pause;
mod race;
mod receipts;
mod rolling;
mod slow;
mod standby;
mod teeth;

use std::{env, sync::Arc};

use audit_logs::client::AuditLogs;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::{
    ledger::{Ledger, count},
    load::{ACTION, Fleet, Shape, Storm},
};
use crate::{program::process::Program, support::schema_for};

/// Disasters per scenario where nothing else is said: few enough for every run of the suite.
const ROUNDS: u64 = 2;
/// Up to so many, the trees are verified after each.
const OFTEN: u64 = 10;

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {value}")))
}

/// How many disasters a scenario has.
fn rounds() -> u64 {
    number("AUDIT_LOGS_TEST_TORTURE_ROUNDS").unwrap_or(ROUNDS)
}

/// A scenario under way.
struct Torture {
    name: String,
    program: Program,
    fleet: Fleet,
    ledger: Arc<Ledger>,
    shape: Shape,
    random: StdRng,
}

impl Torture {
    /// Over servers of `program` that take calls.
    async fn over(name: String, program: Program, servers: Vec<AuditLogs>) -> Self {
        let seed = number("AUDIT_LOGS_TEST_TORTURE_SEED").unwrap_or_else(|| rand::rng().random());
        println!("torture: {name}: {} rounds, seed {seed}", rounds());
        let random = StdRng::seed_from_u64(seed);
        servers[0].clone().create_action_schema(schema_for(ACTION)).await.unwrap();
        let (fleet, ledger) = (Fleet::of(servers), Arc::default());
        Self { name, program, fleet, ledger, shape: Shape::default(), random }
    }

    /// Lets callers loose.
    fn storm(&mut self) -> Storm {
        Storm::begin(&self.ledger, &self.fleet, self.shape, &mut self.random)
    }

    /// Waits for a random moment while callers are at work.
    async fn some_moment(&mut self) {
        let events = self.random.random_range(1..150);
        self.ledger.wait_for(events).await;
    }

    fn disaster(&self) {
        count(&self.ledger.tally.disasters);
    }

    /// After the storm: what can be repeated is, and then everything new must be as the ledger says.
    async fn check(&mut self, client: &AuditLogs) {
        load::settle(&self.ledger, &self.fleet, &mut self.random).await;
        self.look(client).await;
        // Every tree anew: in a long run now and then, for it takes longer with every round. The end
        // does it in any case.
        if rounds() <= OFTEN || self.random.random_ratio(1, 10) {
            self.program.run(&["verify", "database"]).await.expect_success();
        }
    }

    /// All that must hold whenever nobody writes.
    async fn look(&self, client: &AuditLogs) {
        self.ledger.check(client, self.program.database_url()).await;
    }

    /// At the very end: everything, each log from its start.
    async fn conclude(self, client: &AuditLogs) {
        self.ledger.read_again();
        self.look(client).await;
        let receipts = self.ledger.receipts.check(&self.program).await;
        println!("torture: {}: {receipts} receipts hold", self.name);
        self.ledger.report(&self.name);
    }
}
