//! Actions and the versions of their schemas.

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
        manager.create_table(actions(&columns)).await?;
        let index = Index::create()
            .name("actions_cursor")
            .table("actions")
            .col("environment_id")
            .col("cursor")
            .unique()
            .if_not_exists()
            .to_owned();
        manager.create_index(index).await?;
        manager.create_table(action_schemas(&columns)).await?;
        Ok(())
    }
}

fn actions(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("actions")
        .if_not_exists()
        .col(columns.text("environment_id"))
        .col(columns.text("name"))
        .col(columns.text("cursor"))
        .col(integer("latest_version"))
        .col(integer("created_at"))
        .primary_key(Index::create().col("environment_id").col("name"))
        .to_owned()
}

fn action_schemas(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("action_schemas")
        .if_not_exists()
        .col(columns.text("environment_id"))
        .col(columns.text("action_name"))
        .col(integer("version"))
        .col(columns.text("definition"))
        .col(bytes("fingerprint"))
        .col(integer("created_at"))
        .primary_key(Index::create().col("environment_id").col("action_name").col("version"))
        .to_owned()
}
