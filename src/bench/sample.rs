//! The event that is stored again and again: some 600 bytes of canonical JSON.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use rand::RngExt;
use serde_json::{Map, Value, json};

use crate::{
    domain::{
        action_schema::SchemaDefinition,
        clock::{Clock, SystemClock},
        event_draft::{ContextDraft, EventDraft, PartyDraft, TimeDraft},
        schema_check::CompiledSchema,
    },
    proto::v1,
};

/// The action of all events.
pub const ACTION: &str = "document.shared";

/// How many variants there are.
const VARIANTS: usize = 16;

/// The events of a run, as a client sends them and as the peers take them.
pub struct Sample {
    drafts: Vec<EventDraft>,
    messages: Vec<v1::Event>,
    organizations: Vec<String>,
    definition: Value,
    schema: CompiledSchema,
}

impl Sample {
    /// With that many organizations.
    pub fn new(organizations: usize) -> Result<Self> {
        let drafts: Vec<_> = (0..VARIANTS).map(draft).collect();
        let messages = drafts.iter().map(message).collect();
        let definition = schema();
        let parsed: SchemaDefinition = serde_json::from_value(definition.clone())?;
        let schema = CompiledSchema::compile(&parsed).map_err(|error| anyhow!(error))?;
        let organizations = (0..organizations).map(|n| format!("org_bench_{n:06}")).collect();
        Ok(Self { drafts, messages, organizations, definition, schema })
    }

    /// All organizations. "One organization" is the first.
    pub fn organizations(&self) -> &[String] {
        &self.organizations
    }

    /// One of the first `count` organizations, by chance, and its number.
    pub fn any_organization(&self, count: usize) -> (usize, &str) {
        let number = if count < 2 { 0 } else { rand::rng().random_range(0..count) };
        (number, &self.organizations[number])
    }

    /// The event as a client sends it, now.
    pub fn message(&self, organization_id: &str) -> v1::CreateEventRequest {
        let variant = rand::rng().random_range(0..VARIANTS);
        let mut event = self.messages[variant].clone();
        let now = SystemClock.now();
        event.occurred_at =
            Some(prost_types::Timestamp { seconds: now.seconds(), nanos: now.subsecond_nanos() });
        let organization_id = organization_id.to_owned();
        v1::CreateEventRequest { organization_id, event: Some(event), ..Default::default() }
    }

    /// The event as the service has it after decoding, now.
    pub fn draft(&self) -> EventDraft {
        let mut draft = self.drafts[rand::rng().random_range(0..VARIANTS)].clone();
        draft.occurred_at = TimeDraft::At(SystemClock.now());
        draft
    }

    /// The compiled schema of the action.
    pub const fn schema(&self) -> &CompiledSchema {
        &self.schema
    }

    /// The request that registers the action.
    pub fn schema_request(&self) -> v1::CreateActionSchemaRequest {
        let object = |value: &Value| value.as_object().map(to_struct);
        let targets = self.definition["targets"].as_array().into_iter().flatten();
        let targets = targets.map(|target| v1::SchemaTarget {
            r#type: target["type"].as_str().unwrap_or_default().to_owned(),
            metadata: object(&target["metadata"]),
        });
        v1::CreateActionSchemaRequest {
            action_name: ACTION.to_owned(),
            targets: targets.collect(),
            actor: Some(v1::SchemaActor {
                metadata: object(&self.definition["actor"]["metadata"]),
            }),
            metadata: object(&self.definition["metadata"]),
        }
    }
}

fn schema() -> Value {
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    json!({
        "targets": [
            {"type": "document", "metadata": object(json!({"pages": {"type": "number"}}))},
            {"type": "folder"}
        ],
        "actor": {"metadata": object(json!({"role": {"type": "string"}}))},
        "metadata": object(json!({"mfa": {"type": "boolean"}, "request": {"type": "string"}}))
    })
}

fn draft(variant: usize) -> EventDraft {
    let object = |value: Value| value.as_object().cloned().unwrap_or_default();
    let party = |kind: &str, id: String, name: &str, metadata: Value| {
        let metadata = object(metadata);
        PartyDraft { id, kind: kind.to_owned(), name: name.to_owned(), metadata }
    };
    let browser = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    EventDraft {
        action: ACTION.to_owned(),
        actor: Some(party(
            "user",
            format!("user_01JQ4X7Z6E5M2K9T8V3B1N0C{variant:02}"),
            "Sample Person",
            json!({"role": "editor"}),
        )),
        targets: Some(vec![
            party(
                "document",
                format!("doc_{variant:08}"),
                "Quarterly report",
                json!({"pages": variant + 1}),
            ),
            party("folder", format!("folder_{variant:04}"), "", json!({})),
        ]),
        context: Some(ContextDraft {
            location: format!("203.0.113.{variant}"),
            user_agent: browser.to_owned(),
        }),
        metadata: object(json!({
            "mfa": true, "request": format!("{variant:032x}"), "region": "eu-central-1"
        })),
        ..Default::default()
    }
}

fn message(draft: &EventDraft) -> v1::Event {
    let metadata = |map: &Map<String, Value>| (!map.is_empty()).then(|| to_struct(map));
    let targets = draft.targets.iter().flatten().map(|target| v1::Target {
        id: target.id.clone(),
        r#type: target.kind.clone(),
        name: target.name.clone(),
        metadata: metadata(&target.metadata),
    });
    v1::Event {
        action: draft.action.clone(),
        version: 1,
        occurred_at: None,
        actor: draft.actor.as_ref().map(|actor| v1::Actor {
            id: actor.id.clone(),
            r#type: actor.kind.clone(),
            name: actor.name.clone(),
            metadata: metadata(&actor.metadata),
        }),
        targets: targets.collect(),
        context: draft.context.as_ref().map(|context| v1::Context {
            location: context.location.clone(),
            user_agent: context.user_agent.clone(),
        }),
        metadata: metadata(&draft.metadata),
    }
}

fn to_struct(map: &Map<String, Value>) -> prost_types::Struct {
    let fields: BTreeMap<_, _> =
        map.iter().map(|(key, value)| (key.clone(), to_value(value))).collect();
    prost_types::Struct { fields }
}

/// Our own constants: strings, numbers, booleans and objects.
fn to_value(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Object(map) => Kind::StructValue(to_struct(map)),
        other => Kind::NumberValue(other.as_f64().unwrap_or_default()),
    };
    prost_types::Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn a_message_has_the_size_of_a_usual_event() {
        let sample = Sample::new(3).unwrap();
        let request = sample.message(&sample.organizations()[2]);
        assert_eq!(request.organization_id, "org_bench_000002");
        let bytes = request.encoded_len();
        assert!((350..650).contains(&bytes), "{bytes}");
        assert!(sample.any_organization(3).0 < 3);
        assert_eq!(sample.any_organization(1), (0, "org_bench_000000"));
    }
}
