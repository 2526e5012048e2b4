//! The forms in which events are sent.

pub mod cef;
mod ocsf;
mod workos;

use std::{borrow::Cow, str};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::OutgoingEvent;
use crate::domain::{canonical_read::JsonText, log_stream::PayloadForm, timestamp::Timestamp};

/// Appends an event in that form, as one JSON object without line breaks. An error is why it cannot be
/// written.
pub fn write_event(
    form: PayloadForm,
    event: &OutgoingEvent<'_>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    match form {
        PayloadForm::WorkOs => {
            workos::write(event, out);
            Ok(())
        }
        PayloadForm::Ocsf => ocsf::write(event, out),
    }
}

/// What a JSON string of an event means. An error is why that cannot be told.
pub fn text(json: JsonText<'_>) -> Result<Cow<'_, str>, String> {
    match json.decoded().ok_or_else(not_text)? {
        Cow::Borrowed(bytes) => utf8(bytes).map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| not_text()),
    }
}

/// JSON of an event as text. An error is why it is none.
fn utf8(bytes: &[u8]) -> Result<&str, String> {
    str::from_utf8(bytes).map_err(|_| not_text())
}

fn not_text() -> String {
    "the event is not UTF-8".to_owned()
}

/// The text `outcome` of an object of metadata, if it has one.
pub fn outcome(metadata: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Outcome<'a> {
        #[serde(borrow)]
        outcome: Cow<'a, str>,
    }
    let found: Outcome<'_> = serde_json::from_slice(metadata).ok()?;
    Some(found.outcome)
}

/// Twelve lower-case letters and digits that tell events of one instant apart: the same for an event
/// each time it is delivered.
pub fn key_suffix(event_id: &str) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let hash: [u8; 32] = Sha256::digest(event_id).into();
    let mut rest = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let mut text = String::with_capacity(12);
    for _ in 0..12 {
        let digit = usize::try_from(rest % 36).unwrap_or_default();
        text.push(DIGITS.get(digit).copied().unwrap_or(b'0').into());
        rest /= 36;
    }
    text
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`, finer digits cut off.
pub fn rfc3339_millis(instant: Timestamp) -> String {
    let mut text = instant.to_string();
    // Of the six digits and the Z, three digits stay.
    text.truncate(text.len().saturating_sub(4));
    text.push('Z');
    text
}

/// What tests send.
#[cfg(test)]
pub(super) mod fixture {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        canonical::canonical_event,
        canonical_read::CanonicalEvent,
        event::LoggedEvent,
        ids::{EventId, OrganizationId},
    };

    /// When the event of the fact sheet was received.
    pub const RECEIVED: &str = "2026-11-02T08:15:31.007999Z";

    /// The event of fact sheet 9.1.
    pub fn example() -> Value {
        json!({
            "action": "report.downloaded", "version": 1,
            "occurred_at": "2026-11-02T08:15:30.250Z",
            "actor": {"id": "usr_88", "type": "user", "metadata": {}},
            "targets": [{"id": "rep_17", "type": "report", "metadata": {}}],
            "context": {"location": "203.0.113.9", "user_agent": "Firefox/131"},
            "metadata": {},
        })
    }

    /// The canonical bytes of an event with id `01JSB3C4D5E6F7G8H9J0K1M2N3`.
    pub fn canonical(event: Value) -> Vec<u8> {
        canonical_event(&LoggedEvent {
            id: EventId::from_stored("01JSB3C4D5E6F7G8H9J0K1M2N3"),
            organization_id: OrganizationId::from_stored("org_01JQ4X7Z6E5M2K9T8V3B1N0CDA"),
            created_at: Timestamp::parse_rfc3339(RECEIVED).unwrap(),
            event: serde_json::from_value(event).unwrap(),
        })
        .unwrap()
    }

    /// The event of these bytes, the seventh of its log.
    pub fn outgoing(canonical: &[u8]) -> OutgoingEvent<'_> {
        let event = CanonicalEvent::read(canonical).unwrap();
        let occurred_at = std::str::from_utf8(event.occurred_at.plain().unwrap()).unwrap();
        OutgoingEvent {
            sequence: 7,
            event,
            occurred_at: Timestamp::parse_rfc3339(occurred_at).unwrap(),
            created_at: Timestamp::parse_rfc3339(RECEIVED).unwrap(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_is_stable() {
        let suffix = key_suffix("audit_event_01JSB3C4D5E6F7G8H9J0K1M2N3");
        assert_eq!(suffix, key_suffix("audit_event_01JSB3C4D5E6F7G8H9J0K1M2N3"));
        assert_ne!(suffix, key_suffix("audit_event_01JSB3C4D5E6F7G8H9J0K1M2N4"));
        assert_eq!(suffix.len(), 12);
        assert!(suffix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        // Names of files that were delivered must not change with a version of the service.
        assert_eq!(key_suffix(""), "gt33uehk7gng");
    }

    #[test]
    fn milliseconds_are_cut() {
        let instant = Timestamp::parse_rfc3339(fixture::RECEIVED).unwrap();
        assert_eq!(rfc3339_millis(instant), "2026-11-02T08:15:31.007Z");
        let early = Timestamp::parse_rfc3339("1969-12-31T23:59:59.999999Z").unwrap();
        assert_eq!(rfc3339_millis(early), "1969-12-31T23:59:59.999Z");
    }
}
