//! `audit-logs backup` and `pg_dump`, beside a service that writes.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use super::{checkpoint, goes_on_from_there, load::Load};
use crate::{
    program::process::Program,
    support::{Engine, cluster, on_every_engine, postgres::empty_database},
};

on_every_engine!(a_copy_made_under_load_is_whole);

/// Copies the database of a program whose server writes, and gives a program over the restored copy.
async fn copied(program: &Program, engine: Engine) -> Program {
    match engine {
        Engine::Sqlite => {
            let copy = program.path("copy.db");
            let said = program.run(&["backup", "--output", "copy.db"]).await.expect_success();
            assert!(said.contains("copy.db") && said.contains("signing-key.pem"), "{said}");
            let restored = Program::over(None);
            fs::create_dir(restored.path("data")).unwrap();
            fs::copy(copy, restored.path("data/audit-logs.db")).unwrap();
            restored
        }
        Engine::Postgres => {
            let dump = program.path("dump");
            postgres_tool("pg_dump", &["--format=custom", "--file"], &dump, program.database_url());
            let url = empty_database().await;
            postgres_tool("pg_restore", &["--exit-on-error"], &dump, &url);
            Program::over(Some(url))
        }
    }
}

fn postgres_tool(name: &str, options: &[&str], file: &std::path::Path, url: &str) {
    let mut command = Command::new(cluster::tool(name));
    let output = command.args(options).arg(file).args(["--dbname", url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn a_copy_made_under_load_is_whole(engine: Engine) {
    let program = Program::on(engine).await;
    let server = program.serve().await;
    let load = Load::start(&server).await;
    // More than a tile of each log.
    load.wait_for(260).await;
    let older = checkpoint(&server, "acme").await;
    let known = load.acknowledged();
    let restored = copied(&program, engine).await;
    load.wait_for(20).await;
    let newer = checkpoint(&server, "acme").await;
    load.stop().await;
    server.stop().await.expect_success();
    // What is not in the database and must be kept beside it.
    fs::create_dir_all(restored.path("data")).unwrap();
    let key = "data/signing-key.pem";
    fs::copy(program.path(key), restored.path(key)).unwrap();
    let restored = restored.with("AUDIT_LOGS_BOOTSTRAP_API_KEY", crate::support::server::ROOT_KEY);
    goes_on_from_there(&restored, &known, &older, &newer).await;
}

#[tokio::test]
async fn a_copy_is_one_file_and_replaces_none() {
    let program = Program::on(Engine::Sqlite).await;
    let server = program.serve().await;
    program.run(&["backup", "--output", "copy.db"]).await.expect_success();
    let mode = fs::metadata(program.path("copy.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let verify = ["verify", "database", "--database-url", "sqlite://copy.db"];
    program.run(&verify).await.expect_success();
    assert_eq!(program.files_in("."), ["copy.db", "data"]);
    let before = fs::read(program.path("copy.db")).unwrap();
    for output in ["copy.db", "data", "nowhere/copy.db"] {
        let message = program.run(&["backup", "--output", output]).await.expect_refusal();
        assert!(message.contains(output), "{message}");
    }
    assert_eq!(fs::read(program.path("copy.db")).unwrap(), before);
    assert_eq!(program.files_in("."), ["copy.db", "data"]);
    server.stop().await.expect_success();
}

#[tokio::test]
async fn what_cannot_be_copied_is_said() {
    let program = Program::over(None);
    let message = program.run(&["backup", "--output", "copy.db"]).await.expect_refusal();
    assert!(message.contains("audit-logs.db"), "{message}");
    let postgres = program.with("AUDIT_LOGS_DATABASE_URL", "postgres://user:hunter2@127.0.0.1/x");
    let message = postgres.run(&["backup", "--output", "copy.db"]).await.expect_refusal();
    assert!(message.contains("pg_dump") && !message.contains("hunter2"), "{message}");
    // Nothing was made, not even a database.
    assert!(postgres.files_in(".").is_empty());
}
