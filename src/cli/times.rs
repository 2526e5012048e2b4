//! Times in arguments.

use prost_types::Timestamp as ProtoTime;

use crate::domain::timestamp::Timestamp;

/// Reads the time or the date (its start, in UTC) of an argument.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let midnight = format!("{text}T00:00:00Z");
    Timestamp::parse_rfc3339(text)
        .or_else(|| Timestamp::parse_rfc3339(&midnight))
        .ok_or_else(|| "give a time such as 2026-01-31T12:00:00Z or a date".to_owned())
}

/// The time as a message has it.
pub(super) fn proto_time(instant: Timestamp) -> ProtoTime {
    ProtoTime { seconds: instant.seconds(), nanos: instant.subsecond_nanos() }
}
