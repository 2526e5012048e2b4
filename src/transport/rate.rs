//! How often one key may call: token buckets, filled evenly over a minute. Just inside of the gate, which
//! knows the key.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::DashMapStateStore,
};
use tonic::Status;

use crate::{
    domain::{caller::Caller, ids::ApiKeyId},
    service::error::Error,
};

/// Calls that write events. They are bounded by the queues of the lanes, so their rate need not be.
const EVENT_WRITES: [&str; 6] = [
    "/auditlogs.v1.AuditLogs/CreateEvent",
    "/auditlogs.v1.AuditLogs/BatchCreateEvents",
    "/auditlogs.v1.AuditLogs/IngestEvents",
    "/audit_logs/events",
    "/v1/events:batch",
    "/v1/events%3Abatch",
];
/// After so many calls, buckets that are full again are forgotten.
const SWEEP: u64 = 65_536;

type Buckets = RateLimiter<ApiKeyId, DashMapStateStore<ApiKeyId>, DefaultClock>;

/// The buckets of all keys.
pub struct Rates {
    writes: Option<Buckets>,
    others: Option<Buckets>,
    calls: AtomicU64,
}

impl Rates {
    /// So many calls in a minute that write events, and so many others; 0 for no limit.
    pub fn new(writes: u32, others: u32) -> Self {
        let buckets =
            |count| NonZeroU32::new(count).map(|most| Buckets::keyed(Quota::per_minute(most)));
        Self { writes: buckets(writes), others: buckets(others), calls: AtomicU64::new(0) }
    }

    /// Takes a token, or says when there will be one.
    fn take(&self, path: &str, key: &ApiKeyId) -> Result<(), Error> {
        let buckets = if EVENT_WRITES.contains(&path) { &self.writes } else { &self.others };
        let Some(buckets) = buckets else { return Ok(()) };
        if self.calls.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            buckets.retain_recent();
        }
        buckets.check_key(key).map_err(|early| {
            let wait = early.wait_time_from(DefaultClock::default().now());
            // Whole seconds, so that nobody comes a moment too early.
            Error::RateLimited(Duration::from_secs(wait.as_secs() + 1))
        })
    }

    fn pass(&self, request: &Request) -> Result<(), Error> {
        match request.extensions().get::<Caller>() {
            Some(caller) => self.take(request.uri().path(), &caller.key_id),
            // Health and reflection: they tell nothing of tenants and touch no database.
            None => Ok(()),
        }
    }
}

/// Bounds the rate of RPCs.
pub async fn of_rpc(State(rates): State<Arc<Rates>>, request: Request, next: Next) -> Response {
    match rates.pass(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => Status::from(error).into_http(),
    }
}

/// Bounds the rate of requests over HTTP.
pub async fn of_http(State(rates): State<Arc<Rates>>, request: Request, next: Next) -> Response {
    match rates.pass(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_by_key_and_by_kind() {
        let rates = Rates::new(1, 2);
        let keys = ["api_key_a", "api_key_b"].map(ApiKeyId::from_stored);
        for key in &keys {
            rates.take("/v1/events", key).unwrap();
            rates.take("/audit_logs/exports", key).unwrap();
            rates.take("/audit_logs/events", key).unwrap();
            let Err(Error::RateLimited(wait)) = rates.take("/v1/events", key) else {
                panic!("the third of two calls in a minute")
            };
            assert!((1..=31).contains(&wait.as_secs()), "{wait:?}");
            assert!(rates.take("/v1/events:batch", key).is_err(), "the second of one write");
        }
        assert!(Rates::new(0, 0).take("/v1/events", &keys[0]).is_ok());
    }
}
