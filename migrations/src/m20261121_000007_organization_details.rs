//! What callers keep beside an organization: an external id, metadata, domains.

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
        let columns = Columns::of(manager);
        let mut metadata = columns.text("metadata");
        metadata.default("{}");
        let mut domains = columns.text("domains");
        domains.default("[]");
        for (name, column) in [
            ("external_id", columns.optional_text("external_id")),
            ("metadata", metadata),
            ("domains", domains),
        ] {
            // SQLite adds one column a statement.
            if !manager.has_column("organizations", name).await? {
                let alter = Table::alter().table("organizations").add_column(column).to_owned();
                manager.alter_table(alter).await?;
            }
        }
        // A deleted organization gives its external id free.
        let index = Index::create()
            .name("organizations_external_id")
            .table("organizations")
            .col("environment_id")
            .col("external_id")
            .unique()
            .and_where(Expr::col("deleted_at").is_null())
            .and_where(Expr::col("external_id").is_not_null())
            .if_not_exists()
            .to_owned();
        manager.create_index(index).await
    }
}
