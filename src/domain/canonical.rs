//! RFC 8785 (JCS) JSON: members sorted, no white space, numbers as ECMAScript writes them.

use std::io;

use serde::{
    Serialize, Serializer,
    ser::{Error as _, SerializeStruct},
};
use serde_json::{
    Error,
    ser::{Formatter, Serializer as JsonSerializer},
};

use super::event::{Event, LoggedEvent, Metadata, Party};

/// The canonical form of any value, in the general way: each object is collected and sorted.
pub fn canonical_json<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json_canonicalizer::to_vec(value)
}

/// Room for an event of common size.
const COMMON_BYTES: usize = 1_024;

/// The canonical form of an event as the log holds it, which is what is hashed: RFC 8785 JSON of
/// `{id, organization_id, action, version, occurred_at, created_at, actor, targets, context,
/// metadata}`, absent optionals omitted.
///
/// Every event that is recorded comes through here, so the members are written in their order
/// instead of being collected and sorted. Names of metadata are ASCII and their maps are sorted by
/// bytes, which is RFC 8785's order for them.
pub fn canonical_event(logged: &LoggedEvent) -> Result<Vec<u8>, Error> {
    written(&Members { event: &logged.event, logged: Some(logged) })
}

/// The canonical form of an event as it was sent.
pub fn canonical_sent_event(event: &Event) -> Result<Vec<u8>, Error> {
    written(&Members { event, logged: None })
}

fn written(members: &Members<'_>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(COMMON_BYTES);
    members.serialize(&mut JsonSerializer::with_formatter(&mut bytes, EcmaScriptNumbers))?;
    Ok(bytes)
}

/// Writes doubles as ECMAScript does; the rest of JSON's compact form is RFC 8785's already.
struct EcmaScriptNumbers;

impl Formatter for EcmaScriptNumbers {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let mut buffer = ryu_js::Buffer::new();
        writer.write_all(buffer.format_finite(value).as_bytes())
    }
}

/// The members of an event in the order of their names.
struct Members<'a> {
    event: &'a Event,
    /// Adds what the log knows.
    logged: Option<&'a LoggedEvent>,
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { event, logged } = self;
        let mut object = serializer.serialize_struct("Event", 10)?;
        object.serialize_field("action", &event.action)?;
        object.serialize_field("actor", &PartyMembers(&event.actor))?;
        object.serialize_field("context", &event.context)?;
        if let Some(logged) = logged {
            object.serialize_field("created_at", &logged.created_at)?;
            object.serialize_field("id", &logged.id)?;
        }
        metadata(&mut object, &event.metadata)?;
        object.serialize_field("occurred_at", &event.occurred_at)?;
        if let Some(logged) = logged {
            object.serialize_field("organization_id", &logged.organization_id)?;
        }
        object.serialize_field("targets", &Parties(&event.targets))?;
        object.serialize_field("version", &event.version)?;
        object.end()
    }
}

struct Parties<'a>(&'a [Party]);

impl Serialize for Parties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(PartyMembers))
    }
}

struct PartyMembers<'a>(&'a Party);

impl Serialize for PartyMembers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let party = self.0;
        let mut object = serializer.serialize_struct("Party", 4)?;
        object.serialize_field("id", &party.id)?;
        metadata(&mut object, &party.metadata)?;
        if let Some(name) = &party.name {
            object.serialize_field("name", name)?;
        }
        object.serialize_field("type", &party.kind)?;
        object.end()
    }
}

fn metadata<O: SerializeStruct>(object: &mut O, metadata: &Metadata) -> Result<(), O::Error> {
    if metadata.is_empty() {
        return Ok(());
    }
    if !metadata.keys().all(|key| key.is_ascii()) {
        return Err(O::Error::custom("a name of metadata is not ASCII"));
    }
    object.serialize_field("metadata", metadata)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, option, prelude::*};
    use serde_json::{Number, Value};

    use super::*;
    use crate::domain::{
        event::Context,
        ids::{EventId, OrganizationId},
        timestamp::Timestamp,
    };

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            "\\PC{0,20}".prop_map(Value::String),
            "[\\x00-\\x7f]{0,20}".prop_map(Value::String),
            (-(1_i64 << 53)..=(1 << 53)).prop_map(|number| Value::Number(number.into())),
            any::<f64>().prop_filter_map("finite", |n| Number::from_f64(n).map(Value::Number)),
        ]
    }

    fn some_metadata() -> impl Strategy<Value = Metadata> {
        btree_map("[a-zA-Z0-9_-]{1,10}", scalar(), 0..6)
            .prop_map(|entries| entries.into_iter().collect())
    }

    fn party() -> impl Strategy<Value = Party> {
        (any::<String>(), option::of(any::<String>()), any::<String>(), some_metadata())
            .prop_map(|(id, name, kind, metadata)| Party { id, name, kind, metadata })
    }

    fn event() -> impl Strategy<Value = Event> {
        let context = (any::<String>(), option::of(any::<String>()))
            .prop_map(|(location, user_agent)| Context { location, user_agent });
        let time = (0_i64..4_000_000_000_000_000).prop_map(Timestamp::from_micros);
        let targets = prop::collection::vec(party(), 0..4);
        (any::<String>(), 1_u32..1_000, time, party(), targets, context, some_metadata()).prop_map(
            |(action, version, occurred_at, actor, targets, context, metadata)| Event {
                action,
                version,
                occurred_at,
                actor,
                targets,
                context,
                metadata,
            },
        )
    }

    proptest! {
        #[test]
        fn the_written_form_is_that_of_the_general_way(event in event()) {
            prop_assert_eq!(
                String::from_utf8(canonical_sent_event(&event).unwrap()).unwrap(),
                String::from_utf8(canonical_json(&event).unwrap()).unwrap()
            );
            let logged = LoggedEvent {
                id: EventId::from_stored("audit_event_01JQ4X7Z6E5M2K9T8V3B1N0CDA"),
                organization_id: OrganizationId::from_stored("org_1"),
                created_at: Timestamp::from_micros(1_700_000_000_000_001),
                event,
            };
            prop_assert_eq!(
                String::from_utf8(canonical_event(&logged).unwrap()).unwrap(),
                String::from_utf8(canonical_json(&logged).unwrap()).unwrap()
            );
        }
    }
}
