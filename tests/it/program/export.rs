//! `export`, against a server that runs.

use std::io::{Read, Write};

use audit_logs::proto::v1::BatchCreateEventsRequest;

use super::process::{Outcome, Program, Server};
use crate::support::{Engine, create_event, on_every_engine, schema_for, server::ROOT_KEY};

on_every_engine!(the_file_is_whole, only_what_was_asked_for_is_in_the_file);

const EVENTS: usize = 250;
const HEADER: &str = "id,organization_id,action,version,occurred_at,received_at,actor_id,\
                      actor_type,actor_name,actor_metadata,targets,context_location,\
                      context_user_agent,metadata,sequence";

/// A server with some events of the organization acme.
async fn server_with_events(program: &Program) -> Server {
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_action_schema(schema_for("doc.write")).await.unwrap();
    let action = |number: usize| if number.is_multiple_of(5) { "doc.write" } else { "doc.read" };
    let requests = (0..EVENTS).map(|number| create_event("acme", action(number))).collect();
    let request = BatchCreateEventsRequest { requests, atomic: true };
    client.batch_create_events(request).await.unwrap();
    server
}

/// Runs `export` into `out.csv`; later options win.
async fn export(program: &Program, server: &str, options: &[&str]) -> Outcome {
    let mut arguments = vec!["export", "--from", "2026-01-01", "--to", "2026-02-01"];
    for (flag, value) in [
        ("--server", server),
        ("--api-key", ROOT_KEY),
        ("--organization", "acme"),
        ("--output", "out.csv"),
    ] {
        if !options.contains(&flag) {
            arguments.extend([flag, value]);
        }
    }
    arguments.extend(options);
    program.run(&arguments).await
}

/// A place to run `export` in, apart from the server's.
async fn elsewhere() -> Program {
    let program = Program::on(Engine::Sqlite).await;
    program.without("AUDIT_LOGS_DATA_DIR").without("AUDIT_LOGS_LISTEN")
}

async fn the_file_is_whole(engine: Engine) {
    let program = Program::on(engine).await;
    let server = server_with_events(&program).await;
    let client = elsewhere().await;
    let said = export(&client, &server.url, &[]).await.expect_success();
    assert_eq!(client.files_in("."), ["out.csv"]);
    let text = std::fs::read_to_string(client.path("out.csv")).unwrap();
    assert_eq!(text.lines().next(), Some(HEADER));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let sequences: Vec<usize> =
        reader.records().map(|row| row.unwrap()[14].parse().unwrap()).collect();
    assert_eq!(sequences, (0..EVENTS).collect::<Vec<_>>());
    let summary = format!("{EVENTS} events, {} bytes: out.csv\n", text.len());
    assert_eq!(said, summary);
}

async fn only_what_was_asked_for_is_in_the_file(engine: Engine) {
    let program = Program::on(engine).await;
    let server = server_with_events(&program).await;
    let client = elsewhere().await.with("AUDIT_LOGS_SERVER", &server.url);
    let client = client.with("AUDIT_LOGS_API_KEY", ROOT_KEY);
    let common = ["export", "--organization", "acme", "--output", "out.csv"];
    for (options, expected) in [
        (["--from", "2026-01-01", "--to", "2026-02-01", "--actions", "doc.write"], EVENTS / 5),
        (["--from", "2026-01-01", "--to", "2026-02-01", "--actor-ids", "nobody,none"], 0),
        (["--from", "2026-01-02", "--to", "2026-01-03", "--target-types", "document"], EVENTS),
        (["--from", "2026-01-02T03:04:06Z", "--to", "2026-02-01", "--actions", "doc.read"], 0),
    ] {
        let said = client.run(&[&common[..], &options].concat()).await.expect_success();
        assert!(said.starts_with(&format!("{expected} events, ")), "{options:?}: {said}");
        let text = std::fs::read_to_string(client.path("out.csv")).unwrap();
        assert_eq!(text.lines().count(), expected + 1, "{options:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_one_line_and_leaves_no_file() {
    let program = Program::on(Engine::Sqlite).await;
    let server = server_with_events(&program).await;
    let client = elsewhere().await;
    let nowhere = format!("http://127.0.0.1:{}", crate::support::postgres::free_port());
    let narrow = program.run(&["keys", "create", "--name", "x", "--scopes", "events:read"]).await;
    let narrow = narrow.expect_success();
    for (options, named) in [
        (&["--api-key", "sk_wrong"][..], "the API key is unknown or revoked"),
        (&["--api-key", "line\nbreak"], "API key"),
        (&["--api-key", narrow.trim()], "lacks the scope exports"),
        (&["--organization", "nobody"], "Organization not found: 'nobody'"),
        (&["--organization", "no such id"], "organization_id"),
        (&["--from", "2026-02-01", "--to", "2026-01-01"], "range_end"),
        (&["--server", &nowhere], &nowhere),
        (&["--server", "no url"], "no url"),
        (&["--output", "no/such/directory.csv"], "no/such/directory.csv"),
        (&["--output", ".."], "output"),
    ] {
        let mut with_range = options.to_vec();
        // A flag can be given once: the usual range goes away where the case has its own.
        let outcome = if options.contains(&"--from") {
            with_range.extend(["--server", &server.url, "--api-key", ROOT_KEY]);
            with_range.extend(["--organization", "acme", "--output", "out.csv"]);
            client.run(&[&["export"], &with_range[..]].concat()).await
        } else {
            export(&client, &server.url, options).await
        };
        assert_eq!(outcome.stdout, "", "{options:?}");
        let message = outcome.expect_refusal();
        assert!(message.contains(named), "{options:?}: {message}");
        assert!(!message.contains("sk_"), "{message}");
        assert_eq!(client.files_in("."), [""; 0], "{options:?}");
    }
}

/// Answers every request with the beginning of a file, and breaks off.
fn breaks_off() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 1_024];
            let _ = connection.read(&mut request);
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nid,org");
        }
    });
    url
}

#[tokio::test]
async fn a_download_that_breaks_off_leaves_what_was_there() {
    let program = Program::on(Engine::Sqlite).await.with("AUDIT_LOGS_PUBLIC_URL", &breaks_off());
    let server = server_with_events(&program).await;
    let client = elsewhere().await;
    client.write("out.csv", "the export of yesterday");
    let message = export(&client, &server.url, &[]).await.expect_refusal();
    assert!(message.contains("broke off"), "{message}");
    assert_eq!(client.files_in("."), ["out.csv"]);
    let kept = std::fs::read_to_string(client.path("out.csv")).unwrap();
    assert_eq!(kept, "the export of yesterday");
}
