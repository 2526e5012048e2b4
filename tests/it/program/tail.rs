//! `tail`, against a server that runs.

use audit_logs::proto::v1::CreateEventRequest;
use serde_json::{Value, json};
use tonic::Request;

use super::process::{Outcome, Process, Program};
use crate::{
    operations::proxy::{Line, Proxy},
    support::{
        Engine, TestServer, create_event, on_every_engine, schema_for, server::ROOT_KEY, until,
    },
};

on_every_engine!(
    it_tells_what_was_and_what_comes_and_ends_on_ctrl_c,
    it_resumes_by_itself,
    filters_and_starts_select,
    each_form_is_what_it_says,
);

/// A server with so many events of acme.
async fn server_with(engine: Engine, events: u64) -> TestServer {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    for action in ["doc.read", "doc.edited"] {
        client.create_action_schema(schema_for(action)).await.unwrap();
    }
    write(&server, events).await;
    server
}

async fn write(server: &TestServer, events: u64) {
    let mut client = server.client().await;
    for _ in 0..events {
        client.create_event(create_event("acme", "doc.read")).await.unwrap();
    }
}

/// A place to run `tail` in, pointed at that server.
async fn at(url: &str) -> Program {
    let program = Program::on(Engine::Sqlite).await;
    let program = program.without("AUDIT_LOGS_DATA_DIR").without("AUDIT_LOGS_LISTEN");
    program.with("AUDIT_LOGS_SERVER", url).with("AUDIT_LOGS_API_KEY", ROOT_KEY)
}

const TAIL: [&str; 3] = ["tail", "--organization", "acme"];

fn with<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [&TAIL[..], options].concat()
}

/// The events that were printed as JSON Lines, as far as they are whole.
fn events(text: &str) -> Vec<Value> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sequences(text: &str) -> Vec<u64> {
    events(text).iter().map(|event| event["sequence"].as_u64().unwrap()).collect()
}

async fn until_printed(tail: &mut Process, events: usize) {
    until("tail prints the events", async || {
        assert!(tail.exit().is_none(), "tail ended: {}", tail.stderr.text());
        (sequences(&tail.stdout.text()).len() >= events).then_some(())
    })
    .await;
}

async fn it_tells_what_was_and_what_comes_and_ends_on_ctrl_c(engine: Engine) {
    let server = server_with(engine, 3).await;
    for signal in ["INT", "TERM"] {
        let before = server.count("events").await.try_into().unwrap();
        let mut tail = at(&server.url).await.start(&with(&["--since", "0"]));
        until_printed(&mut tail, before).await;
        write(&server, 2).await;
        until_printed(&mut tail, before + 2).await;
        tail.signal(signal);
        let outcome = tail.outcome().await;
        assert_eq!(outcome.stderr, "");
        let printed = sequences(&outcome.expect_success());
        assert_eq!(printed, (0..before as u64 + 2).collect::<Vec<_>>());
    }
}

async fn it_resumes_by_itself(engine: Engine) {
    let server = server_with(engine, 20).await;
    let (mut proxy, url) = Proxy::open(&server.url).await;
    let mut tail = at(&url).await.start(&with(&["--since", "5"]));
    until_printed(&mut tail, 15).await;
    for round in 1..=3 {
        proxy.set(Line::Cut);
        until("tail says that it was cut off", async || {
            (tail.stderr.text().lines().count() >= round).then_some(())
        })
        .await;
        write(&server, 10).await;
        proxy.set(Line::Open);
        until_printed(&mut tail, 15 + round * 10).await;
    }
    tail.signal("INT");
    let outcome = tail.outcome().await;
    assert!(outcome.stderr.lines().all(|line| line.contains("; again in ")), "{outcome:?}");
    assert_eq!(sequences(&outcome.expect_success()), (5..50).collect::<Vec<_>>());
}

async fn filters_and_starts_select(engine: Engine) {
    let server = server_with(engine, 4).await;
    let mut client = server.client().await;
    let mut other: CreateEventRequest = create_event("acme", "doc.edited");
    other.event.as_mut().unwrap().actor.as_mut().unwrap().id = "someone".into();
    client.create_event(Request::new(other)).await.unwrap();
    let place = at(&server.url).await;
    for (options, expected) in [
        (&["--since", "0", "--no-follow"][..], vec![0, 1, 2, 3, 4]),
        (&["--since", "3", "--until-now"], vec![3, 4]),
        (&["--since", "5", "--no-follow"], vec![]),
        (&["--no-follow"], vec![]),
        (&["--since", "1h", "--no-follow"], vec![0, 1, 2, 3, 4]),
        (&["--since", "2026-01-01", "--no-follow"], vec![0, 1, 2, 3, 4]),
        (&["--since", "0", "--no-follow", "--action", "doc.edited"], vec![4]),
        (&["--since", "0", "--no-follow", "--actor-id", "someone", "--actor-id", "x"], vec![4]),
        (&["--since", "0", "--no-follow", "--target-type", "nothing"], vec![]),
    ] {
        let printed = place.run(&with(options)).await.expect_success();
        assert_eq!(sequences(&printed), expected, "{options:?}");
    }
}

async fn each_form_is_what_it_says(engine: Engine) {
    let server = server_with(engine, 0).await;
    let mut client = server.client().await;
    let mut request = create_event("acme", "doc.read");
    let event = request.event.as_mut().unwrap();
    event.actor.as_mut().unwrap().name = "Ada \u{202e}".into();
    let (location, occurred_at) = (event.context.clone().unwrap().location, event.occurred_at);
    let target = event.targets[0].clone();
    let created = client.create_event(request).await.unwrap().into_inner();
    let place = at(&server.url).await;

    let printed = place.run(&with(&["--since", "0", "--no-follow"])).await.expect_success();
    let line = events(&printed).remove(0);
    let time = |time: Option<prost_types::Timestamp>| {
        let time = time.unwrap();
        let time = audit_logs::domain::timestamp::Timestamp::from_seconds_and_nanos(
            time.seconds,
            time.nanos,
        );
        time.unwrap().to_string()
    };
    for (member, expected) in [
        ("/sequence", json!(0)),
        ("/id", json!(created.event_id)),
        ("/organization_id", json!("acme")),
        ("/created_at", json!(time(created.created_at))),
        ("/occurred_at", json!(time(occurred_at))),
        ("/leaf_hash", json!(hex::encode(created.leaf_hash))),
        ("/action", json!("doc.read")),
        ("/version", json!(1)),
        ("/actor/name", json!("Ada \u{202e}")),
        ("/targets/0/id", json!(target.id)),
        ("/targets/0/type", json!(target.r#type)),
        ("/context/location", json!(location)),
    ] {
        assert_eq!(line.pointer(member), Some(&expected), "{member}: {line}");
    }

    let printed = place.run(&with(&["--since", "0", "--no-follow", "--text"])).await;
    let printed = printed.expect_success();
    let line = printed.strip_suffix('\n').unwrap();
    assert!(!line.contains(['\n', '\u{1b}', '\u{202e}']), "{line}");
    let target = format!("-> {}:{}", target.r#type, target.id);
    for part in ["#0  ", "doc.read", r#""Ada \u{202e}""#, &*target, &*format!("@ {location}")] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_work_is_told_at_once() {
    let server = server_with(Engine::Sqlite, 1).await;
    let place = at(&server.url).await;
    let refused = async |options: &[&str]| -> String {
        let outcome: Outcome = place.run(&with(options)).await;
        assert_eq!(outcome.stdout, "");
        outcome.expect_refusal()
    };
    let wrong_key = refused(&["--api-key", &ROOT_KEY.replace('0', "1")]).await;
    assert!(wrong_key.contains("unknown or revoked") && !wrong_key.contains("sk_"), "{wrong_key}");
    let nowhere = refused(&["--server", "http://127.0.0.1:1"]).await;
    assert!(nowhere.contains("cannot connect to http://127.0.0.1:1"), "{nowhere}");
    let beyond = refused(&["--since", "7"]).await;
    assert!(beyond.contains("from_sequence"), "{beyond}");
    let unknown = place.run(&["tail", "--organization", "nobody"]).await.expect_refusal();
    assert!(unknown.contains("Organization not found: 'nobody'"), "{unknown}");
    let strange = place.run(&with(&["--since", "yesterday"])).await.expect_usage_error();
    assert!(strange.contains("15m"), "{strange}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_that_closes_ends_it_in_peace() {
    let server = server_with(Engine::Sqlite, 50).await;
    let script = format!(
        "{} tail --organization acme --server {} --api-key {ROOT_KEY} --since 0 | head -n 1; \
         echo \"${{PIPESTATUS[0]}}\"",
        env!("CARGO_BIN_EXE_audit-logs"),
        server.url,
    );
    let shell = std::process::Command::new("bash")
        .args(["-c", &script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut shell = Child(shell);
    // It notices when it writes the next time.
    until("tail ends", async || {
        write(&server, 1).await;
        shell.0.try_wait().unwrap()
    })
    .await;
    let mut printed = String::new();
    std::io::Read::read_to_string(shell.0.stdout.as_mut().unwrap(), &mut printed).unwrap();
    let (first, code) = printed.split_once('\n').unwrap();
    assert_eq!(serde_json::from_str::<Value>(first).unwrap()["sequence"], 0);
    assert_eq!(code.trim(), "0");
}

/// A child that does not outlive its test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        // Fails only if it ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
