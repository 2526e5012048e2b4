//! Events as callers send them, and the general limits that every event must keep, whatever its
//! schema (fact sheet on WorkOS audit logs: at most 50 metadata keys, flat scalar values, ...).

use std::fmt::Arguments;

use serde_json::{Map, Value};

use super::{
    event::{Context, Event, Metadata, Party},
    limits,
    timestamp::Timestamp,
    violation::{Reason, Violation, Violations, longer_than},
};

/// An actor or a target as sent; an empty name means absent.
#[derive(Debug, Default, Clone)]
pub struct PartyDraft {
    /// Id in the caller's system.
    pub id: String,
    /// Kind.
    pub kind: String,
    /// Display name.
    pub name: String,
    /// Further facts, of any JSON shape.
    pub metadata: Map<String, Value>,
}

/// A context as sent.
#[derive(Debug, Default, Clone)]
pub struct ContextDraft {
    /// Place of origin.
    pub location: String,
    /// User agent.
    pub user_agent: String,
}

/// A time as sent.
#[derive(Debug, Default, Clone, Copy)]
pub enum TimeDraft {
    /// Not sent.
    #[default]
    Absent,
    /// Sent, but no instant of the calendar.
    Impossible,
    /// An instant.
    At(Timestamp),
}

impl TimeDraft {
    /// The instant, if it was sent and exists; notes at `field` what is wrong otherwise.
    pub fn required(self, field: &str, violations: &mut Violations) -> Option<Timestamp> {
        if matches!(self, Self::Absent) {
            violations.add(field, Reason::Required, format!("{field} is required"));
        }
        self.optional(field, violations)
    }

    /// The instant, if one was sent; notes at `field` if it does not exist.
    pub fn optional(self, field: &str, violations: &mut Violations) -> Option<Timestamp> {
        match self {
            Self::Absent => None,
            Self::At(instant) => Some(instant),
            Self::Impossible => {
                let description = format!(
                    "{field} must be a time between the years 1 and 9999, such as \
                     2026-11-02T08:15:30.250Z"
                );
                violations.add(field, Reason::OutOfRange, description);
                None
            }
        }
    }
}

/// An event as sent.
#[derive(Debug, Default, Clone)]
pub struct EventDraft {
    /// Name of the action.
    pub action: String,
    /// Version of the schema; 0 means absent.
    pub version: i64,
    /// When it happened.
    pub occurred_at: TimeDraft,
    /// Who did it.
    pub actor: Option<PartyDraft>,
    /// What it was done to; `None` if no list was sent, which protobuf cannot tell from an empty one.
    pub targets: Option<Vec<PartyDraft>>,
    /// From where.
    pub context: Option<ContextDraft>,
    /// Further facts.
    pub metadata: Map<String, Value>,
}

/// The version that an event without one is held against.
const DEFAULT_VERSION: u32 = 1;

impl EventDraft {
    /// Holds the event against the general limits. Errors carry paths below `event`.
    pub fn validate(self, now: Timestamp) -> Result<Event, Vec<Violation>> {
        let mut violations = Violations::default();
        check_action_name("event.action", &self.action, &mut violations);
        let version = check_version(self.version, &mut violations);
        let occurred_at = check_occurred_at(self.occurred_at, now, &mut violations);
        if self.actor.is_none() {
            violations.add("event.actor", Reason::Required, "event.actor is required");
        }
        let actor = self
            .actor
            .map(|actor| check_party(format_args!("event.actor"), actor, &mut violations));
        let targets = check_targets(self.targets, &mut violations);
        let context = check_context(self.context, &mut violations);
        let metadata =
            check_metadata(format_args!("event.metadata"), self.metadata, &mut violations);

        let (Some(occurred_at), Some(actor), Some(context)) = (occurred_at, actor, context) else {
            return Err(violations.into_found());
        };
        violations.into_result(Event {
            action: self.action,
            version,
            occurred_at,
            actor,
            targets,
            context,
            metadata,
        })
    }
}

/// Checks the name of an action.
pub fn check_action_name(field: &str, name: &str, violations: &mut Violations) {
    violations.required_text(field, name, limits::SHORT_TEXT_CHARS);
    if name.trim() != name {
        let description = format!("{field} must not start or end with white space");
        violations.add(field, Reason::InvalidCharacters, description);
    }
}

fn check_version(version: i64, violations: &mut Violations) -> u32 {
    if version == 0 {
        return DEFAULT_VERSION;
    }
    u32::try_from(version).unwrap_or_else(|_| {
        violations.add("event.version", Reason::OutOfRange, "event.version must be 1 or more");
        DEFAULT_VERSION
    })
}

fn check_occurred_at(
    sent: TimeDraft,
    now: Timestamp,
    violations: &mut Violations,
) -> Option<Timestamp> {
    const FIELD: &str = "event.occurred_at";
    let instant = sent.required(FIELD, violations)?;
    let latest = now.plus_seconds(limits::FUTURE_DAYS * 86_400);
    if instant < Timestamp::EARLIEST_EVENT || instant > latest {
        let days = limits::FUTURE_DAYS;
        let description = format!("{FIELD} must be between the year 1900 and {days} days from now");
        violations.add(FIELD, Reason::OutOfRange, description);
    }
    Some(instant)
}

fn check_targets(targets: Option<Vec<PartyDraft>>, violations: &mut Violations) -> Vec<Party> {
    let Some(targets) = targets else {
        violations.add("event.targets", Reason::Required, "event.targets is required");
        return Vec::new();
    };
    if targets.len() > limits::TARGETS {
        let description = format!("event.targets must have at most {} entries", limits::TARGETS);
        violations.add("event.targets", Reason::TooMany, description);
        return Vec::new();
    }
    let numbered = targets.into_iter().enumerate();
    let checked = numbered.map(|(index, target)| {
        check_party(format_args!("event.targets[{index}]"), target, violations)
    });
    checked.collect()
}

fn check_party(path: Arguments<'_>, party: PartyDraft, violations: &mut Violations) -> Party {
    violations.required_text(format_args!("{path}.id"), &party.id, limits::ID_CHARS);
    violations.required_text(format_args!("{path}.type"), &party.kind, limits::TYPE_CHARS);
    violations.optional_text(format_args!("{path}.name"), &party.name, limits::NAME_CHARS);
    let metadata = check_metadata(format_args!("{path}.metadata"), party.metadata, violations);
    Party { id: party.id, kind: party.kind, name: non_empty(party.name), metadata }
}

fn check_context(context: Option<ContextDraft>, violations: &mut Violations) -> Option<Context> {
    let Some(context) = context else {
        violations.add("event.context", Reason::Required, "event.context is required");
        return None;
    };
    violations.required_text("event.context.location", &context.location, limits::NAME_CHARS);
    let (user_agent, longest) = (&context.user_agent, limits::USER_AGENT_CHARS);
    violations.optional_text("event.context.user_agent", user_agent, longest);
    let user_agent = non_empty(context.user_agent);
    Some(Context { location: context.location, user_agent })
}

fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Checks one metadata object.
fn check_metadata(
    path: Arguments<'_>,
    metadata: Metadata,
    violations: &mut Violations,
) -> Metadata {
    if metadata.len() > limits::METADATA_KEYS {
        let description = format!("{path} must have at most {} keys", limits::METADATA_KEYS);
        violations.add(path.to_string(), Reason::TooMany, description);
        return metadata;
    }
    for (key, value) in &metadata {
        check_metadata_key(path, key, violations);
        if let Some((reason, wrong)) = wrong_with_value(value) {
            violations.add(format!("{path}.{key}"), reason, format!("{path}.{key} {wrong}"));
        }
    }
    metadata
}

fn check_metadata_key(path: Arguments<'_>, key: &str, violations: &mut Violations) {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if longer_than(key, limits::METADATA_KEY_CHARS) {
        let most = limits::METADATA_KEY_CHARS;
        let start: String = key.chars().take(most).collect();
        let field = format!("{path}.{start}");
        violations.add(
            field,
            Reason::TooLong,
            format!("a key must have at most {most} characters"),
        );
    } else if key.is_empty() || !key.bytes().all(allowed) {
        let description = "a key must match [a-zA-Z0-9_-]{1,40}";
        violations.add(format!("{path}.{key}"), Reason::InvalidCharacters, description);
    }
}

fn wrong_with_value(value: &Value) -> Option<(Reason, String)> {
    let wrong_type = |what: &str| {
        let sentence = format!("must be a string, a number or a boolean, not {what}");
        Some((Reason::InvalidType, sentence))
    };
    match value {
        Value::Bool(_) => None,
        Value::Null => wrong_type("null"),
        Value::Array(_) => wrong_type("a list"),
        Value::Object(_) => wrong_type("an object"),
        Value::String(text) => longer_than(text, limits::METADATA_VALUE_CHARS).then(|| {
            let most = limits::METADATA_VALUE_CHARS;
            (Reason::TooLong, format!("must have at most {most} characters"))
        }),
        Value::Number(number) => {
            let exact = number.as_f64().is_some_and(|n| n.abs() <= limits::METADATA_NUMBER);
            let wide = number.as_i64().is_some_and(|n| n.unsigned_abs() > 1 << 53)
                || number.as_u64().is_some_and(|n| n > 1 << 53);
            (!exact || wide).then(|| {
                let sentence = "must be between -2^53 and 2^53; send larger numbers as strings";
                (Reason::OutOfRange, sentence.to_owned())
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn draft() -> EventDraft {
        EventDraft {
            action: "user.signed_in".into(),
            occurred_at: TimeDraft::At(Timestamp::from_micros(0)),
            actor: Some(PartyDraft { id: "1".into(), kind: "user".into(), ..Default::default() }),
            targets: Some(Vec::new()),
            context: Some(ContextDraft { location: "::1".into(), ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn takes_a_minimal_event_and_fills_the_version() {
        let event = draft().validate(Timestamp::from_micros(0)).unwrap();
        assert_eq!((event.version, event.actor.name), (1, None));
    }

    #[test]
    fn tells_all_that_is_missing_at_once() {
        let found = EventDraft::default().validate(Timestamp::from_micros(0)).unwrap_err();
        let fields: Vec<_> = found.iter().map(|v| (v.field.as_str(), v.reason)).collect();
        let expected = ["action", "occurred_at", "actor", "targets", "context"];
        let expected = expected.map(|member| format!("event.{member}"));
        assert_eq!(fields, expected.each_ref().map(|field| (&**field, Reason::Required)));
    }

    #[test]
    fn numbers_keep_to_what_a_double_holds() {
        for good in [json!(9_007_199_254_740_992_i64), json!(-1.5), json!(0)] {
            assert_eq!(wrong_with_value(&good), None, "{good}");
        }
        for bad in [json!(9_007_199_254_740_993_i64), json!(u64::MAX), json!(1e300)] {
            assert_eq!(wrong_with_value(&bad).unwrap().0, Reason::OutOfRange, "{bad}");
        }
    }
}
