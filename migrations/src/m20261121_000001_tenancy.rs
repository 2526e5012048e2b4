//! Environments, API keys and organizations.

use sea_orm_migration::{async_trait, prelude::*};

use crate::columns::{Columns, bytes, integer, optional_integer};

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
        manager.create_table(environments(&columns)).await?;
        let index = Index::create()
            .name("environments_name")
            .table("environments")
            .col("name")
            .unique()
            .if_not_exists()
            .to_owned();
        manager.create_index(index).await?;
        manager.create_table(api_keys(&columns)).await?;
        let index = Index::create()
            .name("api_keys_value_hash")
            .table("api_keys")
            .col("value_hash")
            .unique()
            .if_not_exists()
            .to_owned();
        manager.create_index(index).await?;
        let index = Index::create()
            .name("api_keys_environment")
            .table("api_keys")
            .col("environment_id")
            .col("id")
            .unique()
            .if_not_exists()
            .to_owned();
        manager.create_index(index).await?;
        manager.create_table(organizations(&columns)).await?;
        let index = Index::create()
            .name("organizations_cursor")
            .table("organizations")
            .col("environment_id")
            .col("cursor")
            .unique()
            .if_not_exists()
            .to_owned();
        manager.create_index(index).await?;
        Ok(())
    }
}

fn environments(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("environments")
        .if_not_exists()
        .col(columns.text("id"))
        .col(columns.text("name"))
        .col(integer("created_at"))
        .primary_key(Index::create().col("id"))
        .to_owned()
}

fn api_keys(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("api_keys")
        .if_not_exists()
        .col(columns.text("id"))
        .col(columns.text("environment_id"))
        .col(columns.text("name"))
        .col(bytes("value_hash"))
        .col(columns.text("hint"))
        .col(columns.text("scopes"))
        .col(columns.text("organization_ids"))
        .col(integer("created_at"))
        .col(optional_integer("revoked_at"))
        .primary_key(Index::create().col("id"))
        .to_owned()
}

fn organizations(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("organizations")
        .if_not_exists()
        .col(columns.text("id"))
        .col(columns.text("environment_id"))
        .col(columns.text("cursor"))
        .col(columns.text("name"))
        .col(optional_integer("retention_days"))
        .col(integer("created_at"))
        .col(integer("updated_at"))
        .col(optional_integer("deleted_at"))
        .primary_key(Index::create().col("id"))
        .to_owned()
}
