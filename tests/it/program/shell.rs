//! Completions and manual pages, which the command line makes of itself.

use std::process::Command;

use super::process::Program;
use crate::support::Engine;

const COMMANDS: [&str; 12] = [
    "serve",
    "migrate",
    "keys",
    "export",
    "tail",
    "verify",
    "backup",
    "health",
    "demo",
    "bench",
    "completions",
    "man",
];

/// Whether a shell takes the script; true where there is no such shell.
fn is_accepted(shell: &str, script: &str) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("script");
    std::fs::write(&file, script).unwrap();
    Command::new(shell).arg("-n").arg(file).status().is_ok_and(|status| status.success())
        || Command::new(shell).arg("--version").output().is_err()
}

#[tokio::test]
async fn completions_know_every_command() {
    let program = Program::on(Engine::Sqlite).await;
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = program.run(&["completions", shell]).await.expect_success();
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
        assert!(script.contains("database-url"), "{shell}");
        if matches!(shell, "bash" | "zsh" | "fish") {
            assert!(is_accepted(shell, &script), "{shell}");
        }
    }
    program.run(&["completions", "cmd"]).await.expect_usage_error();
    // What bash offers after `audit-logs ver`.
    let script = program.run(&["completions", "bash"]).await.expect_success();
    let asked = "COMP_WORDS=(audit-logs ver); COMP_CWORD=1; \
                 _audit__logs audit-logs ver audit-logs; echo ${COMPREPLY[@]}";
    let output = Command::new("bash").args(["-c", &format!("{script}\n{asked}")]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "verify\n");
}

#[tokio::test]
async fn every_command_has_a_manual_page() {
    let program = Program::on(Engine::Sqlite).await;
    let page = program.run(&["man"]).await.expect_success();
    assert!(page.contains(".TH audit-logs 1"), "{page}");
    program.run(&["man", "--output", "share/man1"]).await.expect_success();
    let pages = program.files_in("share/man1");
    for command in COMMANDS {
        assert!(page.contains(&format!("audit\\-logs\\-{}(1)", command.replace('-', "\\-"))));
        assert!(pages.contains(&format!("audit-logs-{command}.1")), "{command}: {pages:?}");
    }
    for page in ["audit-logs.1", "audit-logs-keys-create.1", "audit-logs-verify-database.1"] {
        assert!(pages.iter().any(|name| name == page), "{page}: {pages:?}");
    }
    assert!(!pages.iter().any(|name| name.contains("help")), "{pages:?}");
    program.write("file", "");
    let message = program.run(&["man", "--output", "file/man1"]).await.expect_refusal();
    assert!(message.contains("file/man1"), "{message}");
}
