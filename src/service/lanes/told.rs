//! What a lane tells who waits for it, and what that becomes in their traces.

use std::time::SystemTime;

use opentelemetry::KeyValue;

use super::queue::Decision;
use crate::telemetry::{self, Links, Parent, Tracer};

/// What became of a submission.
#[derive(Debug)]
pub struct Told {
    /// Whether it was stored.
    pub decision: Decision,
    /// When, if traces are recorded.
    pub times: Option<Times>,
}

/// The way of a batch, as its spans tell it.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When the lane took it.
    taken: SystemTime,
    /// When it was durable, or had failed.
    ended: SystemTime,
    /// Events in it.
    events: usize,
}

impl Times {
    /// Of a batch of so many events that a lane just took.
    pub fn begin(events: usize) -> Self {
        let taken = telemetry::now();
        Self { taken, ended: taken, events }
    }

    /// Now it is durable, or has failed.
    pub fn end(&mut self) {
        self.ended = telemetry::now();
    }

    /// Records the commit as a trace of its own that leads to those it served.
    pub fn tell_batch(&self, tracer: &Tracer, links: Links, ok: bool) {
        let facts = vec![
            KeyValue::new("audit_logs.batch.events", count(self.events)),
            KeyValue::new("audit_logs.batch.stored", ok),
        ];
        tracer.finished("write batch", &Parent::NONE, self.taken, self.ended, facts, links);
    }

    /// Records the commit in the trace of the request that this task works for, and how long it waited
    /// for its lane: one span, since each costs every call about 2 % of its rate.
    pub fn tell_request(&self, since: SystemTime) {
        let Some(current) = telemetry::current() else { return };
        let waited = self.taken.duration_since(since).unwrap_or_default();
        let facts = vec![
            KeyValue::new("audit_logs.batch.events", count(self.events)),
            KeyValue::new("audit_logs.queue.seconds", waited.as_secs_f64()),
        ];
        let (tracer, parent) = (current.tracer(), current.parent());
        tracer.finished("commit", parent, self.taken, self.ended, facts, Links::default());
    }
}

fn count(events: usize) -> i64 {
    i64::try_from(events).unwrap_or(i64::MAX)
}
