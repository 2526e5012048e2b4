//! How the file of an export is compressed, when a worker last took the job, and what an attempt that
//! did not end may have left in the export store.

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
        let mut compression = columns.text("compression");
        compression.default("none");
        let mut leased_at = integer("leased_at");
        leased_at.default(0);
        let mut upper_bound = integer("is_upper_bound");
        upper_bound.default(0);
        let remains = columns.optional_text("remains");
        for (name, column) in [
            ("compression", compression),
            ("leased_at", leased_at),
            ("is_upper_bound", upper_bound),
            ("remains", remains),
        ] {
            if !manager.has_column("exports", name).await? {
                let alter = Table::alter().table("exports").add_column(column).to_owned();
                manager.alter_table(alter).await?;
            }
        }
        let index = Index::create()
            .name("exports_turns")
            .table("exports")
            .col("organization_id")
            .col("leased_at")
            .if_not_exists()
            .to_owned();
        manager.create_index(index).await
    }
}
