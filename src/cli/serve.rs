//! `audit-logs serve`.

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::{
    app::{App, Migration},
    config::Settings,
    domain::{api_key::KeyValue, clock::SystemClock},
    telemetry,
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Bring the schema of a PostgreSQL database up to date first; SQLite always is
    #[arg(long)]
    migrate: bool,
}

pub async fn run(settings: Settings, arguments: Arguments) -> Result<()> {
    telemetry::init(settings.log_format, "info");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let app = App::bind(settings, Arc::new(SystemClock)).await?;
    let address = app.address()?;
    info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    app.warn_of_a_key_of_its_own();
    let migration = if arguments.migrate { Migration::Always } else { Migration::EmbeddedOnly };
    app.run(migration, stop, |first_key| {
        if let Some(key) = first_key {
            show_first_key(&key);
        }
    })
    .await
}

/// Shows the one thing that can never be shown again.
fn show_first_key(key: &KeyValue) {
    println!(
        "There was no API key, so one was made, with every scope. It is shown only this once:"
    );
    println!();
    println!("    {}", key.reveal());
    println!();
    println!("Send it as `authorization: Bearer <key>`. `audit-logs keys create` makes others.");
}
