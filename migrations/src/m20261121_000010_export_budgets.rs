//! How often an export failed and how often its workers ended without a word, apart from how often it was
//! taken; and why it failed last.

use sea_orm_migration::{async_trait, prelude::*};

use crate::columns::{Columns, integer};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = Columns::of(manager);
        let mut failures = integer("failures");
        failures.default(0);
        let mut silent_ends = integer("silent_ends");
        silent_ends.default(0);
        for (name, column) in [
            ("failures", failures),
            ("silent_ends", silent_ends),
            ("last_failure", columns.optional_text("last_failure")),
        ] {
            if !manager.has_column("exports", name).await? {
                let alter = Table::alter().table("exports").add_column(column).to_owned();
                manager.alter_table(alter).await?;
            }
        }
        Ok(())
    }
}
