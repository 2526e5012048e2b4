//! Between protobuf's well-known types and ours.

use std::collections::BTreeMap;

use prost_types::{ListValue, Struct, Value as ProtoValue, value::Kind};
use serde_json::{Map, Number, Value};

use crate::domain::{event_draft::TimeDraft, timestamp::Timestamp};

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

/// A double as JSON has it: an integer where it is one, so that a JSON Schema's `minLength: 3` does
/// not become 3.0. What JSON cannot hold (NaN, infinity) becomes null, which no rule accepts.
fn from_double(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53")]
        return Value::Number(Number::from(number as i64));
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
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

    #[test]
    fn numbers_become_what_json_has() {
        assert_eq!(from_double(3.0), json!(3));
        assert_eq!(from_double(-0.0), json!(0));
        assert_eq!(from_double(9_007_199_254_740_992.0), json!(9_007_199_254_740_992_i64));
        assert_eq!(from_double(1e300), json!(1e300));
        assert_eq!(from_double(f64::NAN), Value::Null);
        assert_eq!(from_double(f64::INFINITY), Value::Null);
    }
}
