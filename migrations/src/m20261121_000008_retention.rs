//! How far each log is erased, legal holds, and leases of work that one replica does for all.

use sea_orm_migration::{async_trait, prelude::*};

use crate::columns::{Columns, integer, optional_integer};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = Columns::of(manager);
        manager.create_table(log_retention(&columns)).await?;
        manager.create_table(leases(&columns)).await
    }
}

/// Beside `log_heads` and not in it: who erases must not wait for who writes, nor the other way.
fn log_retention(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("log_retention")
        .if_not_exists()
        .col(columns.text("organization_id"))
        .col(integer("erased_below"))
        .col(integer("deleted_below"))
        .col(optional_integer("held_at"))
        .col(columns.optional_text("hold_reason"))
        .primary_key(Index::create().col("organization_id"))
        .to_owned()
}

fn leases(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("leases")
        .if_not_exists()
        .col(columns.text("name"))
        .col(columns.text("owner"))
        .col(integer("held_until"))
        .col(integer("finished_at"))
        .primary_key(Index::create().col("name"))
        .to_owned()
}
