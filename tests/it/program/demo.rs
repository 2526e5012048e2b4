//! `demo`: the whole service in one process, as somebody new to it tries it.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use super::process::Program;
use crate::support::{Engine, on_every_engine};

on_every_engine!(the_sample_goes_in_and_comes_out, a_gzip_file_goes_in_and_comes_out);

const SAMPLE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/cloudtrail-sample.ndjson"));

/// A place to try the demo in: whatever it leaves behind is there to be seen.
async fn place(engine: Engine) -> Program {
    let program = Program::on_nothing(engine).await.without("AUDIT_LOGS_DATA_DIR");
    std::fs::create_dir(program.path("tmp")).unwrap();
    let tmp = program.path("tmp").display().to_string();
    program.with("TMPDIR", &tmp)
}

/// Checks that a file has each record of the sample once, in the order of time.
fn expect_every_record(program: &Program, file: &str) {
    let mut reader = csv::Reader::from_path(program.path(file)).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), SAMPLE.lines().count());
    let times: Vec<_> = rows.iter().map(|row| row[4].to_owned()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let mut expected: Vec<_> = SAMPLE.lines().map(time_of).collect();
    expected.sort();
    assert_eq!(times, expected);
}

fn time_of(record: &str) -> String {
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    record["eventTime"].as_str().unwrap().replace('Z', ".000000Z")
}

async fn the_sample_goes_in_and_comes_out(engine: Engine) {
    let program = place(engine).await;
    let outcome = program.run(&["demo"]).await;
    assert!(outcome.stderr.is_empty(), "{outcome:?}");
    let said = outcome.expect_success();
    for part in ["60 acknowledged", "60 in audit-logs-demo.csv", "audit-logs serve"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    expect_every_record(&program, "audit-logs-demo.csv");
    assert_eq!(program.files_in("."), ["audit-logs-demo.csv", "tmp"]);
    assert_eq!(program.files_in("tmp"), [""; 0]);
    if engine == Engine::Postgres {
        // The database stays, so its key must not.
        let keys = program.run(&["keys", "list", "--environment", "demo"]).await.expect_success();
        assert!(!keys.contains("api_key_"), "{keys}");
    }
    // Once more, into another organization.
    program.run(&["demo", "--output", "again.csv"]).await.expect_success();
    expect_every_record(&program, "again.csv");
}

async fn a_gzip_file_goes_in_and_comes_out(engine: Engine) {
    let program = place(engine).await;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(SAMPLE.as_bytes()).unwrap();
    program.write("records.gz", encoder.finish().unwrap());
    program.run(&["demo", "records.gz", "-o", "out.csv"]).await.expect_success();
    expect_every_record(&program, "out.csv");
}

#[tokio::test]
async fn a_data_directory_that_was_named_is_kept() {
    let program = place(Engine::Sqlite).await;
    let arguments = ["demo", "--data-dir", "mine", "--output", "out.csv"];
    program.run(&arguments).await.expect_success();
    assert!(program.files_in("mine").contains(&"audit-logs.db".to_owned()));
    assert_eq!(program.files_in("tmp"), [""; 0]);
    // A service over the same directory goes on from there.
    let program = program.with("AUDIT_LOGS_DATA_DIR", "mine");
    program.serve().await.stop().await.expect_success();
    // The demo's key is gone: it would otherwise count as the first key of the database.
    let keys = program.run(&["keys", "list", "--environment", "demo"]).await.expect_success();
    assert!(!keys.contains("api_key_"), "{keys}");
}

#[tokio::test]
async fn a_demo_does_not_touch_a_service_that_runs() {
    let program = Program::on(Engine::Sqlite).await;
    let server = program.serve().await;
    let address = server.url.trim_start_matches("http://");
    let beside = place(Engine::Sqlite).await.with("AUDIT_LOGS_LISTEN", address);
    beside.run(&["demo"]).await.expect_success();
    expect_every_record(&beside, "audit-logs-demo.csv");
}

#[tokio::test]
async fn what_cannot_be_read_is_told_with_its_line() {
    let program = place(Engine::Sqlite).await;
    let first_lines: String = SAMPLE.split_inclusive('\n').take(3).collect();
    program.write("text.ndjson", "These are no records.\n");
    program.write("other.ndjson", first_lines.clone() + "{\"eventName\": \"x\"}\n");
    program.write("half.ndjson", first_lines.clone() + "{\"eventID\": ");
    program.write("delivered.json", "{\"Records\":[]}");
    program.write("broken.gz", [0x1f, 0x8b, 8, 0, 0]);
    for (file, expected) in [
        ("text.ndjson", "text.ndjson, line 1: not JSON"),
        ("other.ndjson", "other.ndjson, line 4: not a CloudTrail record"),
        ("half.ndjson", "half.ndjson, line 4: not JSON"),
        ("delivered.json", "jq -c '.Records[]'"),
        ("broken.gz", "broken.gz, line 1: cannot be read"),
        ("missing.ndjson", "cannot read missing.ndjson"),
        ("tmp", "tmp is no regular file"),
    ] {
        let outcome = program.run(&["demo", file]).await;
        assert_eq!(outcome.stdout, "");
        let message = outcome.expect_refusal();
        assert!(message.contains(expected), "{message}");
        assert!(!program.path("audit-logs-demo.csv").exists(), "{file}");
        assert_eq!(program.files_in("tmp"), [""; 0], "{file}");
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let program = place(Engine::Sqlite).await;
    let message = program.run(&["demo", "-o", "no/where.csv"]).await.expect_refusal();
    assert!(message.contains("no/where.csv"), "{message}");
    assert_eq!(program.files_in("tmp"), [""; 0]);
}
