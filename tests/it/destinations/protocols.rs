//! What arrives at well-behaved receivers, and the limits and answers that are a vendor's own.

use audit_logs::{
    domain::{
        destination::{self, SplunkEncoding},
        log_stream::PayloadForm,
    },
    forward::{FailureKind, Sink},
};
use serde_json::{Value, json};

use super::{
    NOW, Pair, SECRET, azure_sentinel, batch, datadog, encoded, generic_https, id, ids, open,
    secrets, snowflake, splunk, stream_to,
};
use crate::receivers::{GenericHttps, Protocol, Receiver, RequestForm, Snowflake, Splunk};

/// The form that WorkOS documents, with what it leaves out where there is none.
fn workos(sequence: u64, metadata: &Value) -> Value {
    let mut event = json!({
        "id": id(sequence), "action": "report.downloaded",
        "occurred_at": format!("2026-11-02T08:15:{:02}.250Z", sequence % 60),
        "actor": {"id": "usr_88", "type": "user", "name": "Ann \"A\" Å", "metadata": {"n": 1}},
        "targets": [{"id": "rep_17", "type": "report"}],
        "context": {"location": "203.0.113.9", "user_agent": "Firefox/131"},
    });
    if metadata != &json!({}) {
        event["metadata"] = metadata.clone();
    }
    event
}

/// Batches as large as the destination says that it takes.
async fn takes_its_limits<P: Protocol>(pair: &Pair<P>) {
    let sink = &*pair.sink;
    let limits = sink.limits();
    let many = batch(sink, 0, u64::try_from(limits.events.min(5_000)).unwrap(), 1);
    sink.send(fitting(sink, &many), NOW).await.unwrap();
    let size = (limits.event_bytes / 2).min(30_000);
    let large = batch(sink, 0, 200, size);
    let large = fitting(sink, &large);
    let bytes: usize = large.iter().map(|event| event.bytes.len()).sum();
    assert!(bytes + 64_000 > limits.bytes, "{bytes} are not as many as it takes");
    sink.send(large, NOW).await.unwrap();
}

/// As many as fit into one request.
fn fitting<'a>(
    sink: &dyn Sink,
    events: &'a [audit_logs::forward::EncodedEvent],
) -> &'a [audit_logs::forward::EncodedEvent] {
    let limits = sink.limits();
    let mut bytes = 0;
    let fits = |event: &&audit_logs::forward::EncodedEvent| {
        bytes += event.bytes.len() + limits.overhead;
        bytes <= limits.bytes
    };
    let count = events.iter().take(limits.events).take_while(fits).count();
    &events[..count]
}

async fn delivers<P: Protocol>(pair: &Pair<P>) {
    let sink = &*pair.sink;
    let metadata = json!({"text": "\"quoted\"\\\n<é>", "count": 2.5, "yes": true});
    let first = [encoded(sink, 0, &json!({})).unwrap(), encoded(sink, 1, &metadata).unwrap()];
    sink.send(&first, NOW).await.unwrap();
    let expected = [workos(0, &json!({})), workos(1, &metadata)];
    assert_eq!(pair.receiver.accepted(), expected);
    sink.send(&batch(sink, 2, 8, 10), NOW).await.unwrap();
    assert_eq!(pair.receiver.ids(), ids(0..10));
    takes_its_limits(pair).await;
    assert!(pair.receiver.replies().iter().all(|(status, _)| (200..300).contains(status)));
}

#[tokio::test]
async fn datadog_takes_events() {
    delivers(&datadog().await).await;
}

#[tokio::test]
async fn splunk_takes_events() {
    delivers(&splunk(Splunk::new(SECRET), destination::Splunk::default()).await).await;
    let encoding = SplunkEncoding::Array;
    let config = destination::Splunk { encoding, ..destination::Splunk::default() };
    delivers(&splunk(Splunk::new(SECRET), config).await).await;
}

#[tokio::test]
async fn azure_sentinel_takes_events() {
    let pair = azure_sentinel().await;
    delivers(&pair).await;
    assert_eq!(pair.receiver.protocol().tokens(), 1);
}

#[tokio::test]
async fn snowflake_takes_events() {
    delivers(&snowflake(Snowflake::new()).await).await;
    let pair = snowflake(Snowflake::new().with_polls(3)).await;
    pair.sink.send(&batch(&*pair.sink, 0, 3, 10), NOW).await.unwrap();
    assert_eq!((pair.receiver.ids(), pair.receiver.requests()), (ids(0..3), 4));
}

#[tokio::test]
async fn an_https_receiver_takes_events() {
    for format in [destination::HttpsFormat::Json, destination::HttpsFormat::Ndjson] {
        for gzip in [false, true] {
            let source = "acme".to_owned();
            let url = String::new();
            let headers = Vec::new();
            let config = destination::GenericHttps { url, headers, format, source, gzip };
            delivers(&generic_https(config).await).await;
        }
    }
}

#[tokio::test]
async fn splunk_says_what_is_wrong() {
    let config = |index: &str| destination::Splunk {
        index: index.to_owned(),
        ..destination::Splunk::default()
    };
    let wrong_index = splunk(Splunk::new(SECRET).with_index("audit"), config("other")).await;
    let events = batch(&*wrong_index.sink, 0, 3, 10);
    let failure = wrong_index.sink.send(&events, NOW).await.unwrap_err();
    assert_eq!((failure.kind, failure.http_status), (FailureKind::Invalid, Some(400)));
    assert!(failure.message.contains("Incorrect index"));

    let pair = splunk(Splunk::new(SECRET).with_index("audit"), config("audit")).await;
    let mut events = batch(&*pair.sink, 0, 3, 10);
    events[1].bytes = b"{\"time\":1,\"event\":\"\"}".to_vec();
    let failure = pair.sink.send(&events, NOW).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused(vec![1]));
    pair.receiver.protocol().set_token("another");
    let failure = pair.sink.send(&events[..1], NOW).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
}

#[tokio::test]
async fn splunk_acknowledges_what_is_indexed() {
    let config =
        destination::Splunk { indexer_acknowledgement: true, ..destination::Splunk::default() };
    let pair = splunk(Splunk::new(SECRET).with_acknowledgement(3), config.clone()).await;
    pair.sink.send(&batch(&*pair.sink, 0, 3, 10), NOW).await.unwrap();
    // One to send, three to ask.
    assert_eq!(pair.receiver.requests(), 4);
    assert_eq!(pair.receiver.ids(), ids(0..3));
    let without = splunk(Splunk::new(SECRET), config).await;
    let failure = without.sink.send(&batch(&*without.sink, 0, 1, 10), NOW).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(failure.message.contains("indexer acknowledgement"), "{failure:?}");
}

#[tokio::test]
async fn splunk_is_asked_again_before_events_are_sent_again() {
    let config =
        destination::Splunk { indexer_acknowledgement: true, ..destination::Splunk::default() };
    let pair = splunk(Splunk::new(SECRET).with_acknowledgement(8), config).await;
    let events = batch(&*pair.sink, 0, 3, 10);
    let failure = pair.sink.send(&events, NOW).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Temporary { .. }), "{failure:?}");
    pair.sink.send(&events, NOW).await.unwrap();
    assert_eq!(pair.receiver.ids(), ids(0..3));
}

#[tokio::test]
async fn a_revoked_token_is_renewed_once() {
    let pair = azure_sentinel().await;
    let events = batch(&*pair.sink, 0, 3, 10);
    pair.sink.send(&events, NOW).await.unwrap();
    pair.receiver.protocol().revoke();
    pair.sink.send(&events, NOW).await.unwrap();
    assert_eq!(pair.receiver.protocol().tokens(), 2);
    pair.receiver.protocol().revoke();
    pair.receiver.protocol().set_secret("another");
    let failure = pair.sink.send(&events, NOW).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(failure.message.starts_with("no token: "), "{failure:?}");
    pair.receiver.protocol().set_secret(SECRET);
    pair.receiver.protocol().set_role(false);
    let failure = pair.sink.send(&events, NOW).await.unwrap_err();
    assert_eq!((failure.kind, failure.http_status), (FailureKind::Invalid, Some(403)));
}

#[tokio::test]
async fn signatures_are_those_of_standard_webhooks() {
    const SECRETS: [&str; 2] =
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQt"];
    let protocol = GenericHttps::new(SECRET, RequestForm::Json);
    let protocol = protocol.with_secret(SECRETS[0]).with_secret(SECRETS[1]);
    let receiver = Receiver::start(protocol).await;
    let config = destination::GenericHttps {
        url: receiver.url(),
        headers: vec!["authorization".to_owned()],
        gzip: true,
        ..destination::GenericHttps::default()
    };
    let destination = destination::Destination::GenericHttps(config);
    let stream = stream_to(destination, receiver.ca_pem());
    let bearer = format!("Bearer {SECRET}");
    let signing_secret = SECRETS.join(" ");
    let pairs = [("header:authorization", &*bearer), ("signing_secret", &*signing_secret)];
    let sink = open(&stream, &secrets(&pairs));
    let events = batch(&*sink, 0, 3, 10);
    sink.send(&events, NOW).await.unwrap();
    sink.send(&events, NOW.plus_seconds(60)).await.unwrap();
    sink.send(&events[..1], NOW).await.unwrap();
    let ids = receiver.protocol().message_ids().to_vec();
    assert!(ids[0].starts_with("msg_") && ids[0] == ids[1] && ids[0] != ids[2], "{ids:?}");
}

#[tokio::test]
async fn ocsf_is_sent_where_it_is_wanted() {
    let receiver = Receiver::start(GenericHttps::new(SECRET, RequestForm::Json)).await;
    let config = destination::GenericHttps {
        url: receiver.url(),
        headers: vec!["authorization".to_owned()],
        ..destination::GenericHttps::default()
    };
    let destination = destination::Destination::GenericHttps(config);
    let mut stream = stream_to(destination, receiver.ca_pem());
    stream.payload = PayloadForm::Ocsf;
    let bearer = format!("Bearer {SECRET}");
    let sink = open(&stream, &secrets(&[("header:authorization", &bearer)]));
    sink.send(&batch(&*sink, 0, 1, 10), NOW).await.unwrap();
    let accepted = receiver.accepted();
    assert_eq!(accepted[0]["class_uid"], 6_003);
    assert_eq!(accepted[0]["metadata"]["uid"], id(0));
}
