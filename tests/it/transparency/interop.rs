//! Our tiles and receipts, read by a program in another language that shares no code with us.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use audit_logs::proto::{DESCRIPTORS, v1::CreateEventRequest};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use super::{grow, key_of};
use crate::support::{
    Engine, TestServer, create_event, on_every_engine, schema_for, server::ROOT_KEY,
};

on_every_engine!(a_standard_tlog_client_reads_a_log, a_go_program_checks_a_receipt);

/// Where the program is, built once. `None`, outside of CI, if there is no Go.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/go");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tlog-interop");
    let mut build = Command::new("go");
    build.current_dir(sources).args(["build", "-mod=readonly", "-o"]).arg(&program).arg(".");
    match build.output() {
        Err(error) => {
            let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!in_ci, "go is needed in CI: {error}");
            eprintln!("skipped, because there is no go: {error}");
            None
        }
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(program)
        }
    }
}

/// Runs the program off the runtime's own threads, which the server needs.
async fn run(program: &'static Path, arguments: Vec<String>) -> Output {
    let run = move || Command::new(program).args(arguments).output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn said(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{error}")
}

async fn a_standard_tlog_client_reads_a_log(engine: Engine) {
    let Some(program) = program() else { return };
    let server = TestServer::start(engine).await;
    let key = key_of_new_log(&server).await;
    for (events, since) in [(1, 0), (255, 1), (1, 256), (343, 257)] {
        grow(&server, "acme", events).await;
        let arguments = ["log", &server.url, ROOT_KEY, "acme", &key, &since.to_string()];
        let output = run(program, arguments.map(str::to_owned).to_vec()).await;
        assert!(output.status.success(), "{}", said(&output));
        let expected = format!("{} entries are in the tree", since + events);
        assert!(said(&output).contains(&expected), "{}", said(&output));
    }
    // A tile that was tampered with is noticed.
    server
        .execute(
            "UPDATE log_tiles SET hashes = (SELECT hashes FROM log_tiles WHERE tile = 1) \
        WHERE tile = 0 AND level = 0",
        )
        .await;
    let arguments = ["log", &server.url, ROOT_KEY, "acme", &key, "0"];
    let output = run(program, arguments.map(str::to_owned).to_vec()).await;
    assert!(!output.status.success(), "{}", said(&output));
    // So is a key that is not the log's.
    let other = key.replace("acme", "beta");
    let arguments = ["log", &server.url, ROOT_KEY, "acme", &other, "0"];
    assert!(!run(program, arguments.map(str::to_owned).to_vec()).await.status.success());
}

/// The key of a log that is empty.
async fn key_of_new_log(server: &TestServer) -> String {
    let organization = audit_logs::proto::v1::OrganizationsCreateRequest {
        organization_id: "acme".into(),
        name: "Acme".into(),
        ..Default::default()
    };
    server.organizations().await.create(organization).await.unwrap();
    key_of(server, "acme").await.to_string()
}

/// The message in JSON, as grpcurl prints it.
fn json(name: &str, message: &impl Message) -> String {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let descriptor = pool.get_message_by_name(name).unwrap();
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).unwrap();
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::pretty(&mut text);
    message.serialize_with_options(&mut serializer, &SerializeOptions::new()).unwrap();
    String::from_utf8(text).unwrap()
}

async fn a_go_program_checks_a_receipt(engine: Engine) {
    let Some(program) = program() else { return };
    let server = TestServer::start(engine).await;
    grow(&server, "acme", 300).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let request = CreateEventRequest { receipt: true, ..create_event("acme", "doc.read") };
    let created = client.create_event(request).await.unwrap().into_inner();
    let key = key_of(&server, "acme").await.to_string();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("receipt.json");
    let check = async |text: &str| {
        std::fs::write(&file, text).unwrap();
        let arguments = vec!["receipt".to_owned(), file.display().to_string(), key.clone()];
        run(program, arguments).await
    };
    // The receipt alone, and the whole answer.
    let alone = json("auditlogs.v1.Receipt", created.receipt.as_ref().unwrap());
    for text in [&alone, &json("auditlogs.v1.CreateEventResponse", &created)] {
        let output = check(text).await;
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains(&created.event_id), "{}", said(&output));
    }
    let mut forged = created.receipt.unwrap();
    let at = forged.canonical_event.windows(4).position(|part| part == b"Mira").unwrap();
    forged.canonical_event[at] = b'L';
    let output = check(&json("auditlogs.v1.Receipt", &forged)).await;
    assert!(!output.status.success(), "{}", said(&output));
}
