//! The metadata of events, actors and targets.

use audit_logs::proto::v1::CreateEventRequest;
use prost_types::{ListValue, Struct, Value, value::Kind};

use super::{
    Row, changed,
    events::{actor, event, read, target},
    invalid, long, refuses, wide,
};
use crate::support::{
    Engine, Refusal, TestServer, builders::Scalar, create_event, metadata, on_every_engine,
    schema_for,
};

on_every_engine!(
    metadata_is_flat_and_small_everywhere,
    metadata_at_its_limits_is_accepted,
    doubles_read_back_bit_by_bit,
    each_wrong_key_is_told,
);

/// 2^53, up to which a double holds every integer.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Where metadata can be.
type Place = fn(&mut CreateEventRequest) -> &mut Option<Struct>;

const PLACES: [(&str, Place); 3] = [
    ("event.metadata", |r| &mut event(r).metadata),
    ("event.actor.metadata", |r| &mut actor(r).metadata),
    ("event.targets[0].metadata", |r| &mut target(r).metadata),
];

/// Puts one value into an object.
fn put(object: &mut Struct, key: &str, value: impl Into<Scalar>) {
    object.fields.extend(metadata(&[(key, value.into())]).fields);
}

fn put_kind(object: &mut Struct, kind: Kind) {
    put(object, "k", Scalar::from(kind));
}

/// An object of that many keys.
fn keys(count: usize) -> Struct {
    let mut object = Struct::default();
    for number in 0..count {
        put(&mut object, &format!("key_{number}"), "v");
    }
    object
}

async fn metadata_is_flat_and_small_everywhere(engine: Engine) {
    let server = TestServer::start(engine).await;
    let client = server.client().await;
    client.clone().create_action_schema(schema_for("doc.read")).await.unwrap();
    client.clone().create_event(create_event("acme", "doc.read")).await.unwrap();
    for (path, place) in PLACES {
        let call = async |object| {
            let mut request = create_event("acme", "doc.read");
            *place(&mut request) = Some(object);
            client.clone().create_event(request).await
        };
        let rows = type_rows(path).into_iter().chain(key_rows(path)).chain(number_rows(path));
        refuses(&server, keys(49), rows, call).await;
    }
}

fn type_rows(path: &str) -> [Row<Struct>; 8] {
    let wrong = || invalid(format!("{path}.k"), "INVALID_TYPE");
    let long_value = || invalid(format!("{path}.k"), "TOO_LONG");
    [
        ("null", |o| put_kind(o, Kind::NullValue(0)), wrong()),
        ("no value", |o| _ = o.fields.insert("k".into(), Value::default()), wrong()),
        ("an object", |o| put_kind(o, Kind::StructValue(keys(1))), wrong()),
        ("an empty object", |o| put_kind(o, Kind::StructValue(Struct::default())), wrong()),
        (
            "a list",
            |o| put_kind(o, Kind::ListValue(ListValue { values: vec![Value::default()] })),
            wrong(),
        ),
        ("an empty list", |o| put_kind(o, Kind::ListValue(ListValue::default())), wrong()),
        ("501 characters", |o| put(o, "k", &*long(501)), long_value()),
        ("501 wide characters", |o| put(o, "k", &*wide(501)), long_value()),
    ]
}

fn key_rows(path: &str) -> [Row<Struct>; 9] {
    let wrong = |key: &str| invalid(format!("{path}.{key}"), "INVALID_CHARACTERS");
    [
        ("51 keys", |o| o.fields.extend(keys(51).fields), invalid(path, "TOO_MANY")),
        (
            "a key of 41 characters",
            |o| put(o, &long(41), true),
            invalid(format!("{path}.{}", long(40)), "TOO_LONG"),
        ),
        ("an empty key", |o| put(o, "", true), wrong("")),
        ("a space in a key", |o| put(o, "a b", true), wrong("a b")),
        ("a dot in a key", |o| put(o, "a.b", true), wrong("a.b")),
        ("a dollar in a key", |o| put(o, "$ref", true), wrong("$ref")),
        ("a line break in a key", |o| put(o, "a\n", true), wrong("a\n")),
        ("a NUL in a key", |o| put(o, "\0", true), wrong("\0")),
        ("a key that is not ASCII", |o| put(o, "gr\u{f6}\u{df}e", true), wrong("gr\u{f6}\u{df}e")),
    ]
}

fn number_rows(path: &str) -> [Row<Struct>; 7] {
    let wrong = |violation| invalid(format!("{path}.k"), violation);
    [
        ("not a number", |o| put(o, "k", f64::NAN), wrong("INVALID_TYPE")),
        ("infinity", |o| put(o, "k", f64::INFINITY), wrong("INVALID_TYPE")),
        ("negative infinity", |o| put(o, "k", f64::NEG_INFINITY), wrong("INVALID_TYPE")),
        ("2^53 + 2", |o| put(o, "k", EXACT + 2.0), wrong("OUT_OF_RANGE")),
        ("-2^53 - 2", |o| put(o, "k", -EXACT - 2.0), wrong("OUT_OF_RANGE")),
        ("1e300", |o| put(o, "k", 1e300), wrong("OUT_OF_RANGE")),
        ("the greatest double", |o| put(o, "k", f64::MAX), wrong("OUT_OF_RANGE")),
    ]
}

async fn metadata_at_its_limits_is_accepted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut object = keys(38);
    put(&mut object, &"aZ09_-".repeat(7)[..40], true);
    put(&mut object, "0", false);
    put(&mut object, "-", &*long(500));
    put(&mut object, "_", &*wide(500));
    put(&mut object, "empty", "");
    put(&mut object, "controls", "\0\u{1f}\r\n\u{7f}\"\\\u{ffff}\u{2028}");
    put(&mut object, "most", EXACT);
    put(&mut object, "least", -EXACT);
    put(&mut object, "half", 0.5);
    put(&mut object, "smallest", 5e-324);
    put(&mut object, "zero", 0.0);
    put(&mut object, "true", "true");
    assert_eq!(object.fields.len(), 50);
    for (path, place) in PLACES {
        let request = changed(&create_event("acme", "doc.read"), |r| {
            *place(r) = Some(object.clone());
        });
        let created = client.create_event(request.clone()).await.unwrap().into_inner();
        let mut read = CreateEventRequest {
            event: Some(read(&server, created.event_id).await),
            ..CreateEventRequest::default()
        };
        assert_eq!(place(&mut read).as_ref(), Some(&object), "{path}");
    }
    // An empty object is none.
    let request = changed(&create_event("acme", "doc.read"), |r| {
        event(r).metadata = Some(Struct::default());
    });
    let created = client.create_event(request).await.unwrap().into_inner();
    assert_eq!(read(&server, created.event_id).await.metadata, None);
}

async fn doubles_read_back_bit_by_bit(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..4 {
        let mut object = Struct::default();
        while object.fields.len() < 50 {
            // Doubles of all sizes: a fixed pseudo-random sequence (Knuth, MMIX).
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let number = f64::from_bits(bits);
            if number.abs() <= EXACT {
                let key = format!("k{}", object.fields.len());
                put(&mut object, &key, number);
            }
        }
        let request = changed(&create_event("acme", "doc.read"), |r| {
            event(r).metadata = Some(object.clone());
        });
        let created = client.create_event(request).await.unwrap().into_inner();
        assert_eq!(read(&server, created.event_id).await.metadata, Some(object));
    }
}

async fn each_wrong_key_is_told(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let request = changed(&create_event("acme", "doc.read"), |r| {
        for (_, place) in PLACES {
            let object = place(r).get_or_insert_default();
            put(object, "a b", true);
            put(object, "long", &*long(501));
        }
    });
    let refusal = Refusal::of(&client.create_event(request).await.unwrap_err());
    assert_eq!(refusal.fields.len(), 6);
    for (path, _) in PLACES {
        assert!(refusal.names(&format!("{path}.a b"), "INVALID_CHARACTERS"), "{refusal:?}");
        assert!(refusal.names(&format!("{path}.long"), "TOO_LONG"), "{refusal:?}");
    }
    assert_eq!(server.count("events").await, 0);
}
