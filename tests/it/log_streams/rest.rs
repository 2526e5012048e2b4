//! Log streams over REST: what they do and how they refuse, with the same service behind as over gRPC.

use audit_logs::proto::v1::LogStreamState;
use serde_json::{Value, json};

use super::support::{
    TOKEN, datadog_receiver, https_receiver, record, server, until_next, until_state,
};
use crate::{
    receivers::{Fault, Receiver},
    rest::calls::{Answer, Rest},
    support::{Engine, on_every_engine, server::ROOT_KEY, until},
};

on_every_engine!(
    a_stream_lives_over_rest,
    dead_letters_are_listed_and_sent_again,
    what_is_wrong_is_named_by_its_field,
);

/// A stream of acme to a receiver of requests.
fn stream_to<P: crate::receivers::Protocol>(receiver: &Receiver<P>) -> Value {
    let authorization = format!("Bearer {TOKEN}");
    json!({
        "organization_id": "acme",
        "name": "archive",
        "type": "GenericHttps",
        "config": {"url": receiver.url(), "headers": {"Authorization": authorization}},
        "ca_certificates_pem": receiver.ca_pem(),
    })
}

/// Creates a stream; returns its path.
async fn created(rest: &Rest, stream: Value) -> String {
    let answer = rest.post("/v1/log_streams", stream).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    format!("/v1/log_streams/{}", answer.body["id"].as_str().unwrap())
}

async fn ok(answer: impl Future<Output = Answer>) -> Value {
    let answer = answer.await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!answer.body.to_string().contains(TOKEN), "a secret: {}", answer.body);
    answer.body
}

async fn a_stream_lives_over_rest(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    let rest = Rest::new(&server);
    let path = created(&rest, stream_to(&receiver)).await;
    let id = path.rsplit('/').next().unwrap();
    let ids = record(&mut server.client().await, "acme", 3).await;
    until_next(&server, id, 3).await;
    let status = ok(rest.get(&format!("{path}/status"))).await;
    assert_eq!((&status["tree_size"], &status["lag_events"]), (&json!(3), &json!(0)), "{status}");
    let tested = ok(rest.post(&format!("{path}:test"), json!({}))).await;
    assert_eq!(tested["delivered"], true, "{tested}");
    let paused = ok(rest.post(&format!("{path}:pause"), json!({}))).await;
    assert_eq!(paused["state"], "inactive", "{paused}");
    let replayed = ok(rest.post(&format!("{path}:replay"), json!({"from_sequence": 1}))).await;
    assert_eq!(replayed["next_sequence"], 1, "{replayed}");
    let resumed = ok(rest.post(&format!("{path}:resume"), json!({}))).await;
    assert_eq!(resumed["state"], "active", "{resumed}");
    until("the end of the log came again", async || {
        receiver.ids().ends_with(&ids[1..]).then_some(()).filter(|()| receiver.count() >= 6)
    })
    .await;
    let renamed = ok(rest.put(&path, json!({"name": "SOC", "payload": "ocsf"}))).await;
    assert_eq!((&renamed["name"], &renamed["payload"]), (&json!("SOC"), &json!("ocsf")));
    let listed = ok(rest.get("/v1/log_streams?organization_id=acme")).await;
    assert_eq!(listed["data"][0], ok(rest.get(&path)).await);
    // The answer has no body, which `Rest` asks of every other.
    let url = format!("{}{path}", server.url);
    let client = reqwest::Client::builder().build().unwrap();
    let deleted = client.delete(url).bearer_auth(ROOT_KEY).send().await.unwrap();
    assert_eq!((deleted.status().as_u16(), deleted.content_length()), (204, Some(0)));
    assert_eq!(rest.get(&path).await.refusal(), (404, "entity_not_found"));
}

async fn dead_letters_are_listed_and_sent_again(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    let rest = Rest::new(&server);
    receiver.misbehave(Fault::TooLargeAbove(1), 2);
    let path = created(&rest, stream_to(&receiver)).await;
    let id = path.rsplit('/').next().unwrap();
    let ids = record(&mut server.client().await, "acme", 1).await;
    until_next(&server, id, 1).await;
    let letters = ok(rest.get(&format!("{path}/dead_letters?limit=1"))).await;
    assert_eq!(
        (&letters["data"][0]["event_id"], &letters["data"][0]["sequence"]),
        (&json!(ids[0]), &json!(0))
    );
    receiver.heal();
    let none =
        ok(rest.post(&format!("{path}/dead_letters:redrive"), json!({"sequences": [7]}))).await;
    assert_eq!(none["count"], 0);
    let redriven = ok(rest.post(&format!("{path}/dead_letters:redrive"), json!({}))).await;
    assert_eq!(redriven["count"], 1);
    until("nothing is dead any more", async || {
        let left = ok(rest.get(&format!("{path}/dead_letters"))).await;
        (left["data"] == json!([])).then_some(())
    })
    .await;
    assert_eq!(receiver.ids(), ids);
}

async fn what_is_wrong_is_named_by_its_field(engine: Engine) {
    let (server, receiver) = (server(engine).await, datadog_receiver().await);
    let rest = Rest::new(&server);
    let valid = json!({
        "organization_id": "acme",
        "type": "Datadog",
        "config": {"api_key": TOKEN, "endpoint": receiver.url()},
        "ca_certificates_pem": receiver.ca_pem(),
    });
    let with = |name: &str, value: Value| {
        let mut sent = valid.clone();
        sent[name] = value;
        sent
    };
    for (sent, field) in [
        (with("organization_id", json!("")), "organization_id"),
        (with("type", json!("Carrier pigeon")), "type"),
        (with("payload", json!("xml")), "payload"),
        (with("config", json!({"endpoint": receiver.url()})), "config.api_key"),
        (with("config", json!({"api_key": TOKEN, "region": "Mars"})), "config.region"),
        (
            with("config", json!({"api_key": TOKEN, "endpoint": "http://a.example"})),
            "config.endpoint",
        ),
        (with("from_sequence", json!(-1)), "from_sequence"),
    ] {
        let answer = rest.post("/v1/log_streams", sent).await;
        assert_eq!(answer.status, 422, "{field}: {}", answer.body);
        assert_eq!(answer.errors()[0].0, field, "{}", answer.body);
        assert!(!answer.body.to_string().contains(TOKEN));
    }
    let answer = rest.post("/v1/log_streams", with("organization_id", json!("nobody"))).await;
    assert_eq!(answer.refusal(), (404, "entity_not_found"));
    assert_eq!(ok(rest.get("/v1/log_streams")).await["data"], json!([]));
    let path = created(&rest, with("paused", json!(true))).await;
    until_state(&server, path.rsplit('/').next().unwrap(), LogStreamState::Inactive).await;
    for (sent, field) in [
        (json!({"payload": "xml"}), "payload"),
        (json!({"config": {"region": "EU1"}}), "config.api_key"),
        (json!({"name": "x".repeat(256)}), "name"),
    ] {
        let answer = rest.put(&path, sent).await;
        assert_eq!((answer.status, answer.errors()[0].0), (422, field), "{}", answer.body);
    }
    let answer = rest.post(&format!("{path}:replay"), json!({})).await;
    assert_eq!((answer.status, answer.errors()[0].0), (422, "from_sequence"), "{}", answer.body);
    let answer = rest.post(&format!("{path}:explode"), json!({})).await;
    assert_eq!(answer.status, 404, "{}", answer.body);
}
