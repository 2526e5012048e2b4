//! What the program says of itself.

use super::process::Program;
use crate::support::Engine;

#[tokio::test]
async fn every_command_explains_itself() {
    let program = Program::on(Engine::Sqlite).await;
    for (command, mentioned) in [
        (
            &[][..],
            &[
                "serve",
                "migrate",
                "keys",
                "export",
                "tail",
                "verify",
                "demo",
                "bench",
                "backup",
                "health",
                "completions",
                "man",
                "AUDIT_LOGS_",
            ][..],
        ),
        (&["serve"], &["--migrate", "--listen", "127.0.0.1:50051", "AUDIT_LOGS_LISTEN"]),
        (&["migrate"], &["--database-url", "AUDIT_LOGS_DATABASE_URL", "postgres://"]),
        (&["keys"], &["create", "list", "revoke"]),
        (&["keys", "create"], &["--name", "--scopes", "--organizations", "--environment"]),
        (&["keys", "list"], &["--environment", "default"]),
        (&["keys", "revoke"], &["<ID>", "--environment"]),
        (&["export"], &["--organization", "--from", "--to", "AUDIT_LOGS_API_KEY", "Example"]),
        (
            &["tail"],
            &[
                "--organization",
                "--since",
                "15m",
                "--no-follow",
                "JSON Lines",
                "Ctrl-C",
                "Examples",
            ],
        ),
        (&["verify"], &["receipt", "export", "database"]),
        (&["verify", "export"], &["--manifest", "--checkpoint", "Exit code", "Example"]),
        (&["verify", "receipt"], &["--public-key", "--json", "Exit code", "Example"]),
        (&["verify", "database"], &["--since", "--organization", "Exit code", "Example"]),
        (&["backup"], &["--output", "-wal", "PostgreSQL", "Example"]),
        (&["health"], &["--server", "AUDIT_LOGS_SERVER", "--service", "Exit code", "Examples"]),
        (&["completions"], &["bash", "zsh", "fish", "Examples"]),
        (&["man"], &["--output", "audit-logs-serve.1", "Examples"]),
        (&["demo"], &["CloudTrail", "--output", "audit-logs-demo.csv"]),
        (&["bench"], &["--engine", "--quick", "--only", "--output", "COPY", "Examples"]),
    ] {
        let help = program.run(&[command, &["--help"]].concat()).await.expect_success();
        for words in mentioned {
            assert!(help.contains(words), "{command:?} does not mention {words}: {help}");
        }
        let short = program.run(&[command, &["-h"]].concat()).await.expect_success();
        assert!(short.contains("Usage:"), "{short}");
    }
    // Help touches nothing.
    assert!(program.files_in(".").is_empty());
}

#[tokio::test]
async fn the_value_of_a_secret_is_not_in_the_help() {
    let program = Program::on(Engine::Sqlite).await.with("AUDIT_LOGS_API_KEY", "sk_hunter2");
    let help = program.run(&["export", "--help"]).await.expect_success();
    assert!(help.contains("AUDIT_LOGS_API_KEY") && !help.contains("hunter2"), "{help}");
}

#[tokio::test]
async fn the_version_is_that_of_the_package() {
    let program = Program::on(Engine::Sqlite).await;
    let version = program.run(&["--version"]).await.expect_success();
    assert_eq!(version, concat!("audit-logs ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[tokio::test]
async fn without_a_command_the_commands_are_listed() {
    let message = Program::on(Engine::Sqlite).await.run(&[]).await.expect_usage_error();
    assert!(message.contains("serve") && message.contains("demo"), "{message}");
}
