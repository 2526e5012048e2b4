//! The generated side of the contract in `proto/auditlogs/v1`: messages, clients and servers.

/// Package `auditlogs.v1`. The documentation of each item is the comment in its proto file.
#[expect(clippy::pedantic, clippy::allow_attributes, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("auditlogs.v1");
}

/// The contract as an encoded `google.protobuf.FileDescriptorSet`, with imports, comments and custom
/// options, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
