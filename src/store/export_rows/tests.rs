use rand::SeedableRng;
use rusqlite::{Connection, params_from_iter};

use super::*;
use crate::{
    domain::{
        export::{ExportCompression, ExportFormat, ExportProgress, ExportState},
        filter::ExportRange,
        ids::{EnvironmentId, ExportId, OrganizationId},
    },
    store::StoreOptions,
};

fn export() -> Export {
    let now = Timestamp::from_micros(1_000_000);
    Export {
        id: ExportId::generate(now, &mut rand::rngs::StdRng::seed_from_u64(1)),
        environment_id: EnvironmentId::from_stored("environment"),
        organization_id: OrganizationId::from_stored("acme"),
        state: ExportState::Pending,
        format: ExportFormat::Csv,
        compression: ExportCompression::None,
        tree_size: 1_000_000,
        range: ExportRange { start: now, end: now.plus_seconds(1_000) },
        filter: EventFilter::default(),
        progress: ExportProgress::default(),
        error: None,
        download_secret: Vec::new(),
        attempt: 1,
        failures: 0,
        remains: None,
        created_at: now,
        updated_at: now,
    }
}

/// Whatever the bounds, a piece is read in the order of the one index that has it.
#[tokio::test]
async fn sqlite_reads_pieces_in_the_order_of_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("test.db");
    let options = StoreOptions { url: format!("sqlite://{}", file.display()), max_connections: 2 };
    let store = Store::connect(&options).await.unwrap();
    store.migrate().await.unwrap();
    let connection = Connection::open(&file).unwrap();
    for (order, index) in [
        (ExportOrder::Time, "events_occurred_at"),
        (ExportOrder::Sequence, "sqlite_autoindex_events_1"),
    ] {
        for after in [None, Some((2_000_000, 4_000))] {
            let statement = statement(store.engine(), &export(), order, after);
            let sql = format!("EXPLAIN QUERY PLAN {}", statement.sql);
            let mut prepared = connection.prepare(&sql).unwrap();
            let steps = prepared
                .query_map(params_from_iter(sqlite::bound(&statement).unwrap()), |row| {
                    row.get::<_, String>("detail")
                });
            let steps: Vec<_> = steps.unwrap().map(|step| step.unwrap()).collect();
            let plan = steps.join("; ");
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{order:?}: {plan}");
        }
    }
}
