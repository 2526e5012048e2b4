//! `CreateEvent` and `GetEvent`.

use audit_logs::{
    domain::timestamp::Timestamp,
    proto::v1::{Actor, Context, CreateEventRequest, Event, GetEventRequest, SchemaTarget, Target},
};
use prost_types::Struct;

use super::{
    Row, changed, invalid, long, made_id_rows, organization_id_rows, refuses, required_text_rows,
    text_rows, unfit, unknown, wide,
};
use crate::support::{
    Engine, Refusal, TestServer, an_event, at, create_event, metadata, on_every_engine, schema_for,
};

on_every_engine!(
    create_event_names_each_wrong_field,
    get_event_names_each_wrong_field,
    everything_wrong_is_told_at_once,
    a_time_must_be_between_1900_and_a_year_ahead,
    the_largest_texts_are_accepted,
    an_event_has_at_most_256_kib,
);

/// The moment at which the service is.
const NOW: &str = "2026-06-01T12:00:00Z";

pub fn event(request: &mut CreateEventRequest) -> &mut Event {
    request.event.as_mut().unwrap()
}

pub fn actor(request: &mut CreateEventRequest) -> &mut Actor {
    event(request).actor.as_mut().unwrap()
}

pub fn target(request: &mut CreateEventRequest) -> &mut Target {
    &mut event(request).targets[0]
}

fn context(request: &mut CreateEventRequest) -> &mut Context {
    event(request).context.as_mut().unwrap()
}

fn occurred_at(request: &mut CreateEventRequest, seconds: i64, nanos: i32) {
    event(request).occurred_at = Some(prost_types::Timestamp { seconds, nanos });
}

fn occurred(request: &mut CreateEventRequest, text: &str) {
    event(request).occurred_at = Some(at(text));
}

async fn create_event_names_each_wrong_field(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let rows = organization_id_rows!(CreateEventRequest)
        .into_iter()
        .chain(action_rows())
        .chain(party_rows())
        .chain(other_rows());
    let right = create_event("acme", "doc.read");
    refuses(&server, right, rows, async |request| client.clone().create_event(request).await).await;
}

fn action_rows() -> Vec<Row<CreateEventRequest>> {
    let spaced = || invalid("event.action", "INVALID_CHARACTERS");
    let mut rows: Vec<_> =
        required_text_rows!(CreateEventRequest, "event.action", |r| event(r).action, 255).collect();
    rows.extend::<[Row<CreateEventRequest>; _]>([
        ("space before", |r| event(r).action = " doc.read".into(), spaced()),
        ("space after", |r| event(r).action = "doc.read ".into(), spaced()),
        ("nothing but space", |r| event(r).action = "  ".into(), spaced()),
        ("wide space after", |r| event(r).action = "doc.read\u{3000}".into(), spaced()),
        ("other action", |r| event(r).action = "no.such".into(), unfit("event.action", "UNKNOWN")),
        ("other case", |r| event(r).action = "Doc.read".into(), unfit("event.action", "UNKNOWN")),
        ("a prefix", |r| event(r).action = "doc.rea".into(), unfit("event.action", "UNKNOWN")),
        ("other version", |r| event(r).version = 2, unfit("event.version", "UNKNOWN")),
        ("version below 0", |r| event(r).version = -1, invalid("event.version", "OUT_OF_RANGE")),
        ("least", |r| event(r).version = i32::MIN, invalid("event.version", "OUT_OF_RANGE")),
    ]);
    rows
}

fn party_rows() -> Vec<Row<CreateEventRequest>> {
    let mut rows: Vec<_> =
        required_text_rows!(CreateEventRequest, "event.actor.id", |r| actor(r).id, 1_024).collect();
    rows.extend(required_text_rows!(
        CreateEventRequest,
        "event.actor.type",
        |r| actor(r).r#type,
        255
    ));
    rows.extend(text_rows!(CreateEventRequest, "event.actor.name", |r| actor(r).name, 1_024));
    rows.extend(required_text_rows!(
        CreateEventRequest,
        "event.targets[0].id",
        |r| target(r).id,
        1_024
    ));
    rows.extend(required_text_rows!(
        CreateEventRequest,
        "event.targets[0].type",
        |r| target(r).r#type,
        255
    ));
    rows.extend(text_rows!(CreateEventRequest, "event.targets[0].name", |r| target(r).name, 1_024));
    rows.extend::<[Row<CreateEventRequest>; _]>([
        ("no actor", |r| event(r).actor = None, invalid("event.actor", "REQUIRED")),
        (
            "the second target",
            |r| event(r).targets.push(Target { r#type: "x".into(), ..Target::default() }),
            invalid("event.targets[1].id", "REQUIRED"),
        ),
        (
            "101 targets",
            |r| event(r).targets = vec![target(r).clone(); 101],
            invalid("event.targets", "TOO_MANY"),
        ),
        ("no target", |r| event(r).targets.clear(), unfit("event.targets", "SCHEMA_MISMATCH")),
    ]);
    rows
}

fn other_rows() -> Vec<Row<CreateEventRequest>> {
    let time = || invalid("event.occurred_at", "OUT_OF_RANGE");
    let mut rows: Vec<_> =
        Vec::from(text_rows!(CreateEventRequest, "idempotency_key", |r| r.idempotency_key, 255));
    rows.extend(required_text_rows!(
        CreateEventRequest,
        "event.context.location",
        |r| context(r).location,
        1_024
    ));
    rows.extend(text_rows!(
        CreateEventRequest,
        "event.context.user_agent",
        |r| context(r).user_agent,
        2_048
    ));
    rows.extend::<[Row<CreateEventRequest>; _]>([
        ("no event", |r| r.event = None, invalid("event", "REQUIRED")),
        ("no context", |r| event(r).context = None, invalid("event.context", "REQUIRED")),
        ("no time", |r| event(r).occurred_at = None, invalid("event.occurred_at", "REQUIRED")),
        ("the least time", |r| occurred_at(r, i64::MIN, 0), time()),
        ("the greatest time", |r| occurred_at(r, i64::MAX, 0), time()),
        ("nanoseconds below 0", |r| occurred_at(r, 0, -1), time()),
        ("a whole second of nanoseconds", |r| occurred_at(r, 0, 1_000_000_000), time()),
        ("the least nanoseconds", |r| occurred_at(r, 0, i32::MIN), time()),
        ("the year 0", |r| occurred_at(r, -62_135_596_801, 0), time()),
        ("the year 10000", |r| occurred_at(r, 253_402_300_800, 0), time()),
        ("the year 1", |r| occurred(r, "0001-01-01T00:00:00Z"), time()),
        ("before 1900", |r| occurred(r, "1899-12-31T23:59:59.999999Z"), time()),
        ("the year 9999", |r| occurred(r, "9999-12-31T23:59:59Z"), time()),
    ]);
    rows
}

async fn get_event_names_each_wrong_field(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let created = client.create_event(create_event("acme", "doc.read")).await.unwrap();
    client.create_event(create_event("umbrella", "doc.read")).await.unwrap();
    let right =
        GetEventRequest { organization_id: "acme".into(), event_id: created.into_inner().event_id };
    let others: [Row<GetEventRequest>; _] = [
        (
            "an unknown organization",
            |r| r.organization_id = "nobody".into(),
            unknown("organization_id", "ORGANIZATION_NOT_FOUND"),
        ),
        (
            "another organization's log",
            |r| r.organization_id = "umbrella".into(),
            unknown("event_id", "EVENT_NOT_FOUND"),
        ),
        (
            "an id in lower case",
            |r| r.event_id = r.event_id.to_lowercase(),
            unknown("event_id", "EVENT_NOT_FOUND"),
        ),
    ];
    let rows = organization_id_rows!(GetEventRequest)
        .into_iter()
        .chain(made_id_rows!(GetEventRequest, event_id, "EVENT_NOT_FOUND"))
        .chain(others);
    refuses(&server, right, rows, async |request| client.clone().get_event(request).await).await;
}

async fn everything_wrong_is_told_at_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    let request = CreateEventRequest {
        organization_id: " ".into(),
        event: Some(Event { targets: vec![Target::default()], ..Event::default() }),
        idempotency_key: long(256),
        receipt: false,
    };
    let refusal = Refusal::of(&client.create_event(request).await.unwrap_err());
    let expected = [
        ("organization_id", "INVALID_CHARACTERS"),
        ("idempotency_key", "TOO_LONG"),
        ("event.action", "REQUIRED"),
        ("event.occurred_at", "REQUIRED"),
        ("event.actor", "REQUIRED"),
        ("event.targets[0].id", "REQUIRED"),
        ("event.targets[0].type", "REQUIRED"),
        ("event.context", "REQUIRED"),
    ];
    let told = refusal.fields.iter().map(|(field, reason)| (field.as_str(), reason.as_str()));
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

async fn a_time_must_be_between_1900_and_a_year_ahead(engine: Engine) {
    let now = Timestamp::parse_rfc3339(NOW).unwrap();
    let (server, _clock) = TestServer::start_with_clock(engine, now).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let base = create_event("acme", "doc.read");
    let rows: [Row<CreateEventRequest>; _] = [
        (
            "a microsecond more than 366 days ahead",
            |r| occurred(r, "2027-06-02T12:00:00.000001Z"),
            invalid("event.occurred_at", "OUT_OF_RANGE"),
        ),
        (
            "a microsecond before 1900",
            |r| occurred(r, "1899-12-31T23:59:59.999999Z"),
            invalid("event.occurred_at", "OUT_OF_RANGE"),
        ),
    ];
    client.create_event(base.clone()).await.unwrap();
    let call = async |request| client.clone().create_event(request).await;
    refuses(&server, base.clone(), rows, call).await;
    for good in ["1900-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "2027-06-02T12:00:00Z"] {
        let request = changed(&base, |r| occurred(r, good));
        let created = client.create_event(request).await.unwrap().into_inner();
        assert_eq!(read(&server, created.event_id).await.occurred_at, Some(at(good)), "{good}");
    }
    // Finer digits are cut off.
    let request = changed(&base, |r| occurred_at(r, -1, 123_456_999));
    let created = client.create_event(request).await.unwrap().into_inner();
    let cut = prost_types::Timestamp { seconds: -1, nanos: 123_456_000 };
    assert_eq!(read(&server, created.event_id).await.occurred_at, Some(cut));
}

/// Reads an event of acme back.
pub async fn read(server: &TestServer, event_id: String) -> Event {
    let request = GetEventRequest { organization_id: "acme".into(), event_id };
    let answer = server.client().await.get_event(request).await.unwrap().into_inner();
    answer.event.unwrap().event.unwrap()
}

async fn the_largest_texts_are_accepted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    for make in [long, wide] {
        let mut schema = schema_for(&make(255));
        schema.targets = vec![SchemaTarget { r#type: make(255), metadata: None }];
        client.create_action_schema(schema).await.unwrap();
        let target =
            |id: String| Target { id, r#type: make(255), name: make(1_024), metadata: None };
        let sent = Event {
            version: 1,
            actor: Some(Actor {
                id: make(1_024),
                r#type: make(255),
                name: make(1_024),
                metadata: None,
            }),
            targets: vec![target(make(1_024)), target("1".into())],
            context: Some(Context { location: make(1_024), user_agent: make(2_048) }),
            ..an_event(&make(255))
        };
        let request = CreateEventRequest {
            organization_id: "acme".into(),
            event: Some(sent.clone()),
            idempotency_key: make(255),
            receipt: false,
        };
        let created = client.create_event(request).await.unwrap().into_inner();
        assert_eq!(read(&server, created.event_id).await, sent);
    }
    let hundred = changed(&create_event("acme", "doc.read"), |r| {
        event(r).targets = vec![target(r).clone(); 100];
    });
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(hundred).await.unwrap();
    let mut request = create_event(&long(128), "doc.read");
    client.create_event(request.clone()).await.unwrap();
    request.organization_id = "0a_.:-Z".into();
    client.create_event(request).await.unwrap();
}

/// An event of acme with `chars` characters in its targets' metadata.
fn filled(chars: usize) -> CreateEventRequest {
    let mut request = create_event("acme", "doc.read");
    let template = target(&mut request).clone();
    event(&mut request).targets.clear();
    let mut left = chars;
    while left > 0 {
        let mut fields = Struct::default();
        for key in 0..50 {
            let part = left.min(500);
            left -= part;
            let one = metadata(&[("key", long(part).as_str().into())]);
            fields.fields.extend(one.fields.into_values().map(|v| (format!("k{key:02}"), v)));
        }
        let filled = Target { metadata: Some(fields), ..template.clone() };
        event(&mut request).targets.push(filled);
    }
    request
}

async fn an_event_has_at_most_256_kib(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    // All of these have the same number of targets and keys: only the text differs.
    client.create_event(filled(250_000)).await.unwrap();
    let size = server
        .query_integers(
            "SELECT CAST(LENGTH(payload) AS BIGINT) FROM events WHERE organization_id = 'acme'",
        )
        .await[0];
    let room = 256 * 1_024 - usize::try_from(size).unwrap();
    assert!(room < 20_000);
    client.create_event(changed(&filled(250_000), |r| pad(r, room))).await.unwrap();
    let largest =
        "SELECT CAST(MAX(LENGTH(payload)) AS BIGINT) FROM events WHERE organization_id = 'acme'";
    assert_eq!(server.query_integers(largest).await, [256 * 1_024]);

    let right = create_event("acme", "doc.read");
    let rows: [Row<CreateEventRequest>; _] = [(
        "more than 256 KiB",
        |r| *r = changed(&filled(250_000), |r| pad(r, 20_000)),
        invalid("event", "TOO_LARGE"),
    )];
    refuses(&server, right, rows, async |request| client.clone().create_event(request).await).await;
    let one_more = changed(&filled(250_000), |r| pad(r, room + 1));
    let refused = Refusal::of(&client.create_event(one_more).await.unwrap_err());
    assert_eq!(refused.fields, [("event".to_owned(), "TOO_LARGE".to_owned())]);
    // Nor does it register an organization.
    let mut elsewhere = changed(&filled(250_000), |r| pad(r, room + 1));
    elsewhere.organization_id = "elsewhere".into();
    client.create_event(elsewhere).await.unwrap_err();
    assert_eq!(server.count("organizations").await, 1);
}

/// Lengthens values of the event's own metadata and of its context by that many characters.
fn pad(request: &mut CreateEventRequest, chars: usize) {
    let mut left = chars;
    let mut take = |most: usize, text: &mut String| {
        let part = left.min(most - text.chars().count());
        left -= part;
        text.push_str(&long(part));
    };
    let Actor { id, name, .. } = actor(request);
    take(1_024, id);
    take(1_024, name);
    let Context { location, user_agent } = context(request);
    take(1_024, location);
    take(2_048, user_agent);
    for target in &mut event(request).targets {
        take(1_024, &mut target.id);
        take(1_024, &mut target.name);
    }
    assert_eq!(left, 0, "there is no room for so many characters");
}
