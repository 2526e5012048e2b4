//! What the events of each action have in common, as the action's schema.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use prost_types::{Struct, Value};

use super::{source::Records, targets::ACCOUNT};
use crate::{
    domain::{limits, timestamp::Timestamp},
    proto::v1,
};

/// What an input holds.
#[derive(Debug)]
pub struct Survey {
    /// How many records.
    pub events: u64,
    /// For each action, the target types that all its events have.
    actions: BTreeMap<String, BTreeSet<String>>,
    /// The times of the earliest and of the latest record.
    pub range: (Timestamp, Timestamp),
}

impl Survey {
    /// Reads all of an input. It takes a pass of its own: an event must have each target type of its
    /// schema, so the schema has to wait for the action's last event.
    pub fn of(records: Records) -> Result<Self> {
        let (mut events, mut actions) = (0, BTreeMap::new());
        let mut range: Option<(Timestamp, Timestamp)> = None;
        let name = records.name().to_owned();
        let empty = || format!("{name} holds no records");
        for record in records {
            let mapped = record?.mapped;
            events += 1;
            let at = mapped.occurred_at;
            range = Some(range.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
            let targets = mapped.event.targets.into_iter();
            let found: BTreeSet<_> = targets.map(|target| target.r#type).collect();
            actions
                .entry(mapped.event.action)
                .and_modify(|common: &mut BTreeSet<_>| common.retain(|kind| found.contains(kind)))
                .or_insert(found);
        }
        Ok(Self { events, actions, range: range.with_context(empty)? })
    }

    /// One schema per action.
    pub fn schemas(&self) -> impl Iterator<Item = v1::CreateActionSchemaRequest> {
        self.actions.iter().map(|(action, kinds)| schema(action, kinds))
    }
}

/// The keys are those that the mapping sets.
fn schema(action: &str, kinds: &BTreeSet<String>) -> v1::CreateActionSchemaRequest {
    let targets = kinds.iter().take(limits::SCHEMA_TARGETS).map(|kind| v1::SchemaTarget {
        r#type: kind.clone(),
        metadata: (kind != ACCOUNT).then(|| object(&[("account_id", "string")], &[])),
    });
    let actor = object(
        &[
            ("account_id", "string"),
            ("arn", "string"),
            ("invoked_by", "string"),
            ("mfa_authenticated", "boolean"),
            ("session_issuer_arn", "string"),
        ],
        &[],
    );
    let metadata = object(
        &[
            ("console_session", "boolean"),
            ("error_code", "string"),
            ("error_message", "string"),
            ("event_id", "string"),
            ("event_name", "string"),
            ("event_source", "string"),
            ("event_type", "string"),
            ("read_only", "boolean"),
            ("recipient_account_id", "string"),
            ("region", "string"),
            ("request_id", "string"),
            ("targets_omitted", "integer"),
            ("tls_version", "string"),
            ("vpc_endpoint_id", "string"),
        ],
        &["event_id", "event_name", "event_source", "recipient_account_id"],
    );
    v1::CreateActionSchemaRequest {
        action_name: action.to_owned(),
        targets: targets.collect(),
        actor: Some(v1::SchemaActor { metadata: Some(actor) }),
        metadata: Some(metadata),
    }
}

/// JSON Schema of an object with these properties and no others.
fn object(properties: &[(&str, &str)], required: &[&str]) -> Struct {
    let typed = |(name, kind): &(&str, &str)| {
        let schema = BTreeMap::from([("type".to_owned(), Value::from(*kind))]);
        ((*name).to_owned(), Value::from(schema))
    };
    let properties: BTreeMap<_, _> = properties.iter().map(typed).collect();
    let required: Vec<_> = required.iter().map(|name| Value::from(*name)).collect();
    let keywords = [
        ("type", Value::from("object")),
        ("properties", Value::from(properties)),
        ("required", Value::from(required)),
        ("additionalProperties", Value::from(false)),
    ];
    Struct { fields: keywords.map(|(keyword, value)| (keyword.to_owned(), value)).into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;
    use crate::{
        demo::{
            cloudtrail::{self, MappedEvent},
            source::Input,
        },
        domain::{
            action_schema::SchemaDefinition,
            event::Event,
            event_draft::{ContextDraft, EventDraft, PartyDraft, TimeDraft},
            schema_check::{CompiledSchema, TargetRule},
        },
    };

    fn json(value: Value) -> Json {
        use prost_types::value::Kind;
        match value.kind.unwrap() {
            Kind::StringValue(text) => text.into(),
            Kind::BoolValue(flag) => flag.into(),
            Kind::NumberValue(number) => number.into(),
            Kind::ListValue(list) => list.values.into_iter().map(json).collect(),
            Kind::StructValue(object) => Json::Object(map(Some(object))),
            Kind::NullValue(_) => Json::Null,
        }
    }

    fn map(object: Option<Struct>) -> serde_json::Map<String, Json> {
        let fields = object.unwrap_or_default().fields.into_iter();
        fields.map(|(key, value)| (key, json(value))).collect()
    }

    /// The event, if it keeps the general limits.
    fn validated(mapped: MappedEvent) -> Event {
        let event = mapped.event;
        let (actor, context) = (event.actor.unwrap(), event.context.unwrap());
        let target = |target: v1::Target| PartyDraft {
            id: target.id,
            kind: target.r#type,
            name: target.name,
            metadata: map(target.metadata),
        };
        let draft = EventDraft {
            action: event.action,
            version: 1,
            occurred_at: TimeDraft::At(mapped.occurred_at),
            actor: Some(PartyDraft {
                id: actor.id,
                kind: actor.r#type,
                name: actor.name,
                metadata: map(actor.metadata),
            }),
            targets: Some(event.targets.into_iter().map(target).collect()),
            context: Some(ContextDraft {
                location: context.location,
                user_agent: context.user_agent,
            }),
            metadata: map(event.metadata),
        };
        draft.validate(mapped.occurred_at).unwrap()
    }

    fn definition(request: v1::CreateActionSchemaRequest) -> SchemaDefinition {
        let targets = request.targets.into_iter().map(|target| {
            serde_json::json!({"type": target.r#type, "metadata": target.metadata.map(|m| map(Some(m)))})
        });
        let definition = serde_json::json!({
            "targets": targets.collect::<Json>(),
            "actor": {"metadata": map(request.actor.unwrap().metadata)},
            "metadata": map(request.metadata),
        });
        serde_json::from_value(definition).unwrap()
    }

    /// Every record of `input` becomes an event that keeps the limits and fits its schema.
    fn check(input: &Input) -> Survey {
        let survey = Survey::of(input.open().unwrap()).unwrap();
        let compiled = survey.schemas().map(|request| {
            let action = request.action_name.clone();
            let definition = definition(request).validate(&action).unwrap();
            (action, CompiledSchema::compile(&definition).unwrap())
        });
        let compiled: BTreeMap<_, _> = compiled.collect();
        for record in input.open().unwrap() {
            let record = record.unwrap();
            let event = validated(record.mapped);
            let found = compiled[&event.action].check(&event, TargetRule::Contains);
            assert!(found.is_empty(), "line {}: {found:?}", record.line);
        }
        survey
    }

    #[test]
    fn the_sample_fits_its_schemas() {
        let survey = check(&Input::Sample);
        assert!((40..=80).contains(&survey.events), "{}", survey.events);
        assert!(survey.schemas().count() > 30);
    }

    #[test]
    fn a_schema_demands_what_all_events_of_the_action_have() {
        let survey = Survey::of(Input::Sample.open().unwrap()).unwrap();
        let kinds = |action: &str| {
            let schema = survey.schemas().find(|schema| schema.action_name == action).unwrap();
            schema.targets.into_iter().map(|target| target.r#type).collect::<Vec<_>>()
        };
        assert_eq!(kinds("s3.get_bucket_acl"), ["aws_account", "s3_bucket"]);
        // Of the two, one was throttled before AWS knew what it was about.
        assert_eq!(kinds("ssm.delete_parameter"), ["aws_account"]);
    }

    /// Text of any kind, also such that no field takes.
    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof!["(?s).{1,20}", "(?s).{2100}", "arn:[a-z:/]{3,20}", "[A-Z]{1,3}[a-z0-9]{1,9}"]
    }

    proptest! {
        /// Whatever a record holds, its event keeps the general limits.
        #[test]
        fn events_keep_the_limits(
            texts in prop::array::uniform9(any_text().prop_filter("blank", |t| !t.trim().is_empty())),
            ids in prop::collection::vec(".{0,3}", 0..150),
        ) {
            let [id, source, name, kind, user, place, agent, message, account] = texts;
            let record = serde_json::json!({
                "eventID": id, "eventSource": source, "eventName": name, "userAgent": agent,
                "eventTime": "2023-07-10T11:42:18Z", "recipientAccountId": account,
                "userIdentity": {"type": kind, "principalId": user, "userName": user},
                "sourceIPAddress": place, "errorMessage": message,
                "requestParameters": {"instanceIds": ids, "resourceId": id, "resourceType": kind}
            });
            validated(cloudtrail::map(&record).unwrap());
        }
    }

    #[test]
    fn an_input_without_records_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let input = Input::File(file.path().to_owned());
        let error = Survey::of(input.open().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), format!("{input} holds no records"));
    }
}
