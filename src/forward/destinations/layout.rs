//! How events become objects of a bucket: their names and what is in them.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    domain::{
        ids::{LogStreamId, OrganizationId},
        timestamp::Timestamp,
    },
    forward::{
        EncodedEvent,
        payload::{key_suffix, rfc3339_millis},
    },
};

/// The name of an event's file, the same each time it is delivered: `{time of receipt}_{suffix}.json`,
/// in a folder for its day if `by_day`.
pub fn event_key(event: &EncodedEvent, by_day: bool) -> String {
    let received = rfc3339_millis(event.created_at);
    let day =
        if by_day { format!("{}/", received.get(..10).unwrap_or_default()) } else { String::new() };
    format!("{day}{received}_{}.json", key_suffix(&event.event_id))
}

/// The name of a batch's file without its ending:
/// `org=<organization>/dt=YYYY-MM-DD/hh=HH/<first>-<last sequence>_<hash>`, by when the first event was
/// received. The hash is that of the lines, so a redelivery of the same events has the same name.
pub fn batch_key(organization: &OrganizationId, batch: &[EncodedEvent], lines: &[u8]) -> String {
    let first =
        batch.first().map_or((0, Timestamp::from_micros(0)), |e| (e.sequence, e.created_at));
    let last = batch.last().map_or(0, |event| event.sequence);
    let received = first.1.to_string();
    let (day, hour) = (received.get(..10).unwrap_or_default(), received.get(11..13));
    let hash = hex::encode(&Sha256::digest(lines)[..6]);
    let hour = hour.unwrap_or_default();
    format!("org={organization}/dt={day}/hh={hour}/{:012}-{last:012}_{hash}", first.0)
}

/// What stands beside the file of a batch.
#[derive(Serialize)]
pub struct BatchManifest<'a> {
    log_stream_id: &'a LogStreamId,
    organization_id: &'a OrganizationId,
    /// Name of the file, in the same folder.
    file: &'a str,
    compression: &'static str,
    events: usize,
    first_sequence: u64,
    last_sequence: u64,
    first_event_id: &'a str,
    last_event_id: &'a str,
    /// Size and SHA-256, in hexadecimal, of the file as it is stored.
    bytes: usize,
    sha256: String,
}

impl<'a> BatchManifest<'a> {
    /// Describes the stored bytes of a batch; `None` if it has no events.
    pub fn new(
        (log_stream_id, organization_id): (&'a LogStreamId, &'a OrganizationId),
        key: &'a str,
        batch: &'a [EncodedEvent],
        stored: &[u8],
    ) -> Option<Self> {
        let (first, last) = (batch.first()?, batch.last()?);
        Some(Self {
            log_stream_id,
            organization_id,
            file: key.rsplit('/').next().unwrap_or(key),
            compression: "gzip",
            events: batch.len(),
            first_sequence: first.sequence,
            last_sequence: last.sequence,
            first_event_id: &first.event_id,
            last_event_id: &last.event_id,
            bytes: stored.len(),
            sha256: hex::encode(Sha256::digest(stored)),
        })
    }
}

/// Appends JSON that has no white space with line breaks and two spaces for each level, as WorkOS writes
/// its files. Members keep their order.
pub fn write_pretty(compact: &[u8], out: &mut Vec<u8>) {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + 2 * depth, b' ');
    };
    for (at, &byte) in compact.iter().enumerate() {
        if in_text {
            out.push(byte);
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        let is_empty =
            || matches!((byte, compact.get(at + 1)), (b'{', Some(b'}')) | (b'[', Some(b']')));
        let was_empty =
            || at.checked_sub(1).and_then(|at| compact.get(at)).is_some_and(|b| b"{[".contains(b));
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                depth += 1;
                if !is_empty() {
                    line(out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !was_empty() {
                    line(out, depth);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => {
                in_text = byte == b'"';
                out.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(sequence: u64) -> EncodedEvent {
        EncodedEvent {
            sequence,
            event_id: format!("audit_event_{sequence}"),
            created_at: Timestamp::parse_rfc3339("2026-11-02T08:15:31.007999Z").unwrap(),
            bytes: b"{}".to_vec(),
        }
    }

    #[test]
    fn files_are_named_as_workos_does() {
        let suffix = key_suffix("audit_event_7");
        let name = format!("2026-11-02T08:15:31.007Z_{suffix}.json");
        assert_eq!(event_key(&event(7), true), format!("2026-11-02/{name}"));
        assert_eq!(event_key(&event(7), false), name);
    }

    #[test]
    fn batches_are_named_by_their_range() {
        let organization = OrganizationId::from_stored("org_1");
        let batch = [event(7), event(8), event(9)];
        let key = batch_key(&organization, &batch, b"lines");
        let head = "org=org_1/dt=2026-11-02/hh=08/000000000007-000000000009_";
        assert!(key.starts_with(head) && key.len() == head.len() + 12, "{key}");
        assert_ne!(key, batch_key(&organization, &batch, b"other lines"));
        let ids = (&LogStreamId::from_stored("log_stream_1"), &organization);
        let manifest = BatchManifest::new(ids, "a/b.ndjson.gz", &batch, b"abc").unwrap();
        let manifest = serde_json::to_value(manifest).unwrap();
        assert_eq!(manifest["file"], "b.ndjson.gz");
        assert_eq!((&manifest["events"], &manifest["last_sequence"]), (&json!(3), &json!(9)));
        assert!(manifest["sha256"].as_str().unwrap().starts_with("ba7816bf8f01cfea"));
    }

    #[test]
    fn pretty_is_what_everybody_writes() {
        for value in [
            json!({"a": {"b": [1, 2.5, {"c": "x\\\"{},:[]\\\\"}], "d": {}, "e": []}, "f": null}),
            json!([]),
            json!({}),
            json!([[[]], "a"]),
        ] {
            let mut out = Vec::new();
            write_pretty(&serde_json::to_vec(&value).unwrap(), &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text, serde_json::to_string_pretty(&value).unwrap());
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }
}
