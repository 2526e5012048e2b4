//! The caller's deadline. tonic honours `grpc-timeout` itself, but answers CANCELLED; this answers
//! `DEADLINE_EXCEEDED` a moment earlier.

use std::time::Duration;

use axum::{extract::Request, middleware::Next, response::Response};
use tonic::Status;

use crate::service::error::Error;

/// How much earlier than tonic's own timer.
const MARGIN: Duration = Duration::from_millis(10);

/// Ends a call whose deadline passed. Covers the time until the answer begins; a stream that
/// outlives its deadline is ended by the client.
pub async fn enforce(request: Request, next: Next) -> Response {
    let header = request.headers().get("grpc-timeout").and_then(|value| value.to_str().ok());
    let Some(timeout) = header.and_then(parse) else { return next.run(request).await };
    let limit = timeout.saturating_sub(MARGIN);
    tokio::time::timeout(limit, next.run(request))
        .await
        .unwrap_or_else(|_| Status::from(Error::DeadlineExceeded).into_http())
}

/// Parses `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Requests").
fn parse(value: &str) -> Option<Duration> {
    let unit_at = value.len().checked_sub(1).filter(|at| value.is_char_boundary(*at))?;
    let (digits, unit) = value.split_at(unit_at);
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_hours(amount)),
        "M" => Some(Duration::from_mins(amount)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_every_unit() {
        assert_eq!(parse("2H"), Some(Duration::from_hours(2)));
        assert_eq!(parse("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for bad in ["", "S", "1", "100000000S", "-1S", "1x", "1é", "+1S"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
