//! The Common Event Format, version 0 (ArcSight, "Implementing ArcSight Common Event Format",
//! revision 26): `CEF:0|vendor|product|version|class|name|severity|key=value key=value`.
//!
//! | key | what |
//! | --- | --- |
//! | class, name, `act` | the action; `act` only while it is not longer than that field may be |
//! | `rt`, `end` | when the service received it, when it happened: milliseconds since the epoch |
//! | `externalId` | id of the event |
//! | `suid`, `suser` | id and name of the actor; without a name the id twice |
//! | `src`, `c6a2`, `cs2` | the location: an IPv4 address, an IPv6 address, or other text |
//! | `requestClientApplication` | the user agent |
//! | `outcome` | the text `outcome` of the event's metadata |
//! | `cs1`, `cs3` | kind of the actor, organization |
//! | `cn1`, `cn2` | position in the log, version of the action's schema |
//! | `cs4`, `cs5`, `cs6` | targets, metadata of the event, metadata of the actor: JSON |

use std::{io::Write, net::IpAddr};

use super::{OutgoingEvent, outcome, text, utf8};

/// Between "low" and "medium": an audit event says that something was done, not that it is bad.
const SEVERITY: u8 = 3;
/// Longest texts, in characters, by the format's dictionary.
const ACTION_CHARS: usize = 63;
const USER_CHARS: usize = 1_023;
const CUSTOM_CHARS: usize = 4_000;

/// Appends an event as one line without a line break. An error names the first text that is longer
/// than the format allows: a receiver would cut it.
pub fn write_event(event: &OutgoingEvent<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    let parts = event.event;
    let action = text(parts.action)?;
    out.extend_from_slice(
        concat!("CEF:0|audit-logs|audit-logs|", env!("CARGO_PKG_VERSION")).as_bytes(),
    );
    for _ in ["class", "name"] {
        out.push(b'|');
        header(&action, out);
    }
    out.extend_from_slice(format!("|{SEVERITY}|").as_bytes());
    let mut extension = Extension { out, longest: CUSTOM_CHARS };
    extension.number("rt", event.created_at.micros().div_euclid(1_000));
    extension.number("end", event.occurred_at.micros().div_euclid(1_000));
    extension.text("externalId", &text(parts.id)?)?;
    if action.chars().count() <= ACTION_CHARS {
        extension.text("act", &action)?;
    }
    extension.longest = USER_CHARS;
    let actor = text(parts.actor_id)?;
    extension.text("suid", &actor)?;
    extension.text("suser", &parts.actor_name.map_or(Ok(actor), text)?)?;
    if let Some(user_agent) = parts.user_agent {
        extension.text("requestClientApplication", &text(user_agent)?)?;
    }
    if let Some(outcome) = outcome(parts.metadata) {
        extension.longest = ACTION_CHARS;
        extension.text("outcome", &outcome)?;
    }
    extension.longest = CUSTOM_CHARS;
    extension.location(&text(parts.location)?)?;
    extension.custom("cs1", "actorType", &text(parts.actor_kind)?)?;
    extension.custom("cs3", "organization", &text(parts.organization_id)?)?;
    extension.custom("cs4", "targets", utf8(parts.targets)?)?;
    for (key, label, object) in
        [("cs5", "metadata", parts.metadata), ("cs6", "actorMetadata", parts.actor_metadata)]
    {
        if !matches!(object, b"" | b"{}") {
            extension.custom(key, label, utf8(object)?)?;
        }
    }
    extension.custom("cn1", "sequence", &event.sequence.to_string())?;
    extension.custom("cn2", "schemaVersion", utf8(parts.version)?)
}

/// A field of the header: a pipe and a backslash are escaped. It has no way to say a line break,
/// which becomes a space (`act` has it as it was).
fn header(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'|' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' | b'\r' => out.push(b' '),
            _ => out.push(byte),
        }
    }
}

struct Extension<'a> {
    out: &'a mut Vec<u8>,
    longest: usize,
}

impl Extension<'_> {
    fn key(&mut self, key: &str) {
        if self.out.last() != Some(&b'|') {
            self.out.push(b' ');
        }
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'=');
    }

    fn number(&mut self, key: &str, value: i64) {
        self.key(key);
        // Writing to memory does not fail.
        let _ = write!(self.out, "{value}");
    }

    /// A value: a backslash, an equals sign and line breaks are escaped.
    fn text(&mut self, key: &str, value: &str) -> Result<(), String> {
        if value.chars().count() > self.longest {
            let longest = self.longest;
            return Err(format!("{key} is longer than the {longest} characters that CEF allows"));
        }
        self.key(key);
        for byte in value.bytes() {
            match byte {
                b'\\' | b'=' => self.out.extend_from_slice(&[b'\\', byte]),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                _ => self.out.push(byte),
            }
        }
        Ok(())
    }

    /// A value whose meaning its label tells.
    fn custom(&mut self, key: &str, label: &str, value: &str) -> Result<(), String> {
        self.text(key, value)?;
        self.text(&format!("{key}Label"), label)
    }

    fn location(&mut self, location: &str) -> Result<(), String> {
        match location.parse() {
            Ok(IpAddr::V4(_)) => self.text("src", location),
            Ok(IpAddr::V6(_)) => self.custom("c6a2", "Source IPv6 Address", location),
            Err(_) => self.custom("cs2", "location", location),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::forward::payload::fixture::{canonical, example, outgoing};

    fn written(event: Value) -> Result<String, String> {
        let mut out = Vec::new();
        write_event(&outgoing(&canonical(event)), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn with(pointer: &str, value: Value) -> Value {
        let mut event = example();
        *event.pointer_mut(pointer).unwrap() = value;
        event
    }

    #[test]
    fn an_event_is_one_line() {
        let expected = concat!(
            "CEF:0|audit-logs|audit-logs|",
            env!("CARGO_PKG_VERSION"),
            "|report.downloaded|report.downloaded|3|rt=1793607331007 end=1793607330250 ",
            "externalId=01JSB3C4D5E6F7G8H9J0K1M2N3 act=report.downloaded suid=usr_88 suser=usr_88 ",
            "requestClientApplication=Firefox/131 src=203.0.113.9 cs1=user cs1Label=actorType ",
            "cs3=org_01JQ4X7Z6E5M2K9T8V3B1N0CDA cs3Label=organization ",
            r#"cs4=[{"id":"rep_17","type":"report"}] cs4Label=targets "#,
            "cn1=7 cn1Label=sequence cn2=1 cn2Label=schemaVersion",
        );
        assert_eq!(written(example()).unwrap(), expected);
    }

    #[test]
    fn what_would_end_a_field_is_escaped() {
        let mut event = with("/action", json!("a|b\\c=d\n|e"));
        event["actor"]["name"] = json!("Ann=1 | \\ \r\n Bob");
        event["metadata"] = json!({"outcome": "success", "q": "x=y\n"});
        let line = written(event).unwrap();
        assert!(line.contains(r"|a\|b\\c=d \|e|a\|b\\c=d \|e|3|rt="), "{line}");
        assert!(line.contains(r" act=a|b\\c\=d\n|e suid="), "{line}");
        assert!(line.contains(r" suser=Ann\=1 | \\ \r\n Bob requestClient"), "{line}");
        assert!(line.contains(" outcome=success "), "{line}");
        assert!(line.contains(r#" cs5={"outcome":"success","q":"x\=y\\n"} cs5Label=metadata"#));
        assert!(!line.contains(['\n', '\r']), "{line}");
    }

    #[test]
    fn a_location_is_an_address_or_a_text() {
        let v6 = written(with("/context/location", json!("2001:db8::1"))).unwrap();
        assert!(v6.contains(" c6a2=2001:db8::1 c6a2Label=Source IPv6 Address "), "{v6}");
        let other = written(with("/context/location", json!("Zürich"))).unwrap();
        assert!(other.contains(" cs2=Zürich cs2Label=location "), "{other}");
    }

    #[test]
    fn what_a_receiver_would_cut_is_refused() {
        let long_action = "a".repeat(ACTION_CHARS + 1);
        assert!(!written(with("/action", json!(long_action))).unwrap().contains(" act="));
        let id = written(with("/actor/id", json!("ä".repeat(1_023))));
        assert!(id.unwrap().contains("suid=ä"));
        let error = written(with("/actor/id", json!("ä".repeat(1_024)))).unwrap_err();
        assert_eq!(error, "suid is longer than the 1023 characters that CEF allows");
    }
}
