//! `audit-logs keys`: for an operator who has the database.

use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use crate::{
    app::{api_keys, open_store},
    config::Settings,
    domain::{
        api_key::{ApiKey, Scope},
        clock::{Clock, SystemClock},
        ids::OrganizationId,
        limits,
        page::{Cursor, Order, PageRequest},
    },
    service::api_keys::{ApiKeys, DEFAULT_ENVIRONMENT, NewApiKey},
    store::Engine,
    telemetry,
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key and print its value, this once
    Create(Create),
    /// List the keys of an environment
    List {
        /// The environment
        #[arg(long, default_value = DEFAULT_ENVIRONMENT)]
        environment: String,
    },
    /// Revoke a key; a running service refuses it within 5 seconds
    Revoke {
        /// The id of the key, as `keys list` tells it
        id: String,
        /// The environment
        #[arg(long, default_value = DEFAULT_ENVIRONMENT)]
        environment: String,
    },
}

#[derive(Debug, Args)]
pub struct Create {
    /// What the key is for
    #[arg(long)]
    name: String,
    /// The environment; made if there is none of that name
    #[arg(long, default_value = DEFAULT_ENVIRONMENT)]
    environment: String,
    /// What it may do, separated by commas [default: everything]
    #[arg(long, value_delimiter = ',', value_name = "SCOPE")]
    scopes: Vec<String>,
    /// The only organizations that it can see, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    organizations: Vec<String>,
}

pub async fn run(settings: &Settings, command: Command) -> Result<()> {
    telemetry::init(settings.log_format, "warn");
    let store = open_store(settings).await?;
    if store.engine() == Engine::Sqlite {
        store.migrate().await?;
    }
    store.check_migrated().await.context("run `audit-logs migrate` first")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let result = command.run(&api_keys(settings, &store, &clock)).await;
    store.close().await?;
    result
}

impl Command {
    async fn run(self, keys: &ApiKeys) -> Result<()> {
        match self {
            Self::Create(create) => create.run(keys).await,
            Self::List { environment } => list(keys, &environment).await,
            Self::Revoke { id, environment } => {
                let key = keys.revoke_as_operator(&environment, &id).await?;
                println!("Revoked {} ({}).", key.id, key.name);
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self, keys: &ApiKeys) -> Result<()> {
        let scopes = if self.scopes.is_empty() {
            Scope::ALL.map(|scope| scope.as_str().to_owned()).to_vec()
        } else {
            self.scopes
        };
        let new = NewApiKey { name: self.name, scopes, organization_ids: self.organizations };
        let (key, value) = keys.create_as_operator(&self.environment, new).await?;
        // The value alone on standard output, so that a script can take it.
        eprintln!("Made {} in the environment {}. Its value:", key.id, self.environment);
        println!("{}", value.reveal());
        Ok(())
    }
}

async fn list(keys: &ApiKeys, environment: &str) -> Result<()> {
    let mut cursor = Cursor::Start;
    println!(
        "{:<34}  {:<7}  {:<27}  {:<27}  {:<7}  NAME (SCOPES; ORGANIZATIONS)",
        "ID", "ENDS", "CREATED", "LAST USED", "STATE"
    );
    loop {
        let request = PageRequest { limit: limits::PAGE, order: Order::Ascending, cursor };
        let page = keys.list_as_operator(environment, request).await?;
        page.items.iter().for_each(print_key);
        match page.cursors(|key| key.id.to_string()).1 {
            Some(after) => cursor = Cursor::After(after),
            None => return Ok(()),
        }
    }
}

fn print_key(key: &ApiKey) {
    let state = if key.revoked_at.is_some() { "revoked" } else { "active" };
    let scopes = key.scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let ids = key.organization_ids.iter().map(OrganizationId::as_str).collect::<Vec<_>>().join(",");
    let limits = if ids.is_empty() { ids } else { format!("; {ids}") };
    let used = key.last_used_at.map_or_else(|| "never".to_owned(), |used| used.to_string());
    println!(
        "{:<34}  ...{}  {}  {used:<27}  {state:<7}  {} ({scopes}{limits})",
        key.id.as_str(),
        key.hint,
        key.created_at,
        key.name,
    );
}
