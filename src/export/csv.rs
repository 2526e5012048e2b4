//! CSV: UTF-8, RFC 4180 with CRLF, one row per event.

use std::borrow::Cow;

use csv::{Terminator, Writer, WriterBuilder};
use thiserror::Error;

use crate::domain::event::{LoggedEvent, Metadata};

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

/// Why a row could not be written.
#[derive(Debug, Error)]
pub enum CsvError {
    /// The payload is no event.
    #[error("the event at sequence {0} cannot be read")]
    Payload(u64, #[source] serde_json::Error),
    /// The encoder failed.
    #[error("the row cannot be encoded")]
    Encoder(#[from] csv::Error),
    /// The encoder's buffer failed.
    #[error("the row cannot be written")]
    Buffer(#[from] std::io::Error),
}

/// Encodes events as CSV into a buffer that is taken from time to time.
pub struct CsvEncoder {
    writer: Writer<Vec<u8>>,
    formula_guard: bool,
}

impl CsvEncoder {
    /// With `formula_guard`, a cell that a spreadsheet would run is prefixed with `'`.
    pub fn new(formula_guard: bool) -> Self {
        Self { writer: writer(Vec::new()), formula_guard }
    }

    /// Writes the header.
    pub fn header(&mut self) -> Result<(), CsvError> {
        Ok(self.writer.write_record(COLUMNS)?)
    }

    /// Writes one event.
    pub fn row(&mut self, sequence: u64, payload: &[u8]) -> Result<(), CsvError> {
        let read: Result<LoggedEvent, _> = serde_json::from_slice(payload);
        let logged = read.map_err(|error| CsvError::Payload(sequence, error))?;
        let json = |metadata: &Metadata| {
            if metadata.is_empty() { Ok(String::new()) } else { serde_json::to_string(metadata) }
        };
        let unreadable = |error| CsvError::Payload(sequence, error);
        let event = &logged.event;
        let cells = [
            logged.id.to_string(),
            logged.organization_id.to_string(),
            event.action.clone(),
            event.version.to_string(),
            event.occurred_at.to_string(),
            logged.created_at.to_string(),
            event.actor.id.clone(),
            event.actor.kind.clone(),
            event.actor.name.clone().unwrap_or_default(),
            json(&event.actor.metadata).map_err(unreadable)?,
            serde_json::to_string(&event.targets).map_err(unreadable)?,
            event.context.location.clone(),
            event.context.user_agent.clone().unwrap_or_default(),
            json(&event.metadata).map_err(unreadable)?,
            sequence.to_string(),
        ];
        for cell in &cells {
            let cell = if self.formula_guard { guarded(cell) } else { Cow::Borrowed(&**cell) };
            self.writer.write_field(&*cell)?;
        }
        Ok(self.writer.write_record(None::<&[u8]>)?)
    }

    /// Takes what was encoded so far.
    pub fn take(&mut self) -> Result<Vec<u8>, CsvError> {
        self.writer.flush()?;
        let full = std::mem::replace(&mut self.writer, writer(Vec::new()));
        full.into_inner().map_err(|error| CsvError::Buffer(error.into_error()))
    }
}

fn writer(buffer: Vec<u8>) -> Writer<Vec<u8>> {
    WriterBuilder::new().terminator(Terminator::CRLF).from_writer(buffer)
}

/// Puts `'` before what a spreadsheet would take for a formula (OWASP, "CSV Injection").
fn guarded(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn payload(actor_name: &str) -> Vec<u8> {
        let event = json!({
            "id": "audit_event_1", "organization_id": "org_1", "action": "a", "version": 1,
            "created_at": "2026-01-01T00:00:00.000000Z",
            "occurred_at": "2026-01-01T00:00:00.000000Z",
            "actor": {"id": "1", "type": "user", "name": actor_name}, "targets": [],
            "context": {"location": "x"}
        });
        serde_json::to_vec(&event).unwrap()
    }

    fn encode(actor_name: &str, guard: bool) -> Vec<u8> {
        let mut encoder = CsvEncoder::new(guard);
        encoder.header().unwrap();
        encoder.row(7, &payload(actor_name)).unwrap();
        encoder.take().unwrap()
    }

    #[test]
    fn is_rfc_4180() {
        let text = String::from_utf8(encode("a,\"b\"\nc", true)).unwrap();
        let row = concat!(
            "audit_event_1,org_1,a,1,2026-01-01T00:00:00.000000Z,2026-01-01T00:00:00.000000Z,",
            "1,user,\"a,\"\"b\"\"\nc\",,[],x,,,7\r\n"
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
        }
    }
}
