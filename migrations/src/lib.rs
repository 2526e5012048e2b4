//! The database schema of the audit-log service, as forward-only migrations that run unchanged on
//! SQLite and PostgreSQL.
//!
//! Tables of tenants have `organization_id` first in their primary key and in every index; there
//! are no sequences and no foreign keys, so the schema can be distributed by organization.

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::{MigrationTrait, async_trait};

mod columns;
mod m20261121_000001_tenancy;
mod m20261121_000002_actions;
mod m20261121_000003_events;
mod m20261121_000004_exports;
mod m20261121_000005_trees;
mod m20261121_000006_export_formats;
mod m20261121_000007_organization_details;
mod m20261121_000008_retention;
mod m20261121_000009_export_jobs;
mod m20261121_000010_export_budgets;
mod m20261121_000011_log_streams;

/// Runs the migrations, in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_tenancy::Migration),
            Box::new(m20261121_000002_actions::Migration),
            Box::new(m20261121_000003_events::Migration),
            Box::new(m20261121_000004_exports::Migration),
            Box::new(m20261121_000005_trees::Migration),
            Box::new(m20261121_000006_export_formats::Migration),
            Box::new(m20261121_000007_organization_details::Migration),
            Box::new(m20261121_000008_retention::Migration),
            Box::new(m20261121_000009_export_jobs::Migration),
            Box::new(m20261121_000010_export_budgets::Migration),
            Box::new(m20261121_000011_log_streams::Migration),
        ]
    }
}
