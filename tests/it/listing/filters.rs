//! The filters of `ListEvents`, against a plain model of what they mean.

use audit_logs::proto::v1::{Event, ListEventsRequest, SortOrder};
use prost_types::Timestamp;

use super::{Ask, events_of_acme, page_of_events};
use crate::support::{Engine, TestServer, at, create_event, on_every_engine, schema_for};

on_every_engine!(
    every_combination_of_filters_selects_what_it_says,
    a_value_matches_exactly,
    both_ends_of_a_time_range_are_in_it,
    both_ends_of_a_sequence_range_are_in_it,
    a_hundred_values_in_each_list_are_fine,
);

const ACTIONS: [&str; 4] = ["doc.read", "doc.write", "Doc.read", "doc.rea"];
const ACTORS: [&str; 5] = ["user_1", "user_10", "user", "USER_1", "u%"];
const NAMES: [&str; 5] = ["", "Mira", "mira", "Mira ", "%"];
const TYPES: [&str; 4] = ["document", "doc", "Document", "docu%"];
/// Ids that are parts of each other, or have a meaning in SQL.
const TARGETS: [&str; 14] = [
    "doc_1", "doc_10", "doc", "doc_", "oc_1", "%", "_", "'", "''", "doc%", "\\", "\"", "doc 1",
    "\u{e4}",
];

/// The event with that number: each attribute goes through its values at a pace of its own.
fn event(number: usize) -> Event {
    let mut event = create_event("acme", ACTIONS[number % ACTIONS.len()]).event.unwrap();
    let actor = event.actor.as_mut().unwrap();
    actor.id = ACTORS[number % ACTORS.len()].into();
    actor.name = NAMES[number / 2 % NAMES.len()].into();
    event.targets[0].id = TARGETS[number % TARGETS.len()].into();
    // The schema asks for one target of this type.
    event.targets[0].r#type = "document".into();
    if !number.is_multiple_of(3) {
        let mut second = event.targets[0].clone();
        second.id = TARGETS[number * 5 % TARGETS.len()].into();
        second.r#type = TYPES[number % TYPES.len()].into();
        event.targets.push(second);
    }
    // Not in the order of the log.
    event.occurred_at = Some(moment(i32::try_from(number * 7 % 40).unwrap()));
    event
}

/// A moment, by microseconds.
fn moment(micros: i32) -> Timestamp {
    let start = at("2026-06-01T12:00:00Z");
    Timestamp { nanos: start.nanos + micros * 1_000, ..start }
}

/// A server with forty events of acme, and as many of beta.
async fn with_events(engine: Engine) -> (TestServer, Vec<Event>) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    for action in ACTIONS {
        client.create_action_schema(schema_for(action)).await.unwrap();
    }
    let events: Vec<_> = (0..40).map(event).collect();
    for organization in ["beta", "acme"] {
        let requests = events.iter().map(|event| {
            let mut request = create_event(organization, "");
            request.event = Some(event.clone());
            request
        });
        let requests = requests.collect();
        let request = audit_logs::proto::v1::BatchCreateEventsRequest { requests, atomic: true };
        client.batch_create_events(request).await.unwrap();
    }
    (server, events)
}

/// What the contract says of a filter.
fn matches(request: &ListEventsRequest, sequence: u64, event: &Event) -> bool {
    let any = |values: &[String], of: &[&str]| {
        values.is_empty() || values.iter().any(|value| of.contains(&value.as_str()))
    };
    let key = |time: &Timestamp| (time.seconds, time.nanos);
    let at = event.occurred_at.as_ref().map(key).unwrap();
    let actor = event.actor.as_ref().unwrap();
    let ids: Vec<_> = event.targets.iter().map(|target| target.id.as_str()).collect();
    let types: Vec<_> = event.targets.iter().map(|target| target.r#type.as_str()).collect();
    any(&request.actions, &[&event.action])
        && any(&request.actor_ids, &[&actor.id])
        && any(&request.actor_names, &[&actor.name])
        && any(&request.target_types, &types)
        && any(&request.target_ids, &ids)
        && request.range_start.as_ref().is_none_or(|start| at >= key(start))
        && request.range_end.as_ref().is_none_or(|end| at <= key(end))
        && request.sequence_start.is_none_or(|start| sequence >= start)
        && request.sequence_end.is_none_or(|end| sequence <= end)
}

/// The sequences that a request should list.
fn expected(request: &ListEventsRequest, events: &[Event]) -> Vec<u64> {
    let numbered = (0..).zip(events);
    let matching = numbered.filter(|(sequence, event)| matches(request, *sequence, event));
    matching.map(|(sequence, _)| sequence).collect()
}

fn all() -> ListEventsRequest {
    let (limit, order) = (100, SortOrder::Asc.into());
    events_of_acme(Ask { limit, order, ..Ask::default() })
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

async fn every_combination_of_filters_selects_what_it_says(engine: Engine) {
    let (server, events) = with_events(engine).await;
    let client = server.client().await;
    let filters: [fn(&mut ListEventsRequest); 7] = [
        |r| r.actions = texts(&["doc.read", "Doc.read", "nobody"]),
        |r| r.actor_ids = texts(&["user_1", "user", "u%"]),
        |r| r.actor_names = texts(&["Mira", "mira", "%"]),
        |r| r.target_types = texts(&["doc", "docu%"]),
        |r| r.target_ids = texts(&["doc_1", "doc_10", "%", "''", "_", "oc_1", "doc"]),
        |r| (r.range_start, r.range_end) = (Some(moment(3)), Some(moment(35))),
        |r| (r.sequence_start, r.sequence_end) = (Some(2), Some(37)),
    ];
    let mut found = 0;
    for chosen in 0_u32..1 << filters.len() {
        let mut request = all();
        for (place, filter) in filters.iter().enumerate() {
            if chosen & (1 << place) != 0 {
                filter(&mut request);
            }
        }
        let expected = expected(&request, &events);
        // Each filter leaves something out.
        assert!(chosen == 0 || expected.len() < events.len());
        found += usize::from(!expected.is_empty());
        let page = page_of_events(&client, request.clone()).await;
        assert_eq!(page.items, expected, "{request:?}");
    }
    assert!(found > 90, "{found} of 128 combinations found something");
}

async fn a_value_matches_exactly(engine: Engine) {
    let (server, events) = with_events(engine).await;
    let client = server.client().await;
    let others = ["nobody", "DOC_1", "doc_1 ", " doc_1", "o", "__", "%%", "\u{c4}", "a\u{308}"];
    let values = [&ACTIONS[..], &ACTORS, &NAMES[1..], &TYPES, &TARGETS, &others].concat();
    let lists: [fn(&mut ListEventsRequest) -> &mut Vec<String>; 5] = [
        |r| &mut r.actions,
        |r| &mut r.actor_ids,
        |r| &mut r.actor_names,
        |r| &mut r.target_types,
        |r| &mut r.target_ids,
    ];
    for list in lists {
        let mut found = 0;
        for value in &values {
            let mut request = all();
            list(&mut request).push((*value).to_owned());
            let expected = expected(&request, &events);
            found += expected.len();
            assert_eq!(
                page_of_events(&client, request.clone()).await.items,
                expected,
                "{request:?}"
            );
        }
        assert!(found >= 30);
    }
}

async fn both_ends_of_a_time_range_are_in_it(engine: Engine) {
    let (server, events) = with_events(engine).await;
    let client = server.client().await;
    for (start, end) in [(0, 39), (0, 0), (39, 39), (7, 7), (7, 8), (6, 7), (40, 50), (-5, -1)] {
        let [range_start, range_end] = [start, end].map(|micros| {
            let seconds = moment(0).seconds - i64::from(micros < 0);
            let nanos = (micros * 1_000_i32).rem_euclid(1_000_000_000);
            Some(Timestamp { seconds, nanos })
        });
        let request = ListEventsRequest { range_start, range_end, ..all() };
        let expected = expected(&request, &events);
        assert_eq!(
            expected.len(),
            usize::try_from((end.min(39) - start.max(0) + 1).max(0)).unwrap()
        );
        assert_eq!(page_of_events(&client, request).await.items, expected, "{start} to {end}");
    }
    // An end that is finer than a microsecond is cut off, as the events were.
    let fine = Some(Timestamp { nanos: 7_999, ..moment(0) });
    let request = ListEventsRequest { range_start: fine, range_end: fine, ..all() };
    assert_eq!(page_of_events(&client, request).await.items, [1]);
    // The widest range that there is.
    let request = ListEventsRequest {
        range_start: Some(at("0001-01-01T00:00:00Z")),
        range_end: Some(at("9999-12-31T23:59:59.999999Z")),
        ..all()
    };
    assert_eq!(page_of_events(&client, request).await.items.len(), 40);
}

async fn both_ends_of_a_sequence_range_are_in_it(engine: Engine) {
    let (server, _) = with_events(engine).await;
    let client = server.client().await;
    let table = [
        (None, None, 0..40),
        (Some(0), Some(0), 0..1),
        (Some(39), Some(39), 39..40),
        (Some(5), Some(7), 5..8),
        (None, Some(3), 0..4),
        (Some(37), None, 37..40),
        (Some(38), Some(u64::MAX), 38..40),
        (Some(40), None, 0..0),
        (Some(u64::MAX), Some(u64::MAX), 0..0),
        (Some(i64::MAX as u64), None, 0..0),
    ];
    for (sequence_start, sequence_end, expected) in table {
        let request = ListEventsRequest { sequence_start, sequence_end, ..all() };
        let page = page_of_events(&client, request).await;
        let what = format!("{sequence_start:?} to {sequence_end:?}");
        assert_eq!(page.items, expected.collect::<Vec<_>>(), "{what}");
    }
}

async fn a_hundred_values_in_each_list_are_fine(engine: Engine) {
    let (server, events) = with_events(engine).await;
    let client = server.client().await;
    let filled = |values: &[&str]| {
        let mut texts = texts(values);
        texts.extend((texts.len()..100).map(|number| format!("nobody_{number}")));
        texts
    };
    let request = ListEventsRequest {
        actions: filled(&ACTIONS),
        actor_ids: filled(&ACTORS),
        actor_names: filled(&NAMES[1..]),
        target_types: filled(&TYPES),
        target_ids: filled(&TARGETS),
        ..all()
    };
    let expected = expected(&request, &events);
    assert!(expected.len() > 20);
    assert_eq!(page_of_events(&client, request).await.items, expected);
}
