//! What must hold of any bytes that somebody sends or hands over. Each check panics if it does not. The
//! property tests and `fuzz/` share them.

use audit_logs::{
    domain::{
        canonical::{canonical_event, canonical_json},
        canonical_read::CanonicalEvent,
        event::{Event, LoggedEvent, Metadata, Party},
        ids::{EventId, OrganizationId},
        limits,
        page::{event_cursor, parse_event_cursor},
        timestamp::Timestamp,
    },
    export::csv::{COLUMNS, CsvEncoder},
    merkle::{Checkpoint, Note, TileResource, TlogProof},
    proto::v1::CreateEventRequest,
    transport::grpc::new_event,
    verify::receipt,
};
use prost::Message;
use serde_json::Value;

/// The clock of the checks: 2026-06-01T00:00:00Z.
pub const NOW: i64 = 1_780_272_000_000_000;

/// A message of CreateEvent: it is refused, or its event keeps the limits and can be recorded, read and
/// exported.
pub fn create_event(bytes: &[u8]) {
    let Ok(request) = CreateEventRequest::decode(bytes) else { return };
    let Some(draft) = new_event(request).event else { return };
    if let Ok(event) = draft.validate(Timestamp::from_micros(NOW)) {
        keeps_the_limits(&event);
        let logged = LoggedEvent {
            id: EventId::from_stored("audit_event_1".to_owned()),
            organization_id: OrganizationId::from_stored("org_1".to_owned()),
            created_at: Timestamp::from_micros(NOW),
            event,
        };
        let payload = canonical_event(&logged).unwrap();
        is_canonical(&payload, &logged);
        csv_row(&payload, &logged.event);
    }
}

fn keeps_the_limits(event: &Event) {
    let text = |text: &str, most: usize| {
        assert!(!text.is_empty() && text.chars().count() <= most, "{text:?}");
    };
    let optional = |value: &Option<String>, most: usize| {
        if let Some(value) = value {
            text(value, most);
        }
    };
    let party = |party: &Party| {
        text(&party.id, limits::ID_CHARS);
        text(&party.kind, limits::TYPE_CHARS);
        optional(&party.name, limits::NAME_CHARS);
        metadata_keeps_the_limits(&party.metadata);
    };
    text(&event.action, limits::SHORT_TEXT_CHARS);
    text(&event.context.location, limits::NAME_CHARS);
    optional(&event.context.user_agent, limits::USER_AGENT_CHARS);
    assert!(event.version > 0 && event.targets.len() <= limits::TARGETS);
    party(&event.actor);
    event.targets.iter().for_each(party);
    metadata_keeps_the_limits(&event.metadata);
}

fn metadata_keeps_the_limits(metadata: &Metadata) {
    assert!(metadata.len() <= limits::METADATA_KEYS);
    for (key, value) in metadata {
        assert!((1..=limits::METADATA_KEY_CHARS).contains(&key.chars().count()), "{key:?}");
        match value {
            Value::Bool(_) => {}
            Value::String(text) => {
                assert!(text.chars().count() <= limits::METADATA_VALUE_CHARS, "{text:?}");
            }
            Value::Number(number) => {
                assert!(number.as_f64().unwrap().abs() <= limits::METADATA_NUMBER, "{number}");
            }
            other => panic!("{other} in metadata"),
        }
    }
}

/// RFC 8785: to read it and write it again by a general writer changes nothing. And it is the event.
fn is_canonical(payload: &[u8], logged: &LoggedEvent) {
    let value: Value = serde_json::from_slice(payload).unwrap();
    let again = canonical_json(&value).unwrap();
    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(payload));
    let read: LoggedEvent = serde_json::from_value(value).unwrap();
    let again = canonical_event(&read).unwrap();
    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(payload));
    assert_eq!(read.event.targets.len(), logged.event.targets.len());
}

/// The row of an event is what a strict reader of RFC 4180 takes, and holds the event's texts; with the
/// guard, none that a spreadsheet runs.
fn csv_row(payload: &[u8], event: &Event) {
    for formula_guard in [false, true] {
        let mut out = Vec::new();
        CsvEncoder { formula_guard }.row(&mut out, 7, payload).unwrap();
        let cells = strict_csv(std::str::from_utf8(&out).unwrap());
        assert_eq!(cells.len(), COLUMNS.len());
        let guarded = |text: &str| {
            let runs = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
            if formula_guard && runs { format!("'{text}") } else { text.to_owned() }
        };
        for (column, text) in [
            (2, event.action.as_str()),
            (6, &event.actor.id),
            (7, &event.actor.kind),
            (8, event.actor.name.as_deref().unwrap_or_default()),
            (11, &event.context.location),
            (12, event.context.user_agent.as_deref().unwrap_or_default()),
        ] {
            assert_eq!(cells[column], guarded(text), "{}", COLUMNS[column]);
        }
        assert_eq!(serde_json::from_str::<Value>(&cells[13]).unwrap_or_default(), {
            let metadata = serde_json::to_value(&event.metadata).unwrap();
            if event.metadata.is_empty() { Value::Null } else { metadata }
        });
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&*out);
        let record = reader.records().next().unwrap().unwrap();
        assert!(record.iter().eq(cells.iter().map(String::as_str)));
    }
}

/// The cells of one record, by the grammar of RFC 4180, section 2, and nothing else.
fn strict_csv(record: &str) -> Vec<String> {
    let mut rest = record;
    let mut cells = Vec::new();
    loop {
        let cell;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut end = 0;
            loop {
                end += quoted[end..].find('"').expect("the quotes close");
                if !quoted[end + 1..].starts_with('"') {
                    break;
                }
                end += 2;
            }
            cell = quoted[..end].replace("\"\"", "\"");
            rest = &quoted[end + 1..];
        } else {
            let end = rest.find([',', '"', '\r', '\n']).expect("the record ends");
            cell = rest[..end].to_owned();
            rest = &rest[end..];
        }
        cells.push(cell);
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => break,
        }
    }
    assert_eq!(rest, "\r\n", "of {record:?}");
    cells
}

/// A payload as a row of the database has it, whatever somebody did to it: it is read as an event or not.
pub fn stored_event(bytes: &[u8]) {
    let read = CanonicalEvent::read(bytes);
    let row = CsvEncoder { formula_guard: true }.row(&mut Vec::new(), 7, bytes);
    assert!(read.is_some() || row.is_err());
}

/// A cursor of an organization's list of events: it is refused, or exactly one that was given out.
pub fn cursor(text: &str) {
    let organization = OrganizationId::from_stored("org_1".to_owned());
    if let Some(sequence) = parse_event_cursor(&organization, text) {
        assert_eq!(event_cursor(&organization, sequence), text);
    }
}

/// What a verifier is handed: notes, checkpoints, proofs, receipts, names of tiles. It is refused, or
/// means the same when it is written again.
pub fn evidence(text: &str) {
    if let Ok(note) = Note::parse(text) {
        assert!(text.starts_with(note.text()) && !note.signatures().is_empty());
        // Nobody is trusted.
        assert!(note.verify(&[]).is_err());
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert!(text.starts_with(&checkpoint.to_text()));
    }
    let _ = TlogProof::parse(text);
    let _ = TileResource::parse(text);
    if let Ok(receipts) = receipt::read(text) {
        assert!(!receipts.is_empty());
        for receipt in receipts {
            let _ = receipt.organization();
        }
    }
}
