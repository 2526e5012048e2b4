//! Events, the heads of their logs, and idempotency keys.

use sea_orm_migration::{async_trait, prelude::*};

use crate::columns::{Columns, bytes, integer};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// SQLite commits each statement by itself unless told otherwise.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = Columns::of(manager);
        manager.create_table(log_heads(&columns)).await?;
        manager.create_table(events(&columns)).await?;
        let index = Index::create()
            .name("events_id")
            .table("events")
            .col("organization_id")
            .col("id")
            .unique()
            .if_not_exists()
            .to_owned();
        manager.create_index(index).await?;
        let index = Index::create()
            .name("events_occurred_at")
            .table("events")
            .col("organization_id")
            .col("occurred_at")
            .col("sequence")
            .if_not_exists()
            .to_owned();
        manager.create_index(index).await?;
        manager.create_table(idempotency_keys(&columns)).await?;
        Ok(())
    }
}

fn log_heads(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("log_heads")
        .if_not_exists()
        .col(columns.text("organization_id"))
        .col(integer("size"))
        .col(integer("updated_at"))
        .primary_key(Index::create().col("organization_id"))
        .to_owned()
}

fn events(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("events")
        .if_not_exists()
        .col(columns.text("organization_id"))
        .col(integer("sequence"))
        .col(columns.text("id"))
        .col(columns.text("action"))
        .col(integer("version"))
        .col(integer("occurred_at"))
        .col(integer("created_at"))
        .col(columns.text("actor_id"))
        .col(columns.optional_text("actor_name"))
        .col(columns.text("target_types"))
        .col(columns.text("target_ids"))
        .col(bytes("payload"))
        .col(bytes("salt"))
        .col(bytes("leaf_hash"))
        .primary_key(Index::create().col("organization_id").col("sequence"))
        .to_owned()
}

fn idempotency_keys(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("idempotency_keys")
        .if_not_exists()
        .col(columns.text("organization_id"))
        .col(bytes("key"))
        .col(integer("sequence"))
        .col(integer("created_at"))
        .primary_key(Index::create().col("organization_id").col("key"))
        .to_owned()
}
