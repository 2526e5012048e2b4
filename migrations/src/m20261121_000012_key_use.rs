//! When each API key was last used.

use sea_orm_migration::{async_trait, prelude::*};

use crate::columns::optional_integer;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column("api_keys", "last_used_at").await? {
            return Ok(());
        }
        let column = optional_integer("last_used_at");
        let alter = Table::alter().table("api_keys").add_column(column).to_owned();
        manager.alter_table(alter).await
    }
}
