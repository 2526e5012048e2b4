//! The environment's own log: what the service and its administrators did, as events of an organization
//! that the service itself keeps, with the same tree as every other.

use std::sync::Arc;

use serde_json::Value;

use super::{error::Result, lanes::Lanes, organizations::Organizations, prepared::prepared};
use crate::domain::{
    caller::Tenant,
    clock::Clock,
    event::{Context, Event, Metadata, Party},
    ids::{EnvironmentId, OrganizationId},
    limits::METADATA_VALUE_CHARS,
};

/// Records what happened to the service itself. Cheap to clone.
#[derive(Clone)]
pub struct SystemLog {
    clock: Arc<dyn Clock>,
    organizations: Organizations,
    lanes: Lanes,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub struct SystemEvent {
    /// In which environment.
    pub environment: EnvironmentId,
    /// Name of the action, such as `log_stream.replayed`.
    pub action: &'static str,
    /// Who did it.
    pub actor: SystemActor,
    /// To what: kind and id.
    pub targets: Vec<(&'static str, String)>,
    /// Further facts, as for any event.
    pub metadata: Vec<(&'static str, Value)>,
}

/// Who did something.
#[derive(Debug, Clone)]
pub enum SystemActor {
    /// The service itself.
    Service,
    /// Who has the key with that id.
    Key(String),
}

impl SystemLog {
    /// Events go through `lanes`, into organizations that are registered when first needed.
    pub const fn new(clock: Arc<dyn Clock>, organizations: Organizations, lanes: Lanes) -> Self {
        Self { clock, organizations, lanes }
    }

    /// Records an event. What was done is done: a failure goes to the service's own log, not to who
    /// did it.
    pub async fn record(&self, event: SystemEvent) {
        let action = event.action;
        if let Err(error) = self.try_record(event).await {
            tracing::error!(action, %error, "cannot record in the system log");
        }
    }

    async fn try_record(&self, event: SystemEvent) -> Result<()> {
        let organization = OrganizationId::system(&event.environment);
        let tenant = Tenant { environment: event.environment.clone(), organization };
        self.organizations.settle_system(&tenant).await?;
        let now = self.clock.now();
        let event = Event {
            action: event.action.to_owned(),
            version: 1,
            occurred_at: now,
            actor: actor(event.actor),
            targets: event.targets.into_iter().map(|(kind, id)| party(kind, id)).collect(),
            context: Context { location: "service".to_owned(), user_agent: None },
            metadata: bounded(event.metadata),
        };
        let prepared = prepared(tenant.organization, event, now, None)?;
        self.lanes.submit(vec![prepared]).await.map_err(|refused| refused.error)?;
        Ok(())
    }
}

fn actor(actor: SystemActor) -> Party {
    match actor {
        SystemActor::Service => party("system", "audit-logs".to_owned()),
        SystemActor::Key(id) => party("api_key", id),
    }
}

fn party(kind: &str, id: String) -> Party {
    Party { id, name: None, kind: kind.to_owned(), metadata: Metadata::new() }
}

/// The facts within the limits of any event.
fn bounded(facts: Vec<(&'static str, Value)>) -> Metadata {
    let bounded = |value| match value {
        Value::String(text) => Value::String(text.chars().take(METADATA_VALUE_CHARS).collect()),
        other => other,
    };
    facts.into_iter().map(|(name, value)| (name.to_owned(), bounded(value))).collect()
}
