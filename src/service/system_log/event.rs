//! What the system log tells: who did what, from where, to what.

use std::sync::Arc;

use serde_json::Value;

use crate::domain::{
    caller::{Caller, Origin},
    event::{Context, Event, Metadata, Party},
    ids::{EnvironmentId, ExportId},
    limits::{ID_CHARS, METADATA_VALUE_CHARS, TARGETS},
    timestamp::Timestamp,
};

/// Something that happened.
#[derive(Debug, Clone)]
pub struct SystemEvent {
    pub(super) environment: EnvironmentId,
    action: &'static str,
    actor: Party,
    context: Context,
    targets: Vec<Party>,
    metadata: Metadata,
}

impl SystemEvent {
    /// Something that a caller did, such as `export.created`: with the id of its key, its address, the id
    /// of its request and what it says that it is.
    pub fn by(caller: &Caller, action: &'static str) -> Self {
        let actor = party("api_key", caller.key_id.to_string());
        let environment = caller.environment.clone();
        Self::new(environment, action, actor, context("unknown")).from(caller.origin())
    }

    /// Something that whoever has a link to an export did.
    pub fn by_link(
        environment: EnvironmentId,
        export: &ExportId,
        origin: &Arc<Origin>,
        action: &'static str,
    ) -> Self {
        let actor = party("download_link", export.to_string());
        Self::new(environment, action, actor, context("unknown")).from(origin)
    }

    /// Something that the service itself did.
    pub fn by_service(environment: EnvironmentId, action: &'static str) -> Self {
        Self::new(environment, action, party("system", "audit-logs".to_owned()), context("service"))
    }

    /// Something that an operator did who has the database, with the commands of the program.
    pub fn by_operator(environment: EnvironmentId, action: &'static str) -> Self {
        let actor = party("operator", "command line".to_owned());
        Self::new(environment, action, actor, context("command line"))
    }

    fn new(
        environment: EnvironmentId,
        action: &'static str,
        actor: Party,
        context: Context,
    ) -> Self {
        let (targets, metadata) = (Vec::new(), Metadata::new());
        Self { environment, action, actor, context, targets, metadata }
    }

    fn from(mut self, origin: &Origin) -> Self {
        if let Some(address) = origin.address {
            self.context.location = address.to_string();
        }
        self.context.user_agent.clone_from(&origin.user_agent);
        if !origin.request_id.is_empty() {
            self = self.with("request_id", origin.request_id.clone());
        }
        self
    }

    /// The same, done to that too: kind and id. An event has at most 100 of them.
    #[must_use]
    pub fn on(mut self, kind: &'static str, id: &(impl ToString + ?Sized)) -> Self {
        if self.targets.len() < TARGETS {
            self.targets.push(party(kind, cut(&id.to_string(), ID_CHARS)));
        }
        self
    }

    /// The same with a further fact. A text is cut to what an event may have.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) => Value::String(cut(&text, METADATA_VALUE_CHARS)),
            other => other,
        };
        self.metadata.insert(name.to_owned(), value);
        self
    }

    pub(super) const fn action(&self) -> &'static str {
        self.action
    }

    /// As an event that happened at `now`.
    pub(super) fn into_event(self, now: Timestamp) -> Event {
        Event {
            action: self.action.to_owned(),
            version: 1,
            occurred_at: now,
            actor: self.actor,
            targets: self.targets,
            context: self.context,
            metadata: self.metadata,
        }
    }
}

fn context(location: &str) -> Context {
    Context { location: location.to_owned(), user_agent: None }
}

fn party(kind: &str, id: String) -> Party {
    Party { id, name: None, kind: kind.to_owned(), metadata: Metadata::new() }
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}
