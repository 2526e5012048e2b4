//! Compiles the protobuf contract without protoc: `protox` parses, `tonic-prost-build` generates.

use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 6] = [
    "auditlogs/v1/audit_logs_service.proto",
    "auditlogs/v1/organizations_service.proto",
    "auditlogs/v1/log_streams_service.proto",
    "auditlogs/v1/api_keys_service.proto",
    "auditlogs/v1/transparency_log_service.proto",
    // So that clients can read error details through reflection.
    "google/rpc/error_details.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=third_party/proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto", "third_party/proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(FILES)?;

    // Reflection serves these bytes: they keep the custom options (`google.api.http`), which the
    // typed form used for code generation drops.
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    let mut descriptors = compiler.file_descriptor_set();
    descriptors.file.retain(|file| file.package() != "google.api");
    tonic_prost_build::configure()
        // So that equal messages have equal bytes.
        .btree_map(".auditlogs")
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .compile_fds(descriptors)?;
    Ok(())
}
