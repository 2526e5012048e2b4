//! Events as WorkOS sends them: `{"id","action","version","occurred_at","actor","targets","context",
//! "metadata"}`, `version` only if it is not 1, `metadata` only if there is any, times in milliseconds.

use super::{OutgoingEvent, rfc3339_millis};
use crate::domain::canonical_read::JsonText;

/// Appends the event. Its members are copied from the canonical form.
pub fn write(event: &OutgoingEvent<'_>, out: &mut Vec<u8>) {
    let logged = &event.event;
    out.reserve(logged.targets.len() + logged.metadata.len() + logged.actor_metadata.len() + 512);
    text(out, "{\"id\":", Some(logged.id));
    text(out, ",\"action\":", Some(logged.action));
    if logged.version != b"1" {
        bytes(out, ",\"version\":", logged.version);
    }
    out.extend_from_slice(b",\"occurred_at\":\"");
    out.extend_from_slice(rfc3339_millis(event.occurred_at).as_bytes());
    text(out, "\",\"actor\":{\"id\":", Some(logged.actor_id));
    bytes(out, ",\"metadata\":", logged.actor_metadata);
    text(out, ",\"name\":", logged.actor_name);
    text(out, ",\"type\":", Some(logged.actor_kind));
    bytes(out, "},\"targets\":", logged.targets);
    text(out, ",\"context\":{\"location\":", Some(logged.location));
    text(out, ",\"user_agent\":", logged.user_agent);
    out.push(b'}');
    bytes(out, ",\"metadata\":", logged.metadata);
    out.push(b'}');
}

fn text(out: &mut Vec<u8>, name: &str, value: Option<JsonText<'_>>) {
    bytes(out, name, value.map_or(b"", JsonText::quoted));
}

/// Appends a name and what it stands for, unless that is nothing.
fn bytes(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    if !value.is_empty() {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::fixture::*, *};

    fn written(event: Value) -> String {
        let mut out = Vec::new();
        write(&outgoing(&canonical(event)), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_example_is_that_of_the_documentation() {
        let expected = concat!(
            r#"{"id":"01JSB3C4D5E6F7G8H9J0K1M2N3","action":"report.downloaded","#,
            r#""occurred_at":"2026-11-02T08:15:30.250Z","actor":{"id":"usr_88","type":"user"},"#,
            r#""targets":[{"id":"rep_17","type":"report"}],"#,
            r#""context":{"location":"203.0.113.9","user_agent":"Firefox/131"}}"#,
        );
        assert_eq!(written(example()), expected);
    }

    #[test]
    fn what_is_there_is_sent() {
        let mut event = example();
        event["version"] = json!(3);
        event["metadata"] = json!({"quote": "\"\\\n", "count": 2.5, "yes": true});
        event["actor"]["name"] = json!("Ann \"A\" Å");
        event["actor"]["metadata"] = json!({"role": "admin"});
        event["context"] = json!({"location": "home"});
        let sent: Value = serde_json::from_str(&written(event.clone())).unwrap();
        assert_eq!(sent["version"], 3);
        assert_eq!(sent["metadata"], event["metadata"]);
        assert_eq!(sent["actor"], event["actor"]);
        assert_eq!(sent["context"], event["context"]);
        assert!(!written(event).contains('\n'));
    }
}
