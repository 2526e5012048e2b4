//! `keys`, beside a server that runs on the same database.

use audit_logs::proto::v1::ListEventsRequest;
use tonic::Code;

use super::process::Program;
use crate::support::{Engine, create_event, on_every_engine, schema_for, until};

on_every_engine!(
    a_key_is_made_listed_and_revoked,
    a_key_has_the_scopes_and_organizations_that_were_named,
    environments_are_kept_apart,
    what_cannot_be_a_key_is_refused_by_name,
);

/// The value of a new key: standard output, and nothing else is there.
async fn create(program: &Program, options: &[&str]) -> String {
    let arguments = [&["keys", "create", "--name", "the robot"], options].concat();
    let outcome = program.run(&arguments).await;
    assert!(!outcome.stderr.contains("sk_"), "{outcome:?}");
    let stdout = outcome.expect_success();
    let value = stdout.strip_suffix('\n').unwrap();
    assert!(value.starts_with("sk_") && value.len() == 46, "{stdout:?}");
    assert!(!value.contains(char::is_whitespace), "{stdout:?}");
    value.to_owned()
}

/// The line of the key with that value in `keys list`.
async fn listed(program: &Program, value: &str, options: &[&str]) -> Option<String> {
    let arguments = [&["keys", "list"], options].concat();
    let list = program.run(&arguments).await.expect_success();
    assert!(!list.contains("sk_"), "{list}");
    let hint = format!("...{} ", &value[value.len() - 4..]);
    list.lines().find(|line| line.contains(&hint)).map(str::to_owned)
}

async fn a_key_is_made_listed_and_revoked(engine: Engine) {
    let program = Program::on(engine).await;
    let server = program.serve().await;
    let value = create(&program, &[]).await;
    let mut client = server.client_as(&value).await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let line = listed(&program, &value, &[]).await.unwrap();
    for part in ["active", "the robot", "events:write", "keys"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let id = line.split(' ').next().unwrap();
    assert!(id.starts_with("api_key_"), "{line}");

    let said = program.run(&["keys", "revoke", id]).await.expect_success();
    assert!(said.contains(id) && said.contains("the robot"), "{said}");
    assert!(listed(&program, &value, &[]).await.unwrap().contains("revoked"));
    // The server remembers an accepted key for a moment.
    let refused = until("the server refuses the key", async || {
        client.create_event(create_event("acme", "doc.read")).await.err()
    })
    .await;
    assert_eq!(refused.code(), Code::Unauthenticated);
    // Once more, the same.
    program.run(&["keys", "revoke", id]).await.expect_success();
}

async fn a_key_has_the_scopes_and_organizations_that_were_named(engine: Engine) {
    let program = Program::on(engine).await;
    let server = program.serve().await;
    let mut root = server.client().await;
    root.create_action_schema(schema_for("doc.read")).await.unwrap();
    for organization in ["acme", "umbrella", "hooli"] {
        root.create_event(create_event(organization, "doc.read")).await.unwrap();
    }
    let options = ["--scopes", "events:write,events:read", "--organizations", "acme,umbrella"];
    let mut client = server.client_as(&create(&program, &options).await).await;
    for (organization, expected) in [("acme", Ok(())), ("hooli", Err(Code::NotFound))] {
        let written = client.create_event(create_event(organization, "doc.read")).await;
        assert_eq!(written.map(|_| ()).map_err(|status| status.code()), expected);
        let request =
            ListEventsRequest { organization_id: organization.into(), ..Default::default() };
        let read = client.list_events(request).await;
        assert_eq!(read.map(|_| ()).map_err(|status| status.code()), expected);
    }
    let beyond = client.create_action_schema(schema_for("doc.write")).await.unwrap_err();
    assert_eq!(beyond.code(), Code::PermissionDenied);
}

async fn environments_are_kept_apart(engine: Engine) {
    let program = Program::on(engine).await;
    let server = program.serve().await;
    let staging = ["--environment", "staging"];
    let value = create(&program, &staging).await;
    let mut client = server.client_as(&value).await;
    client.create_action_schema(schema_for("only.staging")).await.unwrap();
    let other = server.client().await.create_event(create_event("acme", "only.staging")).await;
    assert_eq!(other.unwrap_err().code(), Code::InvalidArgument);

    assert_eq!(listed(&program, &value, &[]).await, None);
    let line = listed(&program, &value, &staging).await.unwrap();
    let id = line.split(' ').next().unwrap();
    let message = program.run(&["keys", "revoke", id]).await.expect_refusal();
    assert!(message.contains(id), "{message}");
    client.create_event(create_event("initech", "only.staging")).await.unwrap();
    let message = program.run(&["keys", "list", "--environment", "stagin"]).await.expect_refusal();
    assert!(message.contains("stagin"), "{message}");
}

async fn what_cannot_be_a_key_is_refused_by_name(engine: Engine) {
    let program = Program::on(engine).await;
    for (options, named) in [
        (&["--scopes", "events:write,events:delete"][..], "events:read"),
        (&["--scopes", "keys,keys"], "scopes[1]"),
        (&["--organizations", "no such id"], "organization_ids[0]"),
        (&["--environment", ""], "environment"),
        (&["--scopes", "events:write,events:delete"], "scopes[1]"),
    ] {
        let arguments = [&["keys", "create", "--name", "x"], options].concat();
        let outcome = program.run(&arguments).await;
        assert_eq!(outcome.stdout, "");
        let message = outcome.expect_refusal();
        assert!(message.contains(named), "{message}");
    }
    let message = program.run(&["keys", "revoke", "api_key_none"]).await.expect_refusal();
    assert!(message.contains("api_key_none") || message.contains("default"), "{message}");
}
