//! The methods that are told apart by name, held against the contract.

use std::collections::BTreeSet;

use audit_logs::{
    proto::DESCRIPTORS,
    transport::capacity::{LASTING, TAKING},
};
use prost::Message;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};

/// The paths of the methods of the contract that are so.
fn methods(are: impl Fn(&MethodDescriptorProto) -> bool) -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut paths = BTreeSet::new();
    for file in &set.file {
        for service in &file.service {
            let methods = service.method.iter().filter(|method| are(method));
            let prefix = format!("/{}.{}/", file.package(), service.name());
            paths.extend(methods.map(|method| format!("{prefix}{}", method.name())));
        }
    }
    paths
}

fn ours(list: &[&str]) -> BTreeSet<String> {
    let ours = list.iter().filter(|path| path.starts_with("/auditlogs."));
    ours.map(ToString::to_string).collect()
}

#[test]
fn streams_are_told_from_calls() {
    assert_eq!(ours(&LASTING), methods(|m| m.server_streaming() || m.client_streaming()));
    assert_eq!(ours(&TAKING), methods(MethodDescriptorProto::client_streaming));
}
