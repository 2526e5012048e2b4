//! Repetitions, under an idempotency key, of events that are erased by now.

use std::sync::Arc;

use audit_logs::{
    domain::clock::ManualClock,
    proto::v1::{CreateEventRequest, CreateEventResponse},
};

use super::{NOW, Trail};
use crate::{
    support::{
        Engine, TestServer, create_event, on_every_engine, schema_for, server::fresh_settings,
    },
    transparency::{create_batch, grow},
};

on_every_engine!(a_repetition_of_an_erased_event_is_still_one);

fn keyed(key: &str) -> CreateEventRequest {
    CreateEventRequest {
        idempotency_key: key.to_owned(),
        receipt: true,
        ..create_event("acme", "doc.read")
    }
}

fn is_of(first: &CreateEventResponse, again: &CreateEventResponse) {
    assert!(again.duplicate && again.event_id.is_empty(), "{again:?}");
    assert_eq!((first.sequence, &first.leaf_hash), (again.sequence, &again.leaf_hash));
    assert_eq!(first.created_at, again.created_at);
    let receipt = again.receipt.as_ref().unwrap();
    assert_eq!((receipt.sequence, &receipt.leaf_hash), (first.sequence, &first.leaf_hash));
    assert!(receipt.event_id.is_empty() && receipt.canonical_event.is_empty());
}

async fn a_repetition_of_an_erased_event_is_still_one(engine: Engine) {
    let (mut settings, _directory) = fresh_settings(engine).await;
    settings.idempotency.window_seconds = 400 * 86_400;
    let clock = Arc::new(ManualClock::new(NOW));
    let server = TestServer::over(engine, settings, clock.clone()).await;
    let trail = Trail::over(server, clock).await;
    let mut client = trail.server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let deleted = client.create_event(keyed("first")).await.unwrap().into_inner();
    grow(&trail.server, "acme", 299).await;
    let buried = client.create_event(keyed("last")).await.unwrap().into_inner();
    trail.after_days(366);
    assert_eq!(trail.sweep().await.events, 301);
    for (first, key) in [(&deleted, "first"), (&buried, "last")] {
        let again = client.create_event(keyed(key)).await.unwrap().into_inner();
        is_of(first, &again);
        let without = CreateEventRequest { receipt: false, ..keyed(key) };
        let again = client.create_event(without).await.unwrap().into_inner();
        assert!(again.duplicate && again.sequence == first.sequence);
    }
    // Among others, and by a lane that has never seen the log.
    for atomic in [true, false] {
        let batch = vec![keyed("first"), keyed(if atomic { "x" } else { "y" }), keyed("last")];
        let answers = create_batch(&trail.server, batch, atomic).await;
        is_of(&deleted, &answers[0]);
        is_of(&buried, &answers[2]);
        assert!(!answers[1].duplicate);
    }
    assert_eq!(trail.verified("acme").await, (303, 301));
}
