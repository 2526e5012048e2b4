//! An event as a line of JSON. The shape is a promise: members are added, never changed.

use std::fmt::Write;

use anyhow::{Context, Result};
use prost_types::{Struct, Timestamp as ProtoTime, Value as ProtoValue, value::Kind};
use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::text::is_treacherous;
use crate::{
    domain::timestamp::Timestamp,
    proto::v1::{self, EventRecord},
};

/// Up to here a double holds every integer (RFC 7493, section 2.2).
const LARGEST_INTEGER: f64 = 9_007_199_254_740_992.0;

#[derive(Serialize)]
struct Line<'a> {
    sequence: u64,
    id: &'a str,
    organization_id: &'a str,
    created_at: Option<String>,
    leaf_hash: String,
    action: &'a str,
    version: i32,
    occurred_at: Option<String>,
    actor: Option<Party<'a>>,
    targets: Vec<Party<'a>>,
    context: Option<Place<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
}

#[derive(Serialize)]
struct Party<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
}

#[derive(Serialize)]
struct Place<'a> {
    location: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
}

/// The event on one line, without its end.
pub fn line(record: &EventRecord) -> Result<String> {
    let event = record.event.as_ref().context("the server sent a record without its event")?;
    let actor = event.actor.as_ref().map(|actor| Party {
        id: &actor.id,
        kind: &actor.r#type,
        name: &actor.name,
        metadata: metadata(actor.metadata.as_ref()),
    });
    let target = |target: &'_ v1::Target| metadata(target.metadata.as_ref());
    let targets = event.targets.iter().map(|one| Party {
        id: &one.id,
        kind: &one.r#type,
        name: &one.name,
        metadata: target(one),
    });
    let line = Line {
        sequence: record.sequence,
        id: &record.id,
        organization_id: &record.organization_id,
        created_at: time(record.created_at.as_ref()),
        leaf_hash: hex::encode(&record.leaf_hash),
        action: &event.action,
        version: event.version,
        occurred_at: time(event.occurred_at.as_ref()),
        actor,
        targets: targets.collect(),
        context: event
            .context
            .as_ref()
            .map(|context| Place { location: &context.location, user_agent: &context.user_agent }),
        metadata: metadata(event.metadata.as_ref()),
    };
    Ok(harmless(serde_json::to_string(&line)?))
}

/// The same value, for a terminal that would obey some characters: they stand only within strings, and are
/// written as escapes (RFC 8259, section 7).
fn harmless(json: String) -> String {
    if !json.chars().any(is_treacherous) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + json.len() / 8);
    for character in json.chars() {
        if is_treacherous(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing into a string does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// RFC 3339 with microseconds, in UTC; `None` for what no calendar has.
pub fn time(time: Option<&ProtoTime>) -> Option<String> {
    let time = time?;
    Timestamp::from_seconds_and_nanos(time.seconds, time.nanos).map(|time| time.to_string())
}

fn metadata(object: Option<&Struct>) -> Option<Value> {
    object.filter(|object| !object.fields.is_empty()).map(value_of_struct)
}

fn value_of_struct(object: &Struct) -> Value {
    let members = object.fields.iter().map(|(name, value)| (name.clone(), value_of(value)));
    Value::Object(members.collect::<Map<_, _>>())
}

fn value_of(value: &ProtoValue) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::NumberValue(number)) => number_of(*number),
        Some(Kind::StructValue(object)) => value_of_struct(object),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(value_of).collect()),
    }
}

/// A whole number is written as one: 12, not 12.0.
fn number_of(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= LARGEST_INTEGER {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within 2^53")]
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_nothing_to_obey() {
        let text = "caf\u{e9} \u{9b}31m \u{202e}txt \u{7f}";
        let written = harmless(serde_json::to_string(text).unwrap());
        assert_eq!(written, "\"caf\u{e9} \\u009b31m \\u202etxt \\u007f\"");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }
}
