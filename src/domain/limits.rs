//! Every limit of the contract, in one place. The proto comments state the same numbers;
//! `tests/contract.rs` holds them together.

/// Longest id of an actor or a target, in characters.
pub const ID_CHARS: usize = 1_024;
/// Longest type of an actor or a target, in characters.
pub const TYPE_CHARS: usize = 255;
/// Longest display name in an event, and longest location, in characters.
pub const NAME_CHARS: usize = 1_024;
/// Longest user agent, in characters.
pub const USER_AGENT_CHARS: usize = 2_048;
/// Longest action name, idempotency key, organization name or key name, in characters.
pub const SHORT_TEXT_CHARS: usize = 255;
/// Longest reason of a legal hold, in characters.
pub const HOLD_REASON_CHARS: usize = 500;
/// Longest organization id, in characters.
pub const ORGANIZATION_ID_CHARS: usize = 128;

/// Longest external id of an organization, in characters (WorkOS documentation, external identifiers).
pub const EXTERNAL_ID_CHARS: usize = 64;
/// Longest value in an organization's metadata, in characters (WorkOS API description, organizations).
pub const ORGANIZATION_METADATA_VALUE_CHARS: usize = 600;
/// Most domains of one organization.
pub const ORGANIZATION_DOMAINS: usize = 50;
/// Longest domain name, in characters of its text form (RFC 1035, section 2.3.4).
pub const DOMAIN_CHARS: usize = 253;

/// Most keys in one metadata object (WorkOS API description, audit-log events).
pub const METADATA_KEYS: usize = 50;
/// Longest metadata key, in characters.
pub const METADATA_KEY_CHARS: usize = 40;
/// Longest metadata string value, in characters.
pub const METADATA_VALUE_CHARS: usize = 500;
/// Largest magnitude of a metadata number: 2^53, up to which a double holds every integer
/// (RFC 7493, section 2.2).
pub const METADATA_NUMBER: f64 = 9_007_199_254_740_992.0;

/// Most targets of one event.
pub const TARGETS: usize = 100;
/// Largest canonical event, in bytes.
pub const EVENT_BYTES: usize = 256 * 1_024;
/// Most events of one batch.
pub const BATCH_EVENTS: usize = 1_000;
/// How far `occurred_at` may be ahead of the service's clock, in days.
pub const FUTURE_DAYS: i64 = 366;

/// Most target types of one schema.
pub const SCHEMA_TARGETS: usize = 50;
/// Largest schema, in bytes of canonical JSON.
pub const SCHEMA_BYTES: usize = 64 * 1_024;
/// Most regular expressions of one schema: each takes memory as long as the schema is in use.
pub const SCHEMA_PATTERNS: usize = 32;
/// Deepest nesting of a JSON Schema; metadata is flat, so two levels would do.
pub const SCHEMA_DEPTH: usize = 8;

/// Most values of one filter list.
pub const FILTER_VALUES: usize = 100;
/// Largest page.
pub const PAGE: u32 = 100;
/// Page size when none is asked for.
pub const PAGE_DEFAULT: u32 = 10;
/// A page ends early after this many bytes of JSON. gRPC clients receive 4 MiB by default, and
/// protobuf's `Struct` takes up to six times the bytes of the JSON it stands for (a list of digits).
pub const PAGE_BYTES: usize = 640 * 1_024;

/// Most organizations that a key can be limited to.
pub const KEY_ORGANIZATIONS: usize = 100;
/// How long a download link lives, in seconds.
pub const DOWNLOAD_SECONDS: i64 = 600;

/// Most exports of one organization that are still to be written.
pub const PENDING_EXPORTS: u64 = 100;
/// Most log streams of one organization.
pub const LOG_STREAMS: u64 = 5;
/// Most further headers of requests to a destination.
pub const DESTINATION_HEADERS: usize = 20;
/// Longest URL, path or other text of a destination's configuration, in characters.
pub const DESTINATION_TEXT_CHARS: usize = 2_048;
/// Longest secret of a destination, in bytes; a private key is the longest.
pub const SECRET_BYTES: usize = 16 * 1_024;
/// Longest list of further certificate authorities, in bytes.
pub const CA_CERTIFICATES_BYTES: usize = 64 * 1_024;
/// Most brokers that a Kafka destination names.
pub const BROKERS: usize = 20;
/// Most dead letters that one call names.
pub const REDRIVES: usize = 1_000;
