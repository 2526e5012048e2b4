//! What each migration makes of the schema, held against what it made when it was released.
//!
//! A migration that was released has run somewhere, and will not run there again: changing it makes two
//! schemas of one version. `AUDIT_LOGS_TEST_RECORD_SCHEMA=1` appends what new migrations make; it does not
//! change what is recorded.

use std::{collections::BTreeSet, env, fmt::Write, fs, path::Path};

use migrations::{Migrator, MigratorTrait};

use super::{migrations, open, step};
use crate::{
    program::process::Program,
    support::{Engine, on_every_engine},
};

on_every_engine!(released_migrations_do_not_change);

/// A line for each column, index and table option.
const SQLITE: &str = "\
    SELECT 'column ' || m.name || '.' || c.name || ' ' || c.type
        || CASE WHEN c.\"notnull\" THEN ' NOT NULL' ELSE '' END
        || CASE WHEN c.dflt_value IS NULL THEN '' ELSE ' DEFAULT ' || c.dflt_value END
        || CASE WHEN c.pk > 0 THEN ' PRIMARY KEY ' || c.pk ELSE '' END
    FROM sqlite_master m, pragma_table_xinfo(m.name) c WHERE m.type = 'table'
    UNION ALL SELECT 'index ' || sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL
    UNION ALL SELECT 'table ' || name || ' WITHOUT ROWID' FROM pragma_table_list WHERE wr
    UNION ALL SELECT type || ' ' || sql FROM sqlite_master WHERE type NOT IN ('table', 'index')";

const POSTGRES: &str = "\
    SELECT 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
        || CASE WHEN l.collname IS NULL OR l.collname = 'default' THEN ''
           ELSE ' COLLATE ' || l.collname END
        || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
        || COALESCE(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_collation l ON l.oid = a.attcollation
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT 'table ' || relname || ' WITH ' || array_to_string(reloptions, ', ')
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND reloptions IS NOT NULL
    UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
    UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal";

async fn released_migrations_do_not_change(engine: Engine) {
    let (query, name) = match engine {
        Engine::Sqlite => (SQLITE, "sqlite"),
        Engine::Postgres => (POSTGRES, "postgres"),
    };
    let program = Program::on_nothing(engine).await;
    let database = open(&program, engine).await;
    let mut before = BTreeSet::new();
    let mut made = Vec::new();
    for number in 0..migrations() {
        step(&database).await;
        let lines = program.query_texts(query).await.into_iter();
        let after: BTreeSet<String> =
            lines.filter(|line| !line.contains("seaql_migrations")).collect();
        let mut text = format!("-- {}\n", Migrator::migrations()[number].name());
        for line in before.difference(&after) {
            writeln!(text, "- {line}").unwrap();
        }
        for line in after.difference(&before) {
            writeln!(text, "+ {line}").unwrap();
        }
        made.push(text);
        before = after;
    }
    database.close().await.unwrap();
    compare(name, &made.concat());
}

fn compare(name: &str, made: &str) {
    let file = format!("migrations/schema/{name}.txt");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
    let recorded = fs::read_to_string(&path).unwrap_or_default();
    let (mut lines, mut line) = (made.lines(), 0);
    for expected in recorded.lines() {
        line += 1;
        let found = lines.next();
        assert_eq!(found, Some(expected), "{file}:{line}: a migration that was released changed");
    }
    if recorded.len() < made.len() {
        let record = env::var("AUDIT_LOGS_TEST_RECORD_SCHEMA").is_ok_and(|value| value == "1");
        assert!(
            record,
            "{file} does not have the newest migration: `just record-schema` appends it, and then it is final"
        );
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, made).unwrap();
    }
}
