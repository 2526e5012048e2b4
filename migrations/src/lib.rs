//! The database schema of the audit-log service, as forward-only migrations that run unchanged on
//! SQLite and PostgreSQL.
//!
//! Tables of tenants have `organization_id` first in their primary key and in every index; there
//! are no sequences and no foreign keys, so the schema can be distributed by organization.

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::{
    MigrationTrait, async_trait,
    sea_orm::{ConnectionTrait, DbErr, EntityTrait},
    seaql_migrations::{Entity, Model},
};

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
mod m20261121_000012_key_use;

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
            Box::new(m20261121_000012_key_use::Migration),
        ]
    }

    /// The migrations that were applied, without those of later versions: while replicas are updated one
    /// by one, those of this version go on beside them, start, and are asked to migrate.
    async fn get_migration_models<C: ConnectionTrait>(db: &C) -> Result<Vec<Model>, DbErr> {
        Self::install(db).await?;
        let known = names();
        let applied = Entity::find().all(db).await?;
        Ok(applied.into_iter().filter(|row| known.contains(&row.version)).collect())
    }
}

/// How the migrations that a database had stand to those of this program.
#[derive(Debug)]
pub struct Standing {
    /// The names of those that are missing.
    pub missing: Vec<String>,
    /// The names of those that only a later version has.
    pub later: Vec<String>,
}

/// Compares what was applied with what this program has. Changes nothing; the table of migrations must be
/// there.
pub async fn standing<C: ConnectionTrait>(db: &C) -> Result<Standing, DbErr> {
    let applied: Vec<_> =
        Entity::find().all(db).await?.into_iter().map(|row| row.version).collect();
    let known = names();
    let without = |names: &[String], others: &[String]| {
        names.iter().filter(|name| !others.contains(name)).cloned().collect()
    };
    Ok(Standing { missing: without(&known, &applied), later: without(&applied, &known) })
}

fn names() -> Vec<String> {
    Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect()
}
