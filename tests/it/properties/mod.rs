//! Properties of what decodes and encodes, over inputs made up at random. `PROPTEST_CASES` sets how many;
//! `fuzz/` looks further with the same checks.

mod checks;

use audit_logs::proto::v1::{Actor, Context, CreateEventRequest, Event, Target};
use proptest::{collection::vec, option, prelude::*, sample::Index};
use prost::Message;
use prost_types::{Struct, Timestamp, Value, value::Kind};

/// Texts as callers have them, and as spreadsheets, readers and databases do not like them.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z_]{1,8}",
        3 => "[=+@\\-,;\"'\r\n\t |a-z\\\\]{0,6}",
        2 => "\\PC{0,12}",
        1 => ".{0,12}",
        1 => "[x\u{e4}\u{1f600}]{250,260}",
        1 => "[y]{1000,1100}",
    ]
}

fn value() -> impl Strategy<Value = Option<Kind>> {
    let number = prop_oneof![any::<f64>(), (-1e17..1e17), any::<i32>().prop_map(f64::from)];
    option::weighted(
        0.95,
        prop_oneof![
            6 => text().prop_map(Kind::StringValue),
            4 => number.prop_map(Kind::NumberValue),
            2 => any::<bool>().prop_map(Kind::BoolValue),
            1 => Just(Kind::NullValue(0)),
            1 => Just(Kind::StructValue(Struct::default())),
        ],
    )
}

fn metadata() -> impl Strategy<Value = Option<Struct>> {
    let key = prop_oneof![9 => "[a-zA-Z0-9_-]{1,6}", 1 => text()];
    let fields = prop_oneof![
        9 => vec((key, value()), 0..4),
        1 => vec(("[a-z]{2}", value()), 45..55),
    ];
    option::of(fields.prop_map(|fields| Struct {
        fields: fields.into_iter().map(|(key, kind)| (key, Value { kind })).collect(),
    }))
}

prop_compose! {
    fn actor()(id in text(), kind in text(), name in text(), metadata in metadata()) -> Actor {
        Actor { id, r#type: kind, name, metadata }
    }
}

prop_compose! {
    fn target()(id in text(), kind in text(), name in text(), metadata in metadata()) -> Target {
        Target { id, r#type: kind, name, metadata }
    }
}

prop_compose! {
    fn time()(
        seconds in prop_oneof![9 => 0i64..1_800_000_000, 1 => any::<i64>()],
        nanos in prop_oneof![9 => 0..1_000_000_000, 1 => any::<i32>()],
    ) -> Timestamp {
        Timestamp { seconds, nanos }
    }
}

prop_compose! {
    fn request()(
        action in text(),
        version in prop_oneof![Just(0), Just(1), 0..50],
        occurred_at in option::weighted(0.95, time()),
        actor in option::weighted(0.95, actor()),
        targets in vec(target(), 0..4),
        context in option::weighted(0.95, (text(), text())),
        metadata in metadata(),
        receipt: bool,
    ) -> CreateEventRequest {
        let context = context.map(|(location, user_agent)| Context { location, user_agent });
        let event = Event { action, version, occurred_at, actor, targets, context, metadata };
        CreateEventRequest { organization_id: "org_1".into(), event: Some(event), receipt, ..Default::default() }
    }
}

/// Some bytes of a message, changed.
fn damaged(mut bytes: Vec<u8>, damage: Vec<(Index, u8)>) -> Vec<u8> {
    for (place, byte) in damage {
        if !bytes.is_empty() {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
    }
    bytes
}

const NOTE: &str = "log.example/org_1\n2\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\u{2014} log.example AAAAAA==\n";
const STORED: &[u8] = br#"{"action":"a","actor":{"id":"1","type":"user"},"context":{"location":"x"},"created_at":"2026-01-01T00:00:00.000000Z","id":"audit_event_1","occurred_at":"2026-01-01T00:00:00.000000Z","organization_id":"org_1","targets":[],"version":1}"#;

proptest! {
    #[test]
    fn a_message_is_refused_or_becomes_an_event(request in request()) {
        checks::create_event(&request.encode_to_vec());
    }

    #[test]
    fn so_does_a_damaged_one(request in request(), damage in vec((any::<Index>(), any::<u8>()), 1..8)) {
        checks::create_event(&damaged(request.encode_to_vec(), damage));
    }

    #[test]
    fn any_bytes_are_no_reason_to_panic(bytes in vec(any::<u8>(), 0..200)) {
        checks::create_event(&bytes);
        checks::stored_event(&bytes);
    }

    #[test]
    fn a_damaged_row_is_read_or_not(damage in vec((any::<Index>(), any::<u8>()), 0..4)) {
        checks::stored_event(&damaged(STORED.to_vec(), damage));
    }

    #[test]
    fn a_cursor_is_one_that_was_given_out(text in "\\PC{0,40}|[A-Za-z0-9_-]{0,40}") {
        checks::cursor(&text);
    }

    #[test]
    fn evidence_is_refused_or_means_one_thing(
        text in "\\PC{0,60}|[0-9/x.p]{0,20}|(\\PC{0,20}\n){0,6}|\\{\"receipt\":\\{\\PC{0,40}\\}\\}",
        damage in vec((any::<Index>(), any::<u8>()), 0..4),
    ) {
        checks::evidence(&text);
        if let Ok(note) = String::from_utf8(damaged(NOTE.into(), damage)) {
            checks::evidence(&note);
        }
    }
}
