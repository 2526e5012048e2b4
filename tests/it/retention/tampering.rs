//! Tampering shows after an erasure as before, and retention covers nothing up.

use audit_logs::{merkle::node_hash, verify::log::Kind};

use super::Trail;
use crate::{
    support::{Engine, on_every_engine},
    transparency::grow,
};

on_every_engine!(
    tampering_with_events_is_named,
    tampering_with_retention_is_named,
    tampering_with_tiles_of_erased_events_is_named,
    retention_stops_before_what_is_missing,
    what_does_not_fit_its_tile_keeps_its_leaf_hashes,
);

const TABLES: [&str; 5] = ["events", "log_heads", "log_tiles", "checkpoints", "log_retention"];

/// 1,300 events of which 1,030 are erased at 1,100: 1,024 rows are deleted and six are tombstones that
/// have their tile by now.
async fn erased(engine: Engine) -> Trail {
    let trail = Trail::new(engine).await;
    grow(&trail.server, "acme", 1_000).await;
    grow(&trail.server, "acme", 30).await;
    trail.after_days(2);
    grow(&trail.server, "acme", 70).await;
    trail.after_days(29);
    trail.keep_for_days("acme", 30).await;
    assert_eq!(trail.sweep().await.events, 1_030);
    assert_eq!(trail.rows("acme").await, (70, 6));
    trail
}

/// An attack: its name, the statements, what is found first, and where.
type Attack = (&'static str, String, Kind, u64);

/// Bytes as a literal, from hexadecimal digits.
fn literal(engine: Engine, digits: &str) -> String {
    match engine {
        Engine::Sqlite => format!("x'{digits}'"),
        Engine::Postgres => format!("'\\x{digits}'::bytea"),
    }
}

/// Attacks one after the other, each on the log as it was.
async fn are_found(trail: &Trail, attacks: Vec<Attack>) {
    for table in TABLES {
        trail.server.execute(&format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}")).await;
    }
    for (attack, statements, kind, sequence) in attacks {
        for sql in statements.split(';') {
            trail.server.execute(sql).await;
        }
        let report = trail.check("acme").await;
        let first = report.findings.first();
        let first = first.unwrap_or_else(|| panic!("{attack}: nothing was found"));
        assert_eq!((first.kind, first.sequence), (kind, Some(sequence)), "{attack}: {report:#?}");
        for table in TABLES {
            trail.server.execute(&format!("DELETE FROM {table}")).await;
            let back = format!("INSERT INTO {table} SELECT * FROM kept_{table}");
            trail.server.execute(&back).await;
        }
    }
}

fn deleted(condition: &str) -> String {
    format!("DELETE FROM events WHERE sequence {condition}")
}

fn changed(columns: &str, sequence: u64) -> String {
    format!("UPDATE events SET {columns} WHERE sequence = {sequence}")
}

async fn tampering_with_events_is_named(engine: Engine) {
    let trail = erased(engine).await;
    let bytes = |digits: &str| literal(engine, digits);
    let empty = bytes("");
    let blank = format!(
        "id = 'x', action = '', actor_id = '', actor_name = NULL, target_types = '', \
         target_ids = '', payload = {empty}, salt = {empty}"
    );
    let salt = format!("salt = {}", bytes(&"07".repeat(16)));
    let leaf_hash = format!("leaf_hash = {}", bytes(&"07".repeat(32)));
    let inserted = "INSERT INTO events (organization_id, sequence, id, action, version, \
        occurred_at, created_at, actor_id, actor_name, target_types, target_ids, payload, salt, \
        leaf_hash) SELECT organization_id, 700, 'x', action, version, occurred_at, created_at, \
        actor_id, actor_name, target_types, target_ids, payload, salt, leaf_hash FROM events \
        WHERE sequence = 1050";
    let attacks = vec![
        ("deleted", deleted("= 1030"), Kind::Missing, 1_030),
        ("deleted", deleted("= 1099"), Kind::Missing, 1_099),
        ("deleted", deleted(">= 1040"), Kind::Missing, 1_040),
        ("all deleted", deleted(">= 0"), Kind::Missing, 1_024),
        ("a tombstone deleted", deleted("= 1027"), Kind::Missing, 1_027),
        ("blanked", changed(&blank, 1_030), Kind::Missing, 1_030),
        ("blanked", changed(&blank, 1_077), Kind::Missing, 1_077),
        ("changed", changed(&salt, 1_090), Kind::Changed, 1_090),
        ("a tombstone's hash", changed(&leaf_hash, 1_027), Kind::Changed, 1_024),
        ("half a tombstone", changed("action = 'doc.read'", 1_025), Kind::Changed, 1_025),
        ("inserted below", inserted.to_owned(), Kind::Changed, 700),
    ];
    are_found(&trail, attacks).await;
}

async fn tampering_with_retention_is_named(engine: Engine) {
    let trail = erased(engine).await;
    let set = |below: i64| {
        format!("UPDATE log_retention SET erased_below = {below}, deleted_below = {below}")
    };
    let rows_too = format!("{}; {}", set(1_100), deleted(">= 0"));
    let attacks = vec![
        ("set back", set(500), Kind::Missing, 500),
        ("forgotten", "DELETE FROM log_retention".to_owned(), Kind::Missing, 0),
        ("below nothing", set(-1), Kind::Head, 0),
        ("set forth", set(1_060), Kind::Inserted, 1_030),
        ("beyond the end", set(5_000), Kind::Inserted, 1_030),
        ("with rows that no tile has", rows_too, Kind::Missing, 1_024),
    ];
    are_found(&trail, attacks).await;
}

async fn tampering_with_tiles_of_erased_events_is_named(engine: Engine) {
    let trail = erased(engine).await;
    let hash = literal(engine, &"07".repeat(32));
    let tile = |change: &str, index: u64| {
        format!("UPDATE log_tiles SET {change} WHERE level = 0 AND tile = {index}")
    };
    // With its root: then the rest of the tree is against it.
    let zeros = literal(engine, &"00".repeat(8_192));
    let mut level = vec![[0; 32]; 256];
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    let root = literal(engine, &hex::encode(level[0]));
    let whole = tile(&format!("hashes = {zeros}, root = {root}"), 1);
    let attacks = vec![
        ("deleted", "DELETE FROM log_tiles WHERE tile = 2".to_owned(), Kind::Tile, 512),
        ("cut", tile(&format!("hashes = {hash}"), 1), Kind::Tile, 256),
        ("another root", tile(&format!("root = {hash}"), 3), Kind::Tile, 768),
        ("all deleted", "DELETE FROM log_tiles".to_owned(), Kind::Tile, 0),
        ("no head", "DELETE FROM log_heads".to_owned(), Kind::Head, 0),
        ("changed with its root", whole, Kind::Head, 0),
    ];
    are_found(&trail, attacks).await;
}

async fn retention_stops_before_what_is_missing(engine: Engine) {
    let trail = Trail::new(engine).await;
    grow(&trail.server, "acme", 600).await;
    grow(&trail.server, "beta", 3).await;
    trail.after_days(366);
    trail
        .server
        .execute("DELETE FROM events WHERE organization_id = 'acme' AND sequence = 300")
        .await;
    for erased in [300, 0] {
        // The others are not held up.
        let others = if erased > 0 { 3 } else { 0 };
        assert_eq!(trail.sweep().await.events, erased + others);
        let report = trail.check("acme").await;
        let first = &report.findings[0];
        assert_eq!((first.kind, first.sequence), (Kind::Missing, Some(300)), "{report:#?}");
    }
    assert_eq!(trail.rows("acme").await, (299, 0));
}

async fn what_does_not_fit_its_tile_keeps_its_leaf_hashes(engine: Engine) {
    let trail = Trail::new(engine).await;
    grow(&trail.server, "acme", 1_000).await;
    trail.after_days(366);
    let (hash, other) = match engine {
        Engine::Sqlite => ("x'07'", "WHERE sequence = 300"),
        Engine::Postgres => ("'\\x07'::bytea", "WHERE sequence = 300"),
    };
    trail.server.execute(&format!("UPDATE events SET leaf_hash = {hash} {other}")).await;
    trail.server.execute("DELETE FROM log_tiles WHERE level = 0 AND tile = 0").await;
    let swept = trail.sweep().await;
    assert_eq!((swept.events, swept.deleted_rows), (1_000, 256));
    assert_eq!(trail.rows("acme").await, (0, 744));
    let report = trail.check("acme").await;
    let found: Vec<_> =
        report.findings.iter().map(|found| (found.kind, found.sequence.unwrap())).collect();
    assert!(found.contains(&(Kind::Tile, 0)) && found.contains(&(Kind::Changed, 300)), "{found:?}");
    assert_eq!(trail.sweep().await.deleted_rows, 0);
}
