//! Export jobs.

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
        manager.create_table(exports(&columns)).await?;
        let index = Index::create()
            .name("exports_environment")
            .table("exports")
            .col("environment_id")
            .col("id")
            .unique()
            .if_not_exists()
            .to_owned();
        manager.create_index(index).await?;
        let index = Index::create()
            .name("exports_organization")
            .table("exports")
            .col("organization_id")
            .col("id")
            .unique()
            .if_not_exists()
            .to_owned();
        manager.create_index(index).await?;
        let index = Index::create()
            .name("exports_state")
            .table("exports")
            .col("state")
            .col("id")
            .if_not_exists()
            .to_owned();
        manager.create_index(index).await?;
        Ok(())
    }
}

fn exports(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("exports")
        .if_not_exists()
        .col(columns.text("id"))
        .col(columns.text("environment_id"))
        .col(columns.text("organization_id"))
        .col(columns.text("state"))
        .col(integer("tree_size"))
        .col(integer("range_start"))
        .col(integer("range_end"))
        .col(columns.text("filter"))
        .col(integer("rows_written"))
        .col(integer("bytes_written"))
        .col(integer("estimated_rows"))
        .col(columns.optional_text("error"))
        .col(bytes("download_secret"))
        .col(columns.optional_text("lease_owner"))
        .col(integer("lease_until"))
        .col(integer("attempts"))
        .col(integer("created_at"))
        .col(integer("updated_at"))
        .primary_key(Index::create().col("id"))
        .to_owned()
}
