//! CSV: UTF-8, RFC 4180 with CRLF, one row per event.

use std::io::Write;

use memchr::{memchr, memchr_iter};
use thiserror::Error;

use crate::domain::canonical_read::{CanonicalEvent, JsonText};

/// The columns, in order.
pub const COLUMNS: [&str; 15] = [
    "id",
    "organization_id",
    "action",
    "version",
    "occurred_at",
    "received_at",
    "actor_id",
    "actor_type",
    "actor_name",
    "actor_metadata",
    "targets",
    "context_location",
    "context_user_agent",
    "metadata",
    "sequence",
];

/// The event of a row is not in the form in which events are recorded: it was changed behind the
/// service's back.
#[derive(Debug, Error)]
#[error("the event at sequence {0} cannot be read")]
pub struct Unreadable(u64);

/// Encodes events as CSV into a buffer.
#[derive(Debug, Clone, Copy)]
pub struct CsvEncoder {
    /// Whether a cell that a spreadsheet would run is prefixed with `'`.
    pub formula_guard: bool,
}

impl CsvEncoder {
    /// Appends the header.
    pub fn header(self, out: &mut Vec<u8>) {
        out.extend_from_slice(COLUMNS.join(",").as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// Appends one event, of which `payload` is the canonical form. After an error `out` ends
    /// somewhere within the row.
    pub fn row(self, out: &mut Vec<u8>, sequence: u64, payload: &[u8]) -> Result<(), Unreadable> {
        let event = CanonicalEvent::read(payload);
        event.and_then(|event| self.cells(out, &event)).ok_or(Unreadable(sequence))?;
        number(out, sequence);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// All cells but the last, each with the comma behind it.
    fn cells(self, out: &mut Vec<u8>, event: &CanonicalEvent<'_>) -> Option<()> {
        self.text(out, Some(event.id))?;
        self.text(out, Some(event.organization_id))?;
        self.text(out, Some(event.action))?;
        json(out, event.version);
        self.text(out, Some(event.occurred_at))?;
        self.text(out, Some(event.created_at))?;
        self.text(out, Some(event.actor_id))?;
        self.text(out, Some(event.actor_kind))?;
        self.text(out, event.actor_name)?;
        json(out, event.actor_metadata);
        json(out, event.targets);
        self.text(out, Some(event.location))?;
        self.text(out, event.user_agent)?;
        json(out, event.metadata);
        Some(())
    }

    fn text(self, out: &mut Vec<u8>, text: Option<JsonText<'_>>) -> Option<()> {
        if let Some(text) = text {
            if let Some(plain) = text.plain() {
                self.cell(out, plain, memchr(b',', plain).is_some());
            } else {
                let text = text.decoded()?;
                let is_special = |byte: &u8| matches!(byte, b',' | b'"' | b'\r' | b'\n');
                self.cell(out, &text, text.iter().any(is_special));
            }
        }
        out.push(b',');
        Some(())
    }

    /// A cell, in quotes if it needs them. `'` comes before what a spreadsheet would take for a
    /// formula (OWASP, "CSV Injection").
    fn cell(self, out: &mut Vec<u8>, cell: &[u8], needs_quotes: bool) {
        let first = cell.first().copied().unwrap_or_default();
        let is_formula = matches!(first, b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r');
        let guard: &[u8] = if self.formula_guard && is_formula { b"'" } else { b"" };
        if needs_quotes {
            out.push(b'"');
            out.extend_from_slice(guard);
            with_quotes_doubled(out, cell);
            out.push(b'"');
        } else {
            out.extend_from_slice(guard);
            out.extend_from_slice(cell);
        }
    }
}

/// A number, an object, an array or nothing, with the comma behind it.
fn json(out: &mut Vec<u8>, json: &[u8]) {
    // Only what is not empty can have quotes and commas.
    if json.first().is_some_and(|first| matches!(first, b'{' | b'[')) && json.len() > 2 {
        out.push(b'"');
        with_quotes_doubled(out, json);
        out.push(b'"');
    } else {
        out.extend_from_slice(json);
    }
    out.push(b',');
}

/// The text of a cell within quotes (RFC 4180, section 2, rule 7).
fn with_quotes_doubled(out: &mut Vec<u8>, cell: &[u8]) {
    let mut from = 0;
    for at in memchr_iter(b'"', cell) {
        out.extend_from_slice(&cell[from..=at]);
        from = at;
    }
    out.extend_from_slice(&cell[from..]);
}

fn number(out: &mut Vec<u8>, number: u64) {
    // Writing into a vector does not fail.
    let _ = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::canonical::canonical_json;

    fn payload(actor_name: &str) -> Vec<u8> {
        let event = json!({
            "id": "audit_event_1", "organization_id": "org_1", "action": "a", "version": 1,
            "created_at": "2026-01-01T00:00:00.000000Z",
            "occurred_at": "2026-01-01T00:00:00.000000Z",
            "actor": {"id": "1", "type": "user", "name": actor_name},
            "targets": [{"id": "t,", "type": "x", "metadata": {"k": actor_name}}],
            "context": {"location": "x"}
        });
        canonical_json(&event).unwrap()
    }

    fn encode(actor_name: &str, formula_guard: bool) -> Vec<u8> {
        let (encoder, mut out) = (CsvEncoder { formula_guard }, Vec::new());
        encoder.header(&mut out);
        encoder.row(&mut out, 7, &payload(actor_name)).unwrap();
        out
    }

    #[test]
    fn is_rfc_4180() {
        let text = String::from_utf8(encode("a,\"b\"\nc", true)).unwrap();
        let row = concat!(
            "audit_event_1,org_1,a,1,2026-01-01T00:00:00.000000Z,2026-01-01T00:00:00.000000Z,",
            "1,user,\"a,\"\"b\"\"\nc\",,\"[{\"\"id\"\":\"\"t,\"\",\"\"metadata\"\":{\"\"k\"\":",
            "\"\"a,\\\"\"b\\\"\"\\nc\"\"},\"\"type\"\":\"\"x\"\"}]\",x,,,7\r\n"
        );
        assert_eq!(text, format!("{}\r\n{row}", COLUMNS.join(",")));
    }

    #[test]
    fn formulas_are_guarded_unless_turned_off() {
        for formula in ["=1", "+1", "-1", "@x", "\t=1", "\r=1"] {
            let name = |guard| {
                let csv = encode(formula, guard);
                let mut reader = csv::Reader::from_reader(&*csv);
                reader.records().next().unwrap().unwrap()[8].to_owned()
            };
            assert_eq!(name(true), format!("'{formula}"));
            assert_eq!(name(false), formula);
        }
    }

    proptest! {
        /// Whatever a name holds, a CSV reader gets it back.
        #[test]
        fn reads_back(actor_name in "\\PC*") {
            let csv = encode(&actor_name, false);
            let mut reader = csv::Reader::from_reader(&*csv);
            let record = reader.records().next().unwrap().unwrap();
            prop_assert_eq!(&record[8], &actor_name);
            let targets: serde_json::Value = serde_json::from_str(&record[10]).unwrap();
            prop_assert_eq!(&targets[0]["metadata"]["k"], &actor_name);
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let encoder = CsvEncoder { formula_guard: true };
        let error = encoder.row(&mut Vec::new(), 3, b"{}").unwrap_err();
        assert_eq!(error.to_string(), "the event at sequence 3 cannot be read");
    }
}
