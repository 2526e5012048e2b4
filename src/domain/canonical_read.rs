//! Reading the canonical form of an event where it stands: its members come in one order and without
//! white space, so they are found without building anything.

use std::borrow::Cow;

use memchr::memchr2;

/// A JSON string as it stands in a document, with its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonText<'a> {
    quoted: &'a [u8],
    has_escapes: bool,
}

impl<'a> JsonText<'a> {
    /// The string as it stands, with its quotes.
    pub const fn quoted(self) -> &'a [u8] {
        self.quoted
    }

    /// The text between the quotes if it says what it means, without escapes. Then it has no quote,
    /// no backslash and no control character.
    pub fn plain(self) -> Option<&'a [u8]> {
        (!self.has_escapes).then(|| self.between_quotes())
    }

    /// The text that is meant, as UTF-8. `None` if an escape is none.
    pub fn decoded(self) -> Option<Cow<'a, [u8]>> {
        if let Some(plain) = self.plain() {
            return Some(Cow::Borrowed(plain));
        }
        let text: String = serde_json::from_slice(self.quoted).ok()?;
        Some(Cow::Owned(text.into_bytes()))
    }

    fn between_quotes(self) -> &'a [u8] {
        self.quoted.get(1..self.quoted.len().saturating_sub(1)).unwrap_or_default()
    }
}

/// An event as the log holds it, in parts of its canonical form. JSON that is not a string stands
/// there byte by byte; what was left out is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanonicalEvent<'a> {
    /// Name of the action.
    pub action: JsonText<'a>,
    /// Id of the actor.
    pub actor_id: JsonText<'a>,
    /// Object with further facts about the actor.
    pub actor_metadata: &'a [u8],
    /// Display name of the actor.
    pub actor_name: Option<JsonText<'a>>,
    /// Kind of the actor.
    pub actor_kind: JsonText<'a>,
    /// From where.
    pub location: JsonText<'a>,
    /// With which client.
    pub user_agent: Option<JsonText<'a>>,
    /// When the service received it.
    pub created_at: JsonText<'a>,
    /// Id of the event.
    pub id: JsonText<'a>,
    /// Object with further facts.
    pub metadata: &'a [u8],
    /// When it happened.
    pub occurred_at: JsonText<'a>,
    /// Whose log holds it.
    pub organization_id: JsonText<'a>,
    /// Array of objects.
    pub targets: &'a [u8],
    /// Version of the action's schema.
    pub version: &'a [u8],
}

impl<'a> CanonicalEvent<'a> {
    /// Finds the members. `None` if `bytes` are not what `canonical_event` writes; inside of metadata
    /// and targets only the nesting is looked at.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        rest.skip(b"{\"action\":")?;
        let action = rest.text()?;
        rest.skip(b",\"actor\":{\"id\":")?;
        let actor_id = rest.text()?;
        let actor_metadata = rest.metadata()?;
        let actor_name = if rest.has(b",\"name\":") { Some(rest.text()?) } else { None };
        rest.skip(b",\"type\":")?;
        let actor_kind = rest.text()?;
        rest.skip(b"},\"context\":{\"location\":")?;
        let location = rest.text()?;
        let user_agent = if rest.has(b",\"user_agent\":") { Some(rest.text()?) } else { None };
        rest.skip(b"},\"created_at\":")?;
        let created_at = rest.text()?;
        rest.skip(b",\"id\":")?;
        let id = rest.text()?;
        let metadata = rest.metadata()?;
        rest.skip(b",\"occurred_at\":")?;
        let occurred_at = rest.text()?;
        rest.skip(b",\"organization_id\":")?;
        let organization_id = rest.text()?;
        rest.skip(b",\"targets\":")?;
        let targets = rest.nested(b'[')?;
        rest.skip(b",\"version\":")?;
        let version = rest.digits()?;
        rest.skip(b"}")?;
        rest.0.is_empty().then_some(Self {
            action,
            actor_id,
            actor_metadata,
            actor_name,
            actor_kind,
            location,
            user_agent,
            created_at,
            id,
            metadata,
            occurred_at,
            organization_id,
            targets,
            version,
        })
    }
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn has(&mut self, expected: &[u8]) -> bool {
        self.skip(expected).is_some()
    }

    fn skip(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<JsonText<'a>> {
        if self.0.first() != Some(&b'"') {
            return None;
        }
        let (end, has_escapes) = end_of_text(self.0, 1)?;
        Some(JsonText { quoted: self.take(end)?, has_escapes })
    }

    /// The object `metadata`, or nothing.
    fn metadata(&mut self) -> Option<&'a [u8]> {
        if self.has(b",\"metadata\":") { self.nested(b'{') } else { Some(b"") }
    }

    /// An object or an array, by its brackets.
    fn nested(&mut self, open: u8) -> Option<&'a [u8]> {
        if self.0.first() != Some(&open) {
            return None;
        }
        let (mut depth, mut at) = (0_usize, 0);
        loop {
            match self.0.get(at)? {
                b'"' => {
                    at = end_of_text(self.0, at + 1)?.0;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 {
                return self.take(at);
            }
        }
    }

    fn digits(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 { None } else { self.take(length) }
    }
}

/// Where a string that began before `from` ends, its quote included, and whether it has escapes.
fn end_of_text(bytes: &[u8], mut from: usize) -> Option<(usize, bool)> {
    let mut has_escapes = false;
    loop {
        let at = from + memchr2(b'"', b'\\', bytes.get(from..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some((at + 1, has_escapes));
        }
        has_escapes = true;
        from = at + 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        canonical::canonical_event,
        event::{Context, Event, LoggedEvent, Metadata, Party},
        ids::{EventId, OrganizationId},
        timestamp::Timestamp,
    };

    fn metadata() -> impl Strategy<Value = Metadata> {
        let value = prop_oneof![
            any::<String>().prop_map(Value::String),
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(Value::from),
        ];
        prop::collection::btree_map("[a-z\"{}]{1,5}", value, 0..4)
            .prop_map(|entries| entries.into_iter().collect())
    }

    fn party() -> impl Strategy<Value = Party> {
        (any::<String>(), option::of(any::<String>()), any::<String>(), metadata())
            .prop_map(|(id, name, kind, metadata)| Party { id, name, kind, metadata })
    }

    fn event() -> impl Strategy<Value = LoggedEvent> {
        let context = (any::<String>(), option::of(any::<String>()))
            .prop_map(|(location, user_agent)| Context { location, user_agent });
        let targets = prop::collection::vec(party(), 0..3);
        (any::<String>(), any::<u32>(), party(), targets, context, metadata()).prop_map(
            |(action, version, actor, targets, context, metadata)| LoggedEvent {
                id: EventId::from_stored("audit_event_1"),
                organization_id: OrganizationId::from_stored("org_1"),
                created_at: Timestamp::from_micros(1_700_000_000_000_001),
                event: Event {
                    action,
                    version,
                    occurred_at: Timestamp::from_micros(1_600_000_000_000_001),
                    actor,
                    targets,
                    context,
                    metadata,
                },
            },
        )
    }

    fn decoded(text: JsonText<'_>) -> String {
        String::from_utf8(text.decoded().unwrap().into_owned()).unwrap()
    }

    fn object(bytes: &[u8]) -> Metadata {
        if bytes.is_empty() { Metadata::new() } else { serde_json::from_slice(bytes).unwrap() }
    }

    proptest! {
        #[test]
        fn finds_what_was_written(logged in event()) {
            let bytes = canonical_event(&logged).unwrap();
            let read = CanonicalEvent::read(&bytes).unwrap();
            let event = &logged.event;
            prop_assert_eq!(decoded(read.action), event.action.clone());
            prop_assert_eq!(decoded(read.actor_id), event.actor.id.clone());
            prop_assert_eq!(read.actor_name.map(decoded), event.actor.name.clone());
            prop_assert_eq!(decoded(read.actor_kind), event.actor.kind.clone());
            prop_assert_eq!(object(read.actor_metadata), event.actor.metadata.clone());
            prop_assert_eq!(decoded(read.location), event.context.location.clone());
            prop_assert_eq!(read.user_agent.map(decoded), event.context.user_agent.clone());
            prop_assert_eq!(decoded(read.created_at), logged.created_at.to_string());
            prop_assert_eq!(decoded(read.id), logged.id.to_string());
            prop_assert_eq!(object(read.metadata), event.metadata.clone());
            prop_assert_eq!(decoded(read.occurred_at), event.occurred_at.to_string());
            prop_assert_eq!(decoded(read.organization_id), logged.organization_id.to_string());
            let targets: Vec<Party> = serde_json::from_slice(read.targets).unwrap();
            prop_assert_eq!(targets, event.targets.clone());
            let version = event.version.to_string();
            prop_assert_eq!(read.version, version.as_bytes());
        }

        /// Whatever stands there, it is refused or read, and never a reason to panic.
        #[test]
        fn nothing_panics(logged in event(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = canonical_event(&logged).unwrap();
            let at = cut.index(bytes.len());
            prop_assert!(CanonicalEvent::read(&bytes[..at]).is_none());
            bytes[at] = byte;
            let _ = CanonicalEvent::read(&bytes);
        }
    }

    #[test]
    fn other_json_is_refused() {
        for other in [json!({}), json!([]), json!({"action": "a"}), json!("a")] {
            assert!(CanonicalEvent::read(other.to_string().as_bytes()).is_none());
        }
    }
}
