use rand::SeedableRng;
use rusqlite::{Connection, params_from_iter};

use super::*;
use crate::{
    domain::{
        export::{ExportCompression, ExportFormat, ExportProgress, ExportState},
        filter::ExportRange,
        ids::{EnvironmentId, ExportId, OrganizationId},
        timestamp::Timestamp,
    },
    store::{Engine, StoreOptions},
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

fn sqlite() -> Engine {
    Engine::of_url("sqlite://memory").unwrap()
}

fn rare() -> EventFilter {
    EventFilter { actor_ids: vec!["nobody".to_owned()], ..EventFilter::default() }
}

/// Every kind of statement that an export needs.
fn statements(export: &Export, order: ExportOrder) -> Vec<Statement> {
    let nothing = || Piece { rows: ExportRows::default(), last: None, is_full: false };
    let mut reading = Reading::new(sqlite(), export, order, 7);
    let mut statements = Vec::from_iter(reading.look_ahead());
    statements.push(reading.piece());
    reading.look_until(Some((2_000_000, 4_000)));
    statements.push(reading.piece());
    assert!(reading.advance(&nothing()));
    statements.extend(reading.look_ahead());
    statements.push(reading.piece());
    reading.look_until(None);
    assert!(!reading.advance(&nothing()));
    statements
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
        let filters = [EventFilter::default(), rare()];
        let exports = filters.map(|filter| Export { filter, ..export() });
        for statement in exports.iter().flat_map(|export| statements(export, order)) {
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

/// A piece that found nothing looks at a bounded part of the log, and the next goes on behind it.
#[test]
fn a_statement_looks_at_a_bounded_part_of_the_log() {
    let everything = Export { tree_size: 100_000, ..export() };
    let mut reading = Reading::new(sqlite(), &everything, ExportOrder::Sequence, 10);
    let mut ends = Vec::new();
    loop {
        assert!(reading.look_ahead().is_none());
        ends.push(reading.piece().sql.matches("<=").count());
        if !reading.advance(&Piece { rows: ExportRows::default(), last: None, is_full: false }) {
            break;
        }
    }
    // 10 to 100,000 in steps of 32,768; the last has no end of its own.
    assert_eq!(ends.len(), 4);
    assert!(ends[..3].iter().all(|bounds| *bounds == ends[3] + 1), "{ends:?}");
    // In the order of time the end is looked for, if there is anything not to find.
    let mut reading = Reading::new(sqlite(), &everything, ExportOrder::Time, 0);
    assert!(reading.look_ahead().is_none());
    let selective = Export { filter: rare(), ..everything };
    let mut reading = Reading::new(sqlite(), &selective, ExportOrder::Time, 0);
    assert!(reading.look_ahead().is_some());
}
