//! The caller's deadline, `grpc-timeout`: a call that is past it is ended, and so is a stream.

use std::time::Duration;

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::body::Deadlined;
use crate::service::error::Error;

/// The longest deadline that is kept; with one that is further away a call has none.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// Ends a call whose deadline passed, before or after its answer began.
pub async fn enforce(request: Request, next: Next) -> Response {
    let header = request.headers().get("grpc-timeout").and_then(|value| value.to_str().ok());
    let limit = header.and_then(parse).filter(|limit| *limit < LONGEST);
    let Some(limit) = limit else { return next.run(request).await };
    let deadline = Instant::now() + limit;
    match timeout_at(deadline, next.run(request)).await {
        Ok(answer) => answer.map(|body| Body::new(Deadlined::new(body, deadline))),
        Err(_) => Status::from(Error::DeadlineExceeded).into_http(),
    }
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
