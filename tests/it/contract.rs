//! The contract itself: everything is documented, and the limits it states are those of the code.

use std::{collections::BTreeSet, fs, path::Path};

use audit_logs::{domain::limits, proto::DESCRIPTORS};
use prost_reflect::{
    DescriptorPool,
    prost_types::{FileDescriptorProto, source_code_info::Location},
};

const PACKAGE: &str = "auditlogs.v1";
const PROTO_LINES: usize = 270;

/// RPCs for which HTTP/1.1 has no form.
const GRPC_ONLY: [&str; 2] = ["IngestEvents", "WatchEvents"];

fn pool() -> DescriptorPool {
    DescriptorPool::decode(DESCRIPTORS).unwrap()
}

fn own_files(pool: &DescriptorPool) -> Vec<&FileDescriptorProto> {
    pool.file_descriptor_protos().filter(|file| file.package() == PACKAGE).collect()
}

/// Paths (`SourceCodeInfo.Location.path`) of everything in a file that wants a comment.
fn documentable(file: &FileDescriptorProto) -> Vec<(Vec<i32>, String)> {
    let index = |index: usize| i32::try_from(index).unwrap();
    let mut all = Vec::new();
    for (m, message) in file.message_type.iter().enumerate() {
        all.push((vec![4, index(m)], message.name().to_owned()));
        for (f, field) in message.field.iter().enumerate() {
            let name = format!("{}.{}", message.name(), field.name());
            all.push((vec![4, index(m), 2, index(f)], name));
        }
    }
    for (e, enumeration) in file.enum_type.iter().enumerate() {
        all.push((vec![5, index(e)], enumeration.name().to_owned()));
        for (v, value) in enumeration.value.iter().enumerate() {
            all.push((vec![5, index(e), 2, index(v)], value.name().to_owned()));
        }
    }
    for (s, service) in file.service.iter().enumerate() {
        all.push((vec![6, index(s)], service.name().to_owned()));
        for (m, method) in service.method.iter().enumerate() {
            let name = format!("{}/{}", service.name(), method.name());
            all.push((vec![6, index(s), 2, index(m)], name));
        }
    }
    all
}

#[test]
fn everything_is_documented() {
    let pool = pool();
    let mut bare = Vec::new();
    for file in own_files(&pool) {
        let locations = &file.source_code_info.as_ref().unwrap().location;
        for (path, name) in documentable(file) {
            let location = locations.iter().find(|location| location.path == path);
            let comment = location.map(Location::leading_comments).unwrap_or_default();
            if comment.trim().is_empty() {
                bare.push(name);
            }
        }
    }
    assert!(bare.is_empty(), "without a comment: {bare:?}");
}

#[test]
fn every_rpc_has_a_rest_twin_and_messages_of_its_own() {
    let pool = pool();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let mut messages = BTreeSet::new();
    for service in pool.services().filter(|service| service.package_name() == PACKAGE) {
        for method in service.methods() {
            let has_twin = method.options().has_extension(&http);
            assert_eq!(has_twin, !GRPC_ONLY.contains(&method.name()), "{}", method.full_name());
            for message in [method.input(), method.output()] {
                let own = messages.insert(message.full_name().to_owned());
                assert!(own, "{} is used twice", message.full_name());
            }
        }
    }
    assert_eq!(messages.len(), 2 * (13 + 11 + 4 + 3 + 12));
}

/// The text of all protos, with white space and comment marks folded, so that a sentence can be
/// looked for wherever it wraps.
fn prose() -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/auditlogs/v1");
    let texts = fs::read_dir(directory).unwrap().map(|entry| {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.lines().count() <= PROTO_LINES);
        text
    });
    let all = texts.collect::<Vec<_>>().join("\n").replace("//", " ");
    all.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let split = digits.len().saturating_sub(3);
    if split == 0 { digits } else { format!("{},{}", &digits[..split], &digits[split..]) }
}

#[test]
fn stated_limits_are_those_that_are_enforced() {
    let prose = prose();
    let sentences = [
        format!("1 to {} characters", grouped(limits::ID_CHARS)),
        format!("1 to {} characters", grouped(limits::TYPE_CHARS)),
        format!("At most {} characters", grouped(limits::NAME_CHARS)),
        format!("At most {} characters", grouped(limits::USER_AGENT_CHARS)),
        format!("At most {} characters", grouped(limits::SHORT_TEXT_CHARS)),
        format!("Optional. At most {} characters", limits::HOLD_REASON_CHARS),
        format!("At most {} keys", limits::METADATA_KEYS),
        format!("[a-zA-Z0-9_-]{{1,{}}}", limits::METADATA_KEY_CHARS),
        format!("a string of at most {} characters", limits::METADATA_VALUE_CHARS),
        format!("in the caller's order. At most {}.", limits::TARGETS),
        format!("at most {} KiB. message Event", limits::EVENT_BYTES / 1_024),
        format!("1 to {}. Whole messages", grouped(limits::BATCH_EVENTS)),
        format!("until {} days ahead", limits::FUTURE_DAYS),
        format!("1 to {}, each type once", limits::SCHEMA_TARGETS),
        format!("at most {} KiB of JSON", limits::SCHEMA_BYTES / 1_024),
        format!("at most {} in a whole schema", limits::SCHEMA_PATTERNS),
        format!("list has at most {} values", limits::FILTER_VALUES),
        format!("1 to {}, 0 means {}", limits::PAGE, limits::PAGE_DEFAULT),
        format!("At most {}, each of which must exist", limits::KEY_ORGANIZATIONS),
        format!("Lives {} minutes", limits::DOWNLOAD_SECONDS / 60),
        format!("At most {} characters, no control characters. Unique", limits::EXTERNAL_ID_CHARS),
        format!("At most {} keys of 1 to", limits::METADATA_KEYS),
        format!("keys of 1 to {} characters", limits::METADATA_KEY_CHARS),
        format!("value has at most {} characters", limits::ORGANIZATION_METADATA_VALUE_CHARS),
        format!("domains. Optional. At most {}, each once", limits::ORGANIZATION_DOMAINS),
        format!("At most {} characters in two labels or more", limits::DOMAIN_CHARS),
        format!("[A-Za-z0-9_.:-]{{0,{}}}", limits::ORGANIZATION_ID_CHARS - 1),
        format!("is forwarded. Required. At most {} streams each", limits::LOG_STREAMS),
        format!("At most {} KiB. Default: only those", limits::CA_CERTIFICATES_BYTES / 1_024),
        format!("Their values are secret. At most {}", limits::DESTINATION_HEADERS),
        format!("`host:port`. Required. At most {}", limits::BROKERS),
        format!("Empty means all. At most {}", grouped(limits::REDRIVES)),
    ];
    for sentence in sentences {
        assert!(prose.contains(&sentence), "the protos do not say: {sentence}");
    }
    assert!((limits::METADATA_NUMBER - 2_f64.powi(53)).abs() < f64::EPSILON);
}
