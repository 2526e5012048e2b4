//! Times as the WorkOS SDKs send them, and as they read them.

use crate::domain::{event_draft::TimeDraft, timestamp::Timestamp};

/// Reads an ISO 8601 time: with `Z`, an offset or no zone at all (then UTC), with 0 to 9 digits of a
/// fraction, or a date alone (then midnight UTC). An empty text is no time.
pub fn parse_time(text: &str) -> TimeDraft {
    let text = text.trim();
    if text.is_empty() {
        return TimeDraft::Absent;
    }
    Timestamp::parse_rfc3339(&completed(text)).map_or(TimeDraft::Impossible, TimeDraft::At)
}

/// The RFC 3339 form of a time that may lack the clock, the zone or the colon of its offset.
fn completed(text: &str) -> String {
    const DATE: usize = "2026-11-02".len();
    const CLOCK: usize = "2026-11-02T08:15:30".len();
    if text.len() == DATE {
        return format!("{text}T00:00:00Z");
    }
    let Some(zone) = text.get(CLOCK..) else { return text.to_owned() };
    match zone.find(['Z', 'z', '+', '-']) {
        None => format!("{text}Z"),
        Some(at) => {
            let offset = &zone[at..];
            // `+0100` and `+01` are ISO 8601 too.
            match (offset.len(), offset.get(..3), offset.get(3..)) {
                (5, Some(hours), Some(minutes)) => {
                    format!("{}{hours}:{minutes}", &text[..CLOCK + at])
                }
                (3, _, _) => format!("{text}:00"),
                _ => text.to_owned(),
            }
        }
    }
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`: some SDKs read no other number of digits.
pub fn millis(instant: Timestamp) -> String {
    const MILLIS: usize = "2026-11-02T08:15:30.250".len();
    let mut text = instant.to_string();
    text.truncate(MILLIS);
    text.push('Z');
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(text: &str) -> Option<i64> {
        match parse_time(text) {
            TimeDraft::At(instant) => Some(instant.micros()),
            _ => None,
        }
    }

    #[test]
    fn takes_every_form_that_sdks_send() {
        let expected = Timestamp::parse_rfc3339("2026-11-02T08:15:30.25Z").unwrap().micros();
        for text in [
            "2026-11-02T08:15:30.250Z",
            "2026-11-02T08:15:30.25z",
            "2026-11-02T08:15:30.250000000Z",
            "2026-11-02T08:15:30.250+00:00",
            "2026-11-02T09:15:30.2500000+01:00",
            "2026-11-02T09:15:30.250+0100",
            "2026-11-02T09:15:30.250+01",
            "2026-11-02T03:15:30.250-0500",
            "2026-11-02T08:15:30.250",
            "2026-11-02 08:15:30.250",
            " 2026-11-02T08:15:30.250Z ",
        ] {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
        let midnight = Timestamp::parse_rfc3339("2026-11-02T00:00:00Z").unwrap().micros();
        assert_eq!(micros("2026-11-02"), Some(midnight));
        assert_eq!(micros("2026-11-02T00:00:00"), Some(midnight));
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in
            ["2026-06-31", "2022-06-31T15:51:23.604Z", "yesterday", "1793523900", "2026-1-1"]
        {
            assert!(matches!(parse_time(text), TimeDraft::Impossible), "{text}");
        }
        assert!(matches!(parse_time(" "), TimeDraft::Absent));
    }

    #[test]
    fn has_three_digits_always() {
        assert_eq!(millis(Timestamp::from_micros(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(millis(Timestamp::from_micros(1_999)), "1970-01-01T00:00:00.001Z");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*", mixed in "[0-9TZz:+. é-]{0,40}") {
            let _ = parse_time(&text);
            let _ = parse_time(&mixed);
        }
    }
}
