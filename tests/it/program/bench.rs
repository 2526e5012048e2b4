//! `bench`: whether it measures at all, in a few tenths of a second each; never how fast anything is.

use serde_json::Value;

use super::process::Program;
use crate::support::{Engine, on_every_engine};

on_every_engine!(every_contender_stores_events);

/// Where the benchmark may leave nothing behind.
async fn place(engine: Engine) -> (Program, Vec<String>) {
    let program = Program::on_nothing(engine).await;
    std::fs::create_dir(program.path("scratch")).unwrap();
    let scratch = program.path("scratch").display().to_string();
    let mut arguments = vec!["bench".to_owned(), "--data-dir".to_owned(), scratch];
    match engine {
        Engine::Sqlite => arguments.extend(["--engine", "sqlite"].map(str::to_owned)),
        Engine::Postgres => {
            let url = program.database_url().to_owned();
            arguments.extend(["--engine", "postgres", "--database-url"].map(str::to_owned));
            arguments.push(url);
        }
    }
    // A short PATH is enough for sh and id.
    let path = std::env::var("PATH").unwrap();
    (program.with("PATH", &path), arguments)
}

async fn every_contender_stores_events(engine: Engine) {
    let (program, mut arguments) = place(engine).await;
    arguments.extend(
        ["--quick", "--only", "create,receipts", "--seconds", "0.2", "--output", "out"]
            .map(str::to_owned),
    );
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let printed = program.run(&arguments).await.expect_success();

    let written = std::fs::read_to_string(program.path("out/performance.md")).unwrap();
    assert_eq!(printed.trim(), written.trim());
    for part in ["## Goals", "rate to that of peer 1", "One event per call", "synchronous"] {
        assert!(written.contains(part), "{part}: {written}");
    }
    let json = std::fs::read(program.path("out/performance.json")).unwrap();
    let report: Value = serde_json::from_slice(&json).unwrap();
    let section = &report["engines"][0]["sections"][0];
    let points = section["points"].as_array().unwrap();
    for contender in ["CreateEvent", "peer 1", "peer 2", "limit"] {
        let alone = points
            .iter()
            .find(|point| point["contender"] == contender && point["situation"] == "1")
            .unwrap();
        assert!(alone["rounds"][0]["per_second"].as_f64().unwrap() > 0.0, "{alone}");
    }
    assert!(!section["goals"].as_array().unwrap().is_empty());
    // Databases, servers' files and logs are gone.
    assert_eq!(program.files_in("scratch"), [""; 0]);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let (program, _) = place(Engine::Sqlite).await;
    let message = program.run(&["bench", "--only", "speed"]).await.expect_usage_error();
    assert!(message.contains("speed") && message.contains("organizations"), "{message}");
    let arguments = ["bench", "--database-url", "sqlite://x.db"];
    let message = program.run(&arguments).await.expect_refusal();
    assert!(message.contains("--database-url"), "{message}");
    let nowhere = "postgres://nobody:secret@127.0.0.1:1/none";
    let arguments = ["bench", "--engine", "postgres", "--database-url", nowhere];
    let message = program.run(&arguments).await.expect_refusal();
    assert!(message.contains("PostgreSQL") && !message.contains("secret"), "{message}");
}
