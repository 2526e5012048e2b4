//! `audit-logs demo`: the whole service in one process.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::Args;
use tokio::sync::oneshot;

use crate::{
    app::{App, Migration},
    config::{Flags, Settings, TlsSettings},
    demo::{Demo, Input},
    domain::{
        api_key::Scope,
        clock::{Clock, SystemClock},
        ids::OrganizationId,
    },
    service::api_keys::NewApiKey,
    telemetry,
};

/// The environment of the demo's key: apart from what an operator may have in the database.
const ENVIRONMENT: &str = "demo";

#[derive(Debug, Args)]
pub struct Arguments {
    /// AWS CloudTrail records, one JSON object a line, plain or gzipped [default: a built-in sample]
    file: Option<PathBuf>,
    /// The CSV file to write
    #[arg(long, short, default_value = "audit-logs-demo.csv")]
    output: PathBuf,
}

pub async fn run(mut settings: Settings, flags: &Flags, arguments: Arguments) -> Result<()> {
    telemetry::init(settings.log_format, "warn");
    // A demo must not touch a service that runs here, of which there may be a settings file: its own ports,
    // and its own data unless others were named.
    settings.listen = ([127, 0, 0, 1], 0).into();
    // It talks to itself.
    settings.tls = TlsSettings::default();
    settings.metrics.listen = None;
    if !is_named(flags.database_url.as_ref(), "AUDIT_LOGS_DATABASE_URL") {
        settings.database_url = None;
    }
    if !is_named(flags.export_url.as_ref(), "AUDIT_LOGS_EXPORT_URL") {
        settings.export_url = None;
    }
    // Its records register their organization and have targets that their schemas do not declare.
    settings.organizations.auto_register = true;
    settings.events.strict_targets = false;
    let scratch = std::env::temp_dir().join(format!("audit-logs-demo-{}", std::process::id()));
    let own_directory = !is_named(flags.data_dir.as_ref(), "AUDIT_LOGS_DATA_DIR");
    if own_directory {
        settings.data_dir.clone_from(&scratch);
    }
    let result = run_server(settings, arguments).await;
    if own_directory && scratch.exists() {
        std::fs::remove_dir_all(&scratch).context("cannot remove the demo's data directory")?;
    }
    result
}

/// Whether who called said so, rather than a settings file.
fn is_named<T>(flag: Option<&T>, variable: &str) -> bool {
    flag.is_some() || std::env::var_os(variable).is_some()
}

async fn run_server(settings: Settings, arguments: Arguments) -> Result<()> {
    let clock = SystemClock;
    let app = App::bind(settings, Arc::new(clock)).await?;
    let (url, keys) = (format!("http://{}", app.address()?), app.services().api_keys);
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, is_ready) = oneshot::channel();
    let server = app.run(Migration::Always, async { _ = stopped.await }, |_| _ = ready.send(()));
    let demo = async {
        // Dropped when the demo ends, however it ends; that stops the server.
        let _stop = stop;
        is_ready.await.context("the server did not start")?;
        let scopes = [Scope::SchemasWrite, Scope::EventsWrite, Scope::Exports];
        let new = NewApiKey {
            name: "demo".to_owned(),
            scopes: scopes.map(|scope| scope.as_str().to_owned()).to_vec(),
            organization_ids: Vec::new(),
        };
        let (key, value) = keys.create_as_operator(ENVIRONMENT, new).await?;
        let organization_id = OrganizationId::generate(clock.now(), &mut rand::rng()).to_string();
        let api_key = value.reveal().to_owned();
        let demo = Demo { url, api_key, organization_id, output: arguments.output };
        let input = arguments.file.map_or(Input::Sample, Input::File);
        let result = demo.run(input).await;
        keys.delete_as_operator(&key).await?;
        result
    };
    let (server, summary) = tokio::join!(server, demo);
    // Why the server did not start says more than that it did not.
    server?;
    println!("{}", summary?);
    Ok(())
}
