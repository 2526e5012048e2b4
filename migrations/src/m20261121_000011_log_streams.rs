//! Log streams and the events that their destinations did not take.

use sea_orm_migration::{async_trait, prelude::*};

use crate::columns::{Columns, integer, optional_bytes, optional_integer};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = Columns::of(manager);
        manager.create_table(log_streams(&columns)).await?;
        manager.create_table(dead_letters(&columns)).await?;
        for (name, column) in
            [("log_streams_id", None), ("log_streams_environment", Some("environment_id"))]
        {
            let mut index = Index::create();
            index.name(name).table("log_streams").unique().if_not_exists();
            if let Some(column) = column {
                index.col(column);
            }
            manager.create_index(index.col("id").to_owned()).await?;
        }
        Ok(())
    }
}

fn log_streams(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("log_streams")
        .if_not_exists()
        .col(columns.text("organization_id"))
        .col(columns.text("id"))
        .col(columns.text("environment_id"))
        .col(columns.text("name"))
        .col(columns.text("destination"))
        .col(columns.text("ca_certificates_pem"))
        .col(optional_bytes("secrets"))
        .col(columns.text("payload"))
        .col(columns.text("state"))
        .col(integer("next_sequence"))
        // Counts moves of the cursor by callers, and changes by callers.
        .col(integer("generation"))
        .col(integer("revision"))
        .col(optional_integer("last_success_at"))
        .col(columns.text("last_error"))
        .col(optional_integer("last_error_at"))
        .col(integer("consecutive_failures"))
        .col(optional_integer("next_attempt_at"))
        .col(integer("delivered_events"))
        .col(integer("delivered_bytes"))
        .col(columns.optional_text("lease_owner"))
        .col(integer("lease_until"))
        .col(integer("created_at"))
        .col(integer("updated_at"))
        .primary_key(Index::create().col("organization_id").col("id"))
        .to_owned()
}

fn dead_letters(columns: &Columns) -> TableCreateStatement {
    Table::create()
        .table("log_stream_dead_letters")
        .if_not_exists()
        .col(columns.text("organization_id"))
        .col(columns.text("log_stream_id"))
        .col(integer("sequence"))
        .col(columns.text("event_id"))
        .col(columns.text("reason"))
        .col(integer("redrives"))
        // 1 while it waits to be sent again.
        .col(integer("is_due"))
        .col(integer("created_at"))
        .primary_key(Index::create().col("organization_id").col("log_stream_id").col("sequence"))
        .to_owned()
}
