//! Receivers that misbehave: what a destination makes of it, and that the events arrive afterwards.

use std::time::{Duration, Instant};

use audit_logs::{
    domain::destination,
    forward::{Failure, FailureKind},
};

use super::{
    NOW, Pair, SECRET, azure_sentinel, batch, datadog, generic_https, ids, snowflake, splunk,
};
use crate::receivers::{
    AzureSentinel, Datadog, Fault, GenericHttps, Protocol, Receiver, RequestForm, Snowflake, Splunk,
};

const ALWAYS: usize = usize::MAX;

async fn failure<P: Protocol>(pair: &Pair<P>, fault: Fault) -> Failure {
    pair.receiver.misbehave(fault, ALWAYS);
    let began = Instant::now();
    let failure = pair.sink.send(&batch(&*pair.sink, 0, 3, 10), NOW).await.unwrap_err();
    // Far less than it would take without the limit of two seconds.
    assert!(began.elapsed() < Duration::from_secs(40), "it took {:?}", began.elapsed());
    assert!(!failure.message.contains(SECRET), "{failure:?}");
    assert!(failure.message.len() < 1_200);
    failure
}

/// Every fault in turn.
async fn suffer<P: Protocol>(pair: &Pair<P>) {
    let temporary = |seconds: Option<u64>| FailureKind::Temporary {
        retry_after: seconds.map(Duration::from_secs),
    };
    let elsewhere = Receiver::start(GenericHttps::new(SECRET, RequestForm::Json)).await;
    for (fault, expected) in [
        (Fault::Hang, temporary(None)),
        (Fault::Status(429, Some("7")), temporary(Some(7))),
        (Fault::Status(503, Some("86400")), temporary(Some(3_600))),
        (Fault::Status(500, None), temporary(None)),
        (Fault::Status(408, None), temporary(None)),
        (Fault::Status(401, None), FailureKind::Invalid),
        (Fault::Status(403, None), FailureKind::Invalid),
        (Fault::Status(404, None), FailureKind::Invalid),
        (Fault::Redirect(elsewhere.url()), FailureKind::Invalid),
        (Fault::TooLargeAbove(100), FailureKind::TooLarge),
        (Fault::CloseInRequest, temporary(None)),
        (Fault::Echo, FailureKind::Refused(vec![])),
    ] {
        let failure = failure(pair, fault.clone()).await;
        assert_eq!(failure.kind, expected, "{fault:?}: {failure:?}");
        assert_eq!(pair.receiver.count(), 0, "{fault:?}");
    }
    assert_eq!(elsewhere.requests(), 0, "a redirect was followed");
    // Taken, and not told: they come again.
    for fault in [Fault::CloseInAnswer, Fault::Drip] {
        let before = pair.receiver.count();
        let failure = failure(pair, fault.clone()).await;
        assert_eq!(failure.kind, temporary(None), "{fault:?}: {failure:?}");
        assert_eq!(pair.receiver.count(), before + 3, "{fault:?}");
    }
    pair.receiver.heal();
    pair.sink.send(&batch(&*pair.sink, 0, 3, 10), NOW).await.unwrap();
    assert_eq!(pair.receiver.ids()[6..], ids(0..3));
}

/// A 200 that says that nothing was taken.
async fn is_not_fooled<P: Protocol>(pair: &Pair<P>, body: &'static str) {
    for body in [body, "<html>Sign in to the proxy</html>"] {
        let failure = failure(pair, Fault::Says(200, body)).await;
        assert!(matches!(failure.kind, FailureKind::Temporary { .. }), "{failure:?}");
        assert_eq!(failure.http_status, Some(200));
    }
}

#[tokio::test]
async fn datadog_misbehaves() {
    let pair = datadog().await;
    is_not_fooled(&pair, r#"{"errors":["nothing was taken"]}"#).await;
    suffer(&pair).await;
}

#[tokio::test]
async fn splunk_misbehaves() {
    let pair = splunk(Splunk::new(SECRET), destination::Splunk::default()).await;
    is_not_fooled(&pair, r#"{"text":"Server is busy","code":9}"#).await;
    suffer(&pair).await;
}

#[tokio::test]
async fn azure_sentinel_misbehaves() {
    let pair = azure_sentinel().await;
    is_not_fooled(&pair, r#"{"error":{"code":"Busy","message":"nothing was taken"}}"#).await;
    suffer(&pair).await;
}

/// Submitted again under its id, a statement is not executed twice.
#[tokio::test]
async fn snowflake_misbehaves() {
    let pair = snowflake(Snowflake::new()).await;
    is_not_fooled(&pair, r#"{"code":"391000","message":"nothing was taken"}"#).await;
    for (fault, kind) in [
        (Fault::Status(503, None), FailureKind::Temporary { retry_after: None }),
        (Fault::Status(403, None), FailureKind::Invalid),
        (Fault::TooLargeAbove(100), FailureKind::TooLarge),
        (Fault::Echo, FailureKind::Invalid),
    ] {
        assert_eq!(failure(&pair, fault).await.kind, kind);
    }
    let events = batch(&*pair.sink, 0, 3, 10);
    for fault in [Fault::Hang, Fault::CloseInRequest, Fault::CloseInAnswer, Fault::Drip] {
        pair.receiver.misbehave(fault, 1);
        let failure = pair.sink.send(&events, NOW).await.unwrap_err();
        assert!(matches!(failure.kind, FailureKind::Temporary { .. }), "{failure:?}");
    }
    pair.sink.send(&events, NOW).await.unwrap();
    assert_eq!(pair.receiver.ids(), ids(0..3));
    pair.sink.send(&events, NOW).await.unwrap();
    assert_eq!(pair.receiver.count(), 6, "another delivery has another id");
}

#[tokio::test]
async fn an_https_receiver_misbehaves() {
    suffer(&generic_https(destination::GenericHttps::default()).await).await;
}

/// Refused while another credential is wanted, and taken once it is the right one.
async fn recovers<P: Protocol>(pair: &Pair<P>, set: impl Fn(&mut P, &str)) {
    set(&mut pair.receiver.protocol(), "another");
    let events = batch(&*pair.sink, 0, 3, 10);
    let failure = pair.sink.send(&events, NOW).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid, "{failure:?}");
    set(&mut pair.receiver.protocol(), SECRET);
    pair.sink.send(&events, NOW).await.unwrap();
    assert_eq!(pair.receiver.ids(), ids(0..3));
}

#[tokio::test]
async fn credentials_that_are_refused_and_then_right() {
    recovers(&datadog().await, Datadog::set_key).await;
    let pair = splunk(Splunk::new(SECRET), destination::Splunk::default()).await;
    recovers(&pair, Splunk::set_token).await;
    recovers(&azure_sentinel().await, AzureSentinel::set_secret).await;
    let set_key = |snowflake: &mut Snowflake, key: &str| snowflake.set_key(key == SECRET);
    recovers(&snowflake(Snowflake::new()).await, set_key).await;
    let pair = generic_https(destination::GenericHttps::default()).await;
    recovers(&pair, GenericHttps::set_token).await;
}

#[tokio::test]
async fn a_receiver_that_was_away() {
    let pair = datadog().await;
    let events = batch(&*pair.sink, 0, 3, 10);
    pair.sink.send(&events, NOW).await.unwrap();
    let port = pair.receiver.port();
    drop(pair.receiver);
    let failure = pair.sink.send(&events, NOW).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Temporary { .. }), "{failure:?}");
    let again = Receiver::start_at(Datadog::new(SECRET), port).await;
    pair.sink.send(&events, NOW).await.unwrap();
    assert_eq!(again.ids(), ids(0..3));
}
