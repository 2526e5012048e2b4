//! `--since`.

use std::str::FromStr;

use crate::{
    cli::times::{parse_time, proto_time},
    domain::timestamp::Timestamp,
    proto::v1::watch_events_request::Start,
};

/// Where to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// At a sequence.
    Sequence(u64),
    /// At a time.
    Time(Timestamp),
    /// So many seconds ago.
    Ago(i64),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(sequence) = text.parse() {
            return Ok(Self::Sequence(sequence));
        }
        if let Some(seconds) = seconds(text) {
            return Ok(Self::Ago(seconds));
        }
        parse_time(text).map(Self::Time).map_err(|_| {
            "give a sequence (42), a time (2026-01-31T12:00:00Z or a date), or how long ago \
             (30s, 15m, 2h, 7d)"
                .to_owned()
        })
    }
}

/// A number and a unit.
fn seconds(text: &str) -> Option<i64> {
    let unit_at = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at))?;
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    i64::from(number.parse::<u32>().ok()?).checked_mul(seconds)
}

impl Since {
    /// As the server is asked.
    pub fn start(self, now: Timestamp) -> Start {
        match self {
            Self::Sequence(sequence) => Start::FromSequence(sequence),
            Self::Time(time) => Start::FromTime(proto_time(time)),
            Self::Ago(seconds) => Start::FromTime(proto_time(now.plus_seconds(-seconds))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        let parse = Since::from_str;
        assert_eq!(parse("0"), Ok(Since::Sequence(0)));
        assert_eq!(parse("15m"), Ok(Since::Ago(900)));
        assert_eq!(parse("2h"), Ok(Since::Ago(7_200)));
        assert_eq!(parse("1w"), Ok(Since::Ago(604_800)));
        let midnight = Timestamp::from_seconds_and_nanos(1_769_817_600, 0).unwrap();
        assert_eq!(parse("2026-01-31"), Ok(Since::Time(midnight)));
        assert_eq!(parse("2026-01-31T01:00:00+01:00"), Ok(Since::Time(midnight)));
        for strange in ["", "m", "-1", "-5m", "1.5h", "15 m", "é", "yesterday", "99999999999d"] {
            assert!(parse(strange).is_err(), "{strange}");
        }
    }
}
