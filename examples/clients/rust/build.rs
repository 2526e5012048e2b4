//! Generates the client from the protos, without protoc: `protox` parses, `tonic-prost-build` writes.

use std::error::Error;
use std::fs;
use std::process::Command;

/// Copy its folders `proto` and `third_party/proto` beside your own sources, and change this.
const REPOSITORY: &str = "../../..";

fn main() -> Result<(), Box<dyn Error>> {
    let includes = ["proto", "third_party/proto"].map(|folder| format!("{REPOSITORY}/{folder}"));
    for folder in &includes {
        println!("cargo:rerun-if-changed={folder}");
    }
    let mut files = protox::compile(["auditlogs/v1/audit_logs_service.proto"], includes)?;
    // The annotations tell how the RPCs look over REST: of no use to a gRPC client.
    files.file.retain(|file| file.package() != "google.api");
    tonic_prost_build::configure()
        .build_server(false)
        // crates.io has these messages already, with all that reading error details needs.
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(files)?;
    println!("cargo:rustc-env=VERSIONS={}", versions()?);
    Ok(())
}

/// What the program says it is made with: libraries do not know their own versions at run time.
fn versions() -> Result<String, Box<dyn Error>> {
    println!("cargo:rerun-if-changed=Cargo.lock");
    let lock = fs::read_to_string("Cargo.lock")?;
    let version = |name: &str| {
        let (_, package) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        package.split('"').next()
    };
    let rustc = String::from_utf8(Command::new("rustc").arg("--version").output()?.stdout)?;
    let rust = rustc.split(' ').nth(1).ok_or("rustc told no version")?;
    let tonic = version("tonic").ok_or("no tonic in Cargo.lock")?;
    let prost = version("prost").ok_or("no prost in Cargo.lock")?;
    Ok(format!("Rust {rust}, tonic {tonic}, prost {prost}"))
}
