//! `audit-logs migrate`.

use anyhow::{Context, Result};

use crate::{app::open_store, config::Settings, telemetry};

pub async fn run(settings: &Settings) -> Result<()> {
    telemetry::init(settings.log_format, "warn");
    let store = open_store(settings).await?;
    store.migrate().await.context("cannot migrate the database")?;
    store.check_migrated().await.context("the migration did not take")?;
    println!("The {} database is up to date.", store.engine().name());
    Ok(store.close().await?)
}
