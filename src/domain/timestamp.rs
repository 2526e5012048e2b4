//! Instants, as the service keeps them: microseconds since the Unix epoch, UTC.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// An instant in microseconds since the Unix epoch. Finer digits are cut off before anything is
/// hashed, so that a value reads back from either engine as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const MICROS_PER_SECOND: i64 = 1_000_000;

impl Timestamp {
    /// 1900-01-01T00:00:00Z, the earliest `occurred_at`.
    pub const EARLIEST_EVENT: Self = Self(-2_208_988_800 * MICROS_PER_SECOND);

    /// The instant that many microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The instant so much later, at most the latest that there is.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// Whole milliseconds since the epoch; 0 before it (as ULIDs count).
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.div_euclid(1_000)).unwrap_or(0)
    }

    /// Whole seconds since the epoch.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// The part below a second, in nanoseconds.
    pub fn subsecond_nanos(self) -> i32 {
        i32::try_from(self.0.rem_euclid(MICROS_PER_SECOND) * 1_000).unwrap_or(0)
    }

    /// From seconds and nanoseconds, as `google.protobuf.Timestamp` has them. `None` outside the
    /// years 1 to 9999 or for nanoseconds outside 0..1,000,000,000.
    pub fn from_seconds_and_nanos(seconds: i64, nanos: i32) -> Option<Self> {
        if !(0..1_000_000_000).contains(&nanos) {
            return None;
        }
        let micros =
            seconds.checked_mul(MICROS_PER_SECOND)?.checked_add(i64::from(nanos / 1_000))?;
        Self(micros).in_calendar()
    }

    /// From RFC 3339 text, such as `2026-11-02T08:15:30.25+01:00`.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        Self::from_date_time(OffsetDateTime::parse(text, &Rfc3339).ok()?)
    }

    /// From a calendar instant. `None` outside the years 1 to 9999.
    pub fn from_date_time(instant: OffsetDateTime) -> Option<Self> {
        let micros = instant.unix_timestamp_nanos().div_euclid(1_000);
        Self(i64::try_from(micros).ok()?).in_calendar()
    }

    /// This instant, that many seconds later (earlier when negative); stops at the limits of i64.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(MICROS_PER_SECOND)))
    }

    fn in_calendar(self) -> Option<Self> {
        let year = self.date_time()?.year();
        (1..=9_999).contains(&year).then_some(self)
    }

    fn date_time(self) -> Option<OffsetDateTime> {
        OffsetDateTime::UNIX_EPOCH.checked_add(Duration::microseconds(self.0))
    }
}

/// `YYYY-MM-DDTHH:MM:SS.ffffffZ`, the form that is hashed and exported.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = self.date_time().ok_or(fmt::Error)?;
        let ((year, month, day), (hour, minute, second, micros)) =
            (instant.to_calendar_date(), instant.time().as_hms_micro());
        let month = u8::from(month);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_rfc3339(&text).ok_or_else(|| de::Error::custom("not an RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cuts_below_the_microsecond() {
        let instant = Timestamp::from_seconds_and_nanos(1, 123_456_999).unwrap();
        assert_eq!(instant.micros(), 1_123_456);
        assert_eq!(instant.to_string(), "1970-01-01T00:00:01.123456Z");
    }

    #[test]
    fn rejects_what_no_calendar_has() {
        assert_eq!(Timestamp::from_seconds_and_nanos(i64::MAX, 0), None);
        assert_eq!(Timestamp::from_seconds_and_nanos(0, -1), None);
        assert_eq!(Timestamp::from_seconds_and_nanos(0, 1_000_000_000), None);
        assert_eq!(Timestamp::parse_rfc3339("2026-06-31T00:00:00Z"), None);
    }

    #[test]
    fn earliest_event_is_1900() {
        assert_eq!(Timestamp::EARLIEST_EVENT.to_string(), "1900-01-01T00:00:00.000000Z");
    }

    proptest! {
        #[test]
        fn text_round_trips(micros in -62_135_596_800_000_000_i64..253_402_300_799_999_999) {
            let instant = Timestamp::from_micros(micros);
            prop_assert_eq!(Timestamp::parse_rfc3339(&instant.to_string()), Some(instant));
            let nanos = instant.subsecond_nanos();
            let again = Timestamp::from_seconds_and_nanos(instant.seconds(), nanos);
            prop_assert_eq!(again, Some(instant));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC*") {
            let _ = Timestamp::parse_rfc3339(&text);
        }
    }
}
