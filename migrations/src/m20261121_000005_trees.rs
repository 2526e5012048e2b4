//! The Merkle trees of the logs: frontiers, tiles, checkpoints, and the public halves of signing keys.

use sea_orm_migration::{async_trait, prelude::*, sea_orm::DbBackend};

use crate::columns::{Columns, bytes, integer, optional_integer};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = Columns::of(manager);
        if !manager.has_column("log_heads", "frontier").await? {
            // Logs that have events already get their trees when the schema is brought up to date.
            let mut frontier = bytes("frontier");
            frontier.default(Expr::cust("''"));
            let alter = Table::alter().table("log_heads").add_column(frontier).to_owned();
            manager.alter_table(alter).await?;
        }
        manager.create_table(log_tiles(&columns)).await?;
        manager.create_table(checkpoints(&columns)).await?;
        manager.create_table(signing_keys()).await?;
        let layout = match manager.get_database_backend() {
            DbBackend::Sqlite => [CLUSTER_IDEMPOTENCY_KEYS, INDEX_IDS_BY_TIME].as_slice(),
            _ => [ROOM_FOR_HEADS].as_slice(),
        };
        for statement in layout {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// Heads are updated all the time: with room on its page, the new version of a row needs no new
/// entries in the index.
const ROOM_FOR_HEADS: &str = "ALTER TABLE log_heads SET (fillfactor = 30)";

/// Ids begin with their time, so an index of ids alone grows at its end, in one page, where an index by
/// organization touches a page for each. Every page that a transaction touches is written to SQLite's
/// log whole. (PostgreSQL keeps the organization first, so that it can distribute the table.)
const INDEX_IDS_BY_TIME: &str = "
    DROP INDEX events_id;
    CREATE UNIQUE INDEX events_id ON events (id);
";

/// A key is random, so each one costs a page of every B-tree that has it. Without a rowid the table
/// is its own primary key: one B-tree instead of two, and a third more keys a second.
const CLUSTER_IDEMPOTENCY_KEYS: &str = "
    CREATE TABLE clustered_keys (
        organization_id text NOT NULL, key blob NOT NULL, sequence bigint NOT NULL,
        created_at bigint NOT NULL, PRIMARY KEY (organization_id, key)) WITHOUT ROWID;
    INSERT INTO clustered_keys
        SELECT organization_id, key, sequence, created_at FROM idempotency_keys;
    DROP TABLE idempotency_keys;
    ALTER TABLE clustered_keys RENAME TO idempotency_keys;
";

fn log_tiles(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("log_tiles")
        .if_not_exists()
        .col(columns.text("organization_id"))
        .col(integer("level"))
        .col(integer("tile"))
        .col(bytes("hashes"))
        .col(bytes("root"))
        .primary_key(Index::create().col("organization_id").col("level").col("tile"))
        .to_owned()
}

fn checkpoints(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("checkpoints")
        .if_not_exists()
        .col(columns.text("organization_id"))
        .col(integer("minute"))
        .col(integer("size"))
        .col(bytes("root"))
        .col(columns.text("note"))
        .col(integer("created_at"))
        .primary_key(Index::create().col("organization_id").col("minute"))
        .to_owned()
}

fn signing_keys() -> TableCreateStatement {
    Table::create()
        .table("signing_keys")
        .if_not_exists()
        .col(bytes("public_key"))
        .col(integer("created_at"))
        .col(optional_integer("retired_at"))
        .primary_key(Index::create().col("public_key"))
        .to_owned()
}
