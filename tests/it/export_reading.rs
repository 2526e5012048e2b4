//! How exports read their rows: each once, and beside lists that are slow.

use audit_logs::{
    domain::{export::Export, filter::EventFilter, ids::ExportId},
    store::{ExportOrder, ExportRows, Store},
};
use tokio::sync::mpsc;

use crate::{
    export_jobs::{export_of, fill, follow, start},
    support::{self, Engine, TestServer, on_every_engine, until},
};

on_every_engine!(slow_lists_leave_exports_their_connections, what_is_rare_is_found_in_a_long_log);

const EVENTS: usize = 12_500;

async fn exported(server: &TestServer, events: usize) -> Export {
    let mut client = server.client().await;
    fill(&mut client, "acme", events).await;
    let id = start(&mut client, export_of("acme")).await.id;
    follow(&mut client, &id).await;
    server.store().await.find_export(&ExportId::from_stored(id)).await.unwrap().unwrap()
}

/// The sequences that an order brings.
async fn sequences(store: &Store, export: &Export, order: ExportOrder) -> Vec<u64> {
    let (sender, mut pieces) = mpsc::channel::<ExportRows>(1);
    let collect = async {
        let mut sequences = Vec::new();
        while let Some(piece) = pieces.recv().await {
            sequences.extend(piece.iter().map(|row| row.sequence));
        }
        sequences
    };
    let read = async {
        let sender = sender;
        store.read_export(export, order, &sender).await.unwrap();
    };
    tokio::join!(read, collect).1
}

/// How many rows an order brings.
async fn rows(store: &Store, export: &Export, order: ExportOrder) -> usize {
    sequences(store, export, order).await.len()
}

/// No statement looks at all of a log, and none of it is left out or told twice.
async fn what_is_rare_is_found_in_a_long_log(engine: Engine) {
    const SIZE: u64 = 70_000;
    let server = TestServer::start(engine).await;
    let export = exported(&server, 10).await;
    let bytes = |hex: &str| match engine {
        Engine::Sqlite => format!("X'{hex}'"),
        Engine::Postgres => format!("decode('{hex}', 'hex')"),
    };
    let (payload, leaf, start) =
        (bytes("7b7d"), bytes(&"00".repeat(32)), export.range.start.micros());
    let long = format!(
        "INSERT INTO events (organization_id, sequence, id, action, version, occurred_at, created_at, \
         actor_id, target_types, target_ids, payload, salt, leaf_hash) \
         WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < {SIZE} - 1) \
         SELECT 'acme', i, 'event_' || i, 'doc.read', 1, {start} + i * 7919 % {SIZE}, 0, \
         CASE WHEN i % 20011 = 0 THEN 'rare' ELSE 'often' END, '', '', {payload}, {payload}, {leaf} FROM n"
    );
    server.execute(&long).await;
    let filter = EventFilter { actor_ids: vec!["rare".to_owned()], ..EventFilter::default() };
    let export = Export { filter, tree_size: SIZE, ..export };
    let mut rare = vec![20_011, 40_022, 60_033];
    let store = server.store().await;
    assert_eq!(sequences(&store, &export, ExportOrder::Sequence).await, rare);
    rare.sort_by_key(|sequence| sequence * 7_919 % SIZE);
    assert_eq!(sequences(&store, &export, ExportOrder::Time).await, rare);
    // Everything, once, but not what came after the export was asked for.
    let all = Export { filter: EventFilter::default(), tree_size: SIZE - 1, ..export };
    let told = sequences(&store, &all, ExportOrder::Sequence).await;
    let expected: Vec<_> = (told[0]..SIZE - 1).collect();
    assert_eq!(told, expected);
    let mut by_time = sequences(&store, &all, ExportOrder::Time).await;
    by_time.sort_unstable();
    assert_eq!(by_time, told);
}

/// What a connection counted is told at its end.
async fn until_alone(server: &TestServer) {
    let others = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                  AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    until("other connections end", async || {
        (server.query_integers(others).await == [0]).then_some(())
    })
    .await;
}

/// A plan that sorts would read what is left of the log for each piece. Such plans are likeliest where
/// PostgreSQL plans for values that it does not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_reads_each_row_once() {
    if !support::postgres::is_available() {
        return;
    }
    let mut server = TestServer::start(Engine::Postgres).await;
    let export = exported(&server, EVENTS).await;
    let database = server.settings.database_url().rsplit('/').next().unwrap().to_owned();
    let unknown = format!("ALTER DATABASE {database} SET plan_cache_mode = force_generic_plan");
    server.execute(&unknown).await;
    let fetched = "SELECT (COALESCE(idx_tup_fetch, 0) + seq_tup_read)::bigint \
                   FROM pg_stat_user_tables WHERE relname = 'events'";
    server.stop().await;
    for statistics in ["none", "new"] {
        if statistics == "new" {
            server.execute("ANALYZE events").await;
        }
        for order in [ExportOrder::Time, ExportOrder::Sequence] {
            until_alone(&server).await;
            server.execute("SELECT pg_stat_reset()").await;
            let store = server.store().await;
            assert_eq!(rows(&store, &export, order).await, EVENTS);
            store.close().await.unwrap();
            until_alone(&server).await;
            let fetched = server.query_integers(fetched).await[0];
            assert!((12_500..13_500).contains(&fetched), "{order:?}, {statistics}: {fetched}");
        }
    }
}

/// All connections for lists are taken.
async fn slow_lists_leave_exports_their_connections(engine: Engine) {
    let server = TestServer::start(engine).await;
    let export = exported(&server, 10).await;
    let store = server.store().await;
    // It has one of four.
    let list = store.log_snapshot(&export.organization_id).await.unwrap();
    assert_eq!(rows(&store, &export, ExportOrder::Sequence).await, 10);
    assert_eq!(store.estimate_export(&export).await.unwrap().rows, 10);
    drop(list);
    // What is erased to the last event has nothing to estimate.
    server.execute("DELETE FROM events").await;
    assert_eq!(store.estimate_export(&export).await.unwrap().rows, 0);
}
