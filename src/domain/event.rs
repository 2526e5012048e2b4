//! Events and their canonical form.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    ids::{EventId, OrganizationId},
    timestamp::Timestamp,
};

/// Further facts: strings, numbers and booleans by key.
pub type Metadata = Map<String, Value>;

/// Who did it, or what it was done to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Party {
    /// Id in the caller's system.
    pub id: String,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Kind, such as `user` or `document`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Further facts.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Metadata,
}

/// From where it was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// IP address or any other text.
    pub location: String,
    /// The client's user agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// What happened, within the general limits. Made by `EventDraft::validate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Name of the action.
    pub action: String,
    /// Version of the action's schema, from 1.
    pub version: u32,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Who did it.
    pub actor: Party,
    /// What it was done to.
    pub targets: Vec<Party>,
    /// From where.
    pub context: Context,
    /// Further facts.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Metadata,
}

/// An event as the log holds it; its RFC 8785 form is what is hashed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedEvent {
    /// Id of the event.
    pub id: EventId,
    /// Whose log holds it.
    pub organization_id: OrganizationId,
    /// When the service received it.
    pub created_at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// An event with its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    /// Position in the organization's log, from 0.
    pub sequence: u64,
    /// The event.
    pub logged: LoggedEvent,
    /// Hash of its leaf.
    pub leaf_hash: [u8; 32],
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::canonical::canonical_event;

    fn sample() -> LoggedEvent {
        let metadata = |value: Value| value.as_object().cloned().unwrap_or_default();
        LoggedEvent {
            id: EventId::from_stored("audit_event_01JQ4X7Z6E5M2K9T8V3B1N0CDA"),
            organization_id: OrganizationId::from_stored("org_1"),
            created_at: Timestamp::from_micros(1_700_000_000_000_001),
            event: Event {
                action: "report.downloaded".into(),
                version: 2,
                occurred_at: Timestamp::from_micros(1_600_000_000_250_000),
                actor: Party {
                    id: "usr_88".into(),
                    name: None,
                    kind: "user".into(),
                    metadata: metadata(json!({"b": 1.5, "a": 12.0, "A": true, "_": "é\u{7}\""})),
                },
                targets: vec![],
                context: Context { location: "203.0.113.9".into(), user_agent: None },
                metadata: Metadata::new(),
            },
        }
    }

    /// The bytes that auditors' own verifiers hash: written out by hand from RFC 8785 and the
    /// design's list of members. Must never change.
    const GOLDEN: &str = concat!(
        r#"{"action":"report.downloaded","actor":{"id":"usr_88","metadata":{"A":true,"#,
        r#""_":"é\u0007\"","a":12,"b":1.5},"type":"user"},"context":{"location":"203.0.113.9"},"#,
        r#""created_at":"2023-11-14T22:13:20.000001Z","id":"audit_event_01JQ4X7Z6E5M2K9T8V3B1N0CDA","#,
        r#""occurred_at":"2020-09-13T12:26:40.250000Z","organization_id":"org_1","targets":[],"#,
        r#""version":2}"#
    );

    #[test]
    fn canonical_form_is_the_documented_one() {
        let canonical = canonical_event(&sample()).unwrap();
        assert_eq!(String::from_utf8(canonical).unwrap(), GOLDEN);
    }

    #[test]
    fn reading_back_and_writing_again_gives_the_same_bytes() {
        let read: LoggedEvent = serde_json::from_str(GOLDEN).unwrap();
        assert_eq!(String::from_utf8(canonical_event(&read).unwrap()).unwrap(), GOLDEN);
    }
}
