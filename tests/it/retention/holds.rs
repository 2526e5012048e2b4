//! Legal holds.

use std::sync::Arc;

use audit_logs::{
    domain::ids::OrganizationId,
    proto::v1::{
        LegalHold, OrganizationsDeleteRequest, PlaceLegalHoldRequest, ReleaseLegalHoldRequest,
    },
};
use tonic::Code;

use super::Trail;
use crate::{
    support::{Engine, Refusal, at, on_every_engine, server::ROOT_KEY},
    transparency::grow,
};

on_every_engine!(
    a_hold_stops_retention_until_it_is_released,
    a_held_organization_cannot_be_deleted,
    placing_and_releasing_are_idempotent,
    nothing_goes_after_a_hold_was_placed,
    a_hold_and_a_deletion_exclude_each_other,
);

async fn place(trail: &Trail, reason: &str) -> LegalHold {
    let request = PlaceLegalHoldRequest { organization_id: "acme".into(), reason: reason.into() };
    let mut client = trail.server.organizations().await;
    client.place_legal_hold(request).await.unwrap().into_inner().legal_hold.unwrap()
}

async fn release(trail: &Trail) {
    let request = ReleaseLegalHoldRequest { organization_id: "acme".into() };
    trail.server.organizations().await.release_legal_hold(request).await.unwrap();
}

async fn a_hold_stops_retention_until_it_is_released(engine: Engine) {
    let trail = Trail::new(engine).await;
    grow(&trail.server, "acme", 300).await;
    grow(&trail.server, "beta", 300).await;
    place(&trail, "a case").await;
    trail.after_days(366);
    assert_eq!(trail.sweep().await.events, 300);
    assert_eq!(trail.rows("acme").await, (300, 0));
    assert_eq!(trail.rows("beta").await, (0, 44));
    // Tombstones stay as well.
    release(&trail).await;
    assert_eq!(trail.sweep().await.events, 300);
    place(&trail, "another").await;
    grow(&trail.server, "acme", 300).await;
    assert_eq!(trail.sweep().await.deleted_rows, 0);
    release(&trail).await;
    assert_eq!(trail.sweep().await.deleted_rows, 44);
    assert_eq!(trail.verified("acme").await, (600, 300));
}

async fn a_held_organization_cannot_be_deleted(engine: Engine) {
    let trail = Trail::new(engine).await;
    grow(&trail.server, "acme", 1).await;
    place(&trail, "").await;
    let delete = || OrganizationsDeleteRequest { organization_id: "acme".into() };
    let mut client = trail.server.organizations().await;
    let refusal = Refusal::of(&client.delete(delete()).await.unwrap_err());
    assert_eq!((refusal.code, &*refusal.reason), (Code::FailedPrecondition, "LEGAL_HOLD"));
    let rest = reqwest::Client::builder().build().unwrap();
    let rest = rest.delete(format!("{}/organizations/acme", trail.server.url));
    let refused = rest.bearer_auth(ROOT_KEY).send().await.unwrap();
    assert_eq!(refused.status(), reqwest::StatusCode::FORBIDDEN);
    let body: serde_json::Value = serde_json::from_slice(&refused.bytes().await.unwrap()).unwrap();
    assert_eq!(body["code"], "legal_hold");
    assert_eq!(trail.list("acme").await.len(), 1);
    release(&trail).await;
    client.delete(delete()).await.unwrap();
    let request = PlaceLegalHoldRequest { organization_id: "acme".into(), reason: String::new() };
    let refused = client.place_legal_hold(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

async fn placing_and_releasing_are_idempotent(engine: Engine) {
    let trail = Trail::new(engine).await;
    grow(&trail.server, "acme", 1).await;
    assert_eq!(trail.configuration("acme").await.legal_hold, None);
    let hold = |reason: &str| LegalHold {
        placed_at: Some(at("2026-01-02T03:04:05Z")),
        reason: reason.into(),
    };
    assert_eq!(place(&trail, "one").await, hold("one"));
    trail.clock.advance_seconds(1);
    assert_eq!(place(&trail, "two").await, hold("two"));
    assert_eq!(trail.configuration("acme").await.legal_hold, Some(hold("two")));
    release(&trail).await;
    release(&trail).await;
    assert_eq!(trail.configuration("acme").await.legal_hold, None);
    let again = LegalHold { placed_at: Some(at("2026-01-02T03:04:06Z")), reason: String::new() };
    assert_eq!(place(&trail, "").await, again);
}

async fn nothing_goes_after_a_hold_was_placed(engine: Engine) {
    let trail = Arc::new(Trail::new(engine).await);
    for _ in 0..6 {
        grow(&trail.server, "acme", 1_000).await;
    }
    trail.after_days(366);
    let erasers = (0..2).map(|_| {
        let trail = trail.clone();
        tokio::spawn(async move {
            let organization = OrganizationId::from_stored("acme");
            let mut events = 0;
            for _ in 0..40 {
                let step = trail.store.erase_step(&organization, trail.rule()).await.unwrap();
                events += step.events;
            }
            events
        })
    });
    let erasers: Vec<_> = erasers.collect();
    place(&trail, "now").await;
    let erased = trail.configuration("acme").await.erased_events;
    let rows = trail.rows("acme").await;
    let mut events = 0;
    for eraser in erasers {
        events += eraser.await.unwrap();
    }
    assert_eq!((trail.configuration("acme").await.erased_events, events), (erased, erased));
    assert_eq!(trail.rows("acme").await, rows);
    assert_eq!(trail.verified("acme").await, (6_000, erased));
}

async fn a_hold_and_a_deletion_exclude_each_other(engine: Engine) {
    let trail = Trail::new(engine).await;
    for round in 0..10 {
        let id = format!("org_{round}");
        grow(&trail.server, &id, 1).await;
        let [mut one, mut other] =
            [trail.server.organizations().await, trail.server.organizations().await];
        let place = PlaceLegalHoldRequest { organization_id: id.clone(), reason: String::new() };
        let delete = OrganizationsDeleteRequest { organization_id: id };
        let (placed, deleted) = tokio::join!(one.place_legal_hold(place), other.delete(delete));
        assert_ne!(placed.is_ok(), deleted.is_ok(), "one of the two");
    }
}
