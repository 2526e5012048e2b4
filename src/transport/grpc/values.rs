//! Between protobuf's well-known types and ours.

use std::collections::BTreeMap;

use prost_types::{ListValue, Struct, Value as ProtoValue, value::Kind};
use serde_json::{Map, Value};

use crate::{
    domain::{event_draft::TimeDraft, timestamp::Timestamp},
    transport::numbers::from_double,
};

/// An instant for the wire.
pub fn to_proto_time(instant: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: instant.seconds(), nanos: instant.subsecond_nanos() }
}

/// An instant as sent, which may be none of the calendar.
pub fn from_proto_time(time: Option<prost_types::Timestamp>) -> TimeDraft {
    match time.map(|time| Timestamp::from_seconds_and_nanos(time.seconds, time.nanos)) {
        None => TimeDraft::Absent,
        Some(None) => TimeDraft::Impossible,
        Some(Some(instant)) => TimeDraft::At(instant),
    }
}

/// An object as sent. prost limits the depth of a message to 100, so this recursion is bounded.
pub fn from_proto_struct(sent: Option<Struct>) -> Map<String, Value> {
    let fields = sent.map(|sent| sent.fields).unwrap_or_default();
    fields.into_iter().map(|(key, value)| (key, from_proto_value(value))).collect()
}

fn from_proto_value(value: ProtoValue) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(number)) => from_double(number),
        Some(Kind::StructValue(object)) => Value::Object(from_proto_struct(Some(object))),
        Some(Kind::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(from_proto_value).collect())
        }
    }
}

/// An object for the wire; absent if empty.
pub fn to_proto_struct(object: Map<String, Value>) -> Option<Struct> {
    (!object.is_empty()).then(|| Struct { fields: to_proto_fields(object) })
}

/// An object for the wire, also when empty.
pub fn to_present_struct(object: Map<String, Value>) -> Struct {
    Struct { fields: to_proto_fields(object) }
}

fn to_proto_fields(object: Map<String, Value>) -> BTreeMap<String, ProtoValue> {
    object.into_iter().map(|(key, value)| (key, to_proto_value(value))).collect()
}

fn to_proto_value(value: Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::String(text) => Kind::StringValue(text),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::Object(object) => Kind::StructValue(to_present_struct(object)),
        Value::Array(values) => {
            Kind::ListValue(ListValue { values: values.into_iter().map(to_proto_value).collect() })
        }
    };
    ProtoValue { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_round_trip() {
        let object = json!({"a": [1, 2.5, null, {"b": true}], "c": "d", "e": -3});
        let object = object.as_object().unwrap().clone();
        assert_eq!(from_proto_struct(to_proto_struct(object.clone())), object);
    }
}
