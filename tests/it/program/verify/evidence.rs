//! A database to tamper with.

use audit_logs::{
    merkle::{Checkpoint, Frontier, Hash, SigningKey, leaf_hash, node_hash},
    proto::v1::{BatchCreateEventsRequest, CreateEventRequest},
};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};

use crate::{
    program::process::{Outcome, Program},
    support::{Engine, create_event, schema_for},
};

/// Two whole tiles and some more.
pub const EVENTS: u64 = 600;
pub const TABLES: [&str; 6] =
    ["organizations", "log_heads", "log_tiles", "events", "checkpoints", "log_retention"];

fn numbered(organization: &str, number: u64) -> CreateEventRequest {
    let mut request = create_event(organization, "doc.read");
    request.event.as_mut().unwrap().actor.as_mut().unwrap().id = format!("user_{number}");
    request
}

/// A database with a log of 600 events, and others beside it, that nobody serves.
pub struct Evidence {
    pub program: Program,
    pub engine: Engine,
    database: DatabaseConnection,
    pub key: SigningKey,
}

/// A row of events.
#[derive(Clone)]
pub struct Row {
    pub payload: Vec<u8>,
    pub salt: Vec<u8>,
    pub leaf: Hash,
}

impl Evidence {
    pub async fn new(engine: Engine) -> Self {
        let program = Program::on(engine).await;
        let server = program.serve().await;
        let mut client = server.client().await;
        client.create_action_schema(schema_for("doc.read")).await.unwrap();
        for (organization, count) in [("acme", EVENTS), ("hooli", 256), ("umbrella", 3)] {
            let requests = (0..count).map(|number| numbered(organization, number)).collect();
            let batch = BatchCreateEventsRequest { requests, atomic: true };
            client.batch_create_events(batch).await.unwrap();
        }
        server.stop().await;
        let database = Database::connect(program.database_url()).await.unwrap();
        let key = std::fs::read_to_string(program.path("data/signing-key.pem")).unwrap();
        let key = SigningKey::parse(&key).unwrap();
        let evidence = Self { program, engine, database, key };
        evidence.execute("DELETE FROM checkpoints").await;
        evidence.store_checkpoint(300, &evidence.key).await;
        evidence.store_checkpoint(EVENTS, &evidence.key).await;
        for table in TABLES {
            let keep = format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
            evidence.execute(&keep).await;
        }
        evidence
    }

    pub async fn execute(&self, sql: &str) {
        self.database.execute_unprepared(sql).await.unwrap();
    }

    /// Everything as it was.
    pub async fn restore(&self) {
        for table in TABLES {
            self.execute(&format!("DELETE FROM {table}")).await;
            self.execute(&format!("INSERT INTO {table} SELECT * FROM kept_{table}")).await;
        }
    }

    /// Bytes as a literal.
    pub fn bytes(&self, bytes: &[u8]) -> String {
        let digits = hex::encode(bytes);
        match self.engine {
            Engine::Sqlite => format!("x'{digits}'"),
            Engine::Postgres => format!("'\\x{digits}'::bytea"),
        }
    }

    /// The events of acme.
    pub async fn rows(&self) -> Vec<Row> {
        let sql = "SELECT payload, salt, leaf_hash FROM events WHERE organization_id = 'acme' \
                   ORDER BY sequence";
        let statement = Statement::from_string(self.database.get_database_backend(), sql);
        let rows = self.database.query_all_raw(statement).await.unwrap();
        let row = |row: &sea_orm::QueryResult| Row {
            payload: row.try_get_by_index(0).unwrap(),
            salt: row.try_get_by_index(1).unwrap(),
            leaf: row.try_get_by_index::<Vec<u8>>(2).unwrap().try_into().unwrap(),
        };
        rows.iter().map(row).collect()
    }

    /// The tree of the first events of acme.
    pub async fn tree(&self, size: u64) -> Frontier {
        let mut tree = Frontier::default();
        for row in &self.rows().await[..usize::try_from(size).unwrap()] {
            tree.push(row.leaf);
        }
        tree
    }

    pub async fn note(&self, size: u64, key: &SigningKey) -> String {
        let root = self.tree(size).await.root();
        Checkpoint { origin: "audit-logs/acme".to_owned(), size, root }.sign(key).unwrap()
    }

    /// Stores a checkpoint of the log as it is.
    pub async fn store_checkpoint(&self, size: u64, key: &SigningKey) {
        let (note, root) = (self.note(size, key).await, self.tree(size).await.root());
        let root = self.bytes(&root);
        self.execute(&format!(
            "INSERT INTO checkpoints (organization_id, minute, size, root, note, created_at) \
             VALUES ('acme', {size}, {size}, {root}, '{note}', 0)"
        ))
        .await;
    }

    /// Sets columns of an event.
    pub async fn set(&self, sequence: u64, columns: &str) {
        let sql = format!(
            "UPDATE events SET {columns} WHERE organization_id = 'acme' AND sequence = {sequence}"
        );
        self.execute(&sql).await;
    }

    /// Changes an event; with its hash if `rehash`.
    pub async fn change(&self, sequence: u64, rehash: bool) {
        let row = &self.rows().await[usize::try_from(sequence).unwrap()];
        let payload = String::from_utf8(row.payload.clone()).unwrap();
        assert!(payload.contains("\"Plan\""));
        let payload = payload.replace("\"Plan\"", "\"Plot\"").into_bytes();
        self.set(sequence, &format!("payload = {}", self.bytes(&payload))).await;
        if rehash {
            let leaf = leaf_hash(&row.salt.clone().try_into().unwrap(), &payload);
            self.set(sequence, &format!("leaf_hash = {}", self.bytes(&leaf))).await;
        }
    }

    /// Moves all events from a sequence on.
    pub async fn renumber(&self, from: u64, by: i64) {
        // In two steps: one would meet itself.
        let far = 1_000_000;
        for (from, by) in [(i64::try_from(from).unwrap(), far), (far, by - far)] {
            self.execute(&format!(
                "UPDATE events SET sequence = sequence + {by} \
                 WHERE organization_id = 'acme' AND sequence >= {from}"
            ))
            .await;
        }
    }

    pub async fn swap(&self, one: u64, other: u64) {
        for (from, to) in [(one, 9_999_999), (other, one), (9_999_999, other)] {
            self.set(from, &format!("sequence = {to}")).await;
        }
    }

    /// Puts an event of its own making at a sequence that is free.
    pub async fn insert(&self, sequence: u64) {
        let row = self.rows().await[0].clone();
        let payload = String::from_utf8(row.payload).unwrap();
        let (before, rest) = payload.split_once("audit_event_").unwrap();
        let payload = format!("{before}audit_event_FORGED{}", &rest[6..]);
        let id = format!("audit_event_FORGED{}", rest[6..].split('"').next().unwrap());
        let leaf = leaf_hash(&row.salt.try_into().unwrap(), payload.as_bytes());
        let (payload, leaf) = (self.bytes(payload.as_bytes()), self.bytes(&leaf));
        self.execute(&format!(
            "INSERT INTO events (organization_id, sequence, id, action, version, occurred_at, \
             created_at, actor_id, actor_name, target_types, target_ids, payload, salt, leaf_hash) \
             SELECT organization_id, {sequence}, '{id}', action, version, occurred_at, created_at, \
             actor_id, actor_name, target_types, target_ids, {payload}, salt, {leaf} FROM kept_events \
             WHERE organization_id = 'acme' AND sequence = 0"
        ))
        .await;
    }

    /// Rebuilds tiles and head from the events, as if they had always been so.
    pub async fn rebuild(&self) {
        let rows = self.rows().await;
        self.execute("DELETE FROM log_tiles WHERE organization_id = 'acme'").await;
        for (index, tile) in rows.chunks_exact(256).enumerate() {
            let mut level: Vec<Hash> = tile.iter().map(|row| row.leaf).collect();
            let hashes = self.bytes(&level.concat());
            while level.len() > 1 {
                level = level.chunks(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
            }
            let root = self.bytes(&level[0]);
            self.execute(&format!(
                "INSERT INTO log_tiles (organization_id, level, tile, hashes, root) \
                 VALUES ('acme', 0, {index}, {hashes}, {root})"
            ))
            .await;
        }
        let tree = self.tree(rows.len() as u64).await;
        let frontier = self.bytes(&tree.to_bytes());
        self.head(&format!("size = {}, frontier = {frontier}", tree.size())).await;
    }

    pub async fn head(&self, columns: &str) {
        let sql = format!("UPDATE log_heads SET {columns} WHERE organization_id = 'acme'");
        self.execute(&sql).await;
    }

    pub async fn verify(&self, options: &[&str]) -> Outcome {
        self.program.run(&[&["verify", "database"], options].concat()).await
    }

    /// Checks that the first finding is of that kind and at that sequence of acme, and that nothing
    /// else is said of the other logs; then restores everything.
    pub async fn expect(&self, attack: &str, expected: &str) {
        self.expect_with(attack, expected, &[]).await;
    }

    pub async fn expect_with(&self, attack: &str, expected: &str, options: &[&str]) {
        let outcome = self.verify(options).await;
        assert_eq!(outcome.code, Some(1), "{attack}: {outcome:?}");
        let first = outcome.stdout.lines().next().unwrap();
        let wanted = format!("TAMPERED acme: {expected}");
        assert!(first.starts_with(&wanted), "{attack}: {outcome:?}");
        assert!(!outcome.stdout.contains("hooli"), "{attack}: {outcome:?}");
        let sum = outcome.stdout.lines().last().unwrap();
        assert!(sum.starts_with("TAMPERED: 1 of 4 logs"), "{attack}: {outcome:?}");
        println!("{attack}:\n{}", outcome.stdout);
        self.restore().await;
    }
}
