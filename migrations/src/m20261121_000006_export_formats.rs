//! The format of an export.

use sea_orm_migration::{async_trait, prelude::*};

use crate::columns::Columns;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if !manager.has_column("exports", "format").await? {
            let mut format = Columns::of(manager).text("format");
            format.default("csv");
            let alter = Table::alter().table("exports").add_column(format).to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}
