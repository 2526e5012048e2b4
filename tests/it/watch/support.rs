//! A watcher with a notebook.

use std::time::Duration;

use audit_logs::{
    client::AuditLogs,
    proto::v1::{
        EventRecord, WatchEventsRequest, WatchEventsResponse, WatchHeartbeat,
        watch_events_request::Start, watch_events_response::Content,
    },
};
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

use crate::support::{TestServer, create_event, schema_for};

/// Longer than a heartbeat takes to come, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A request to watch `acme`.
pub fn watch_acme(start: Option<Start>) -> WatchEventsRequest {
    WatchEventsRequest { organization_id: "acme".into(), start, ..Default::default() }
}

/// From that sequence on.
pub fn from(sequence: u64) -> WatchEventsRequest {
    watch_acme(Some(Start::FromSequence(sequence)))
}

/// A client whose environment has the action `doc.read`, and `acme` with so many events of it.
pub async fn client_with_events(server: &TestServer, count: u64) -> AuditLogs {
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    write(&mut client, count).await;
    client
}

/// Records so many events of `acme`.
pub async fn write(client: &mut AuditLogs, count: u64) {
    use audit_logs::proto::v1::{BatchCreateEventsRequest, batch_create_events_result::Result};
    let mut left = count;
    while left > 0 {
        let now = left.min(500);
        let requests = (0..now).map(|_| create_event("acme", "doc.read")).collect();
        let request = BatchCreateEventsRequest { requests, atomic: true };
        let answer = client.batch_create_events(request).await.unwrap().into_inner();
        assert!(answer.results.iter().all(|r| matches!(r.result, Some(Result::Created(_)))));
        left -= now;
    }
}

/// A stream, and what was seen of it.
pub struct Seen {
    frames: Streaming<WatchEventsResponse>,
    /// Where the last frame said to resume.
    pub next: Option<u64>,
    /// The events, in the order in which they came.
    pub events: Vec<EventRecord>,
    /// The last heartbeat.
    pub heartbeat: Option<WatchHeartbeat>,
}

impl Seen {
    pub async fn start(client: &AuditLogs, request: WatchEventsRequest) -> Self {
        let frames = client.clone().watch_events(request).await.unwrap().into_inner();
        Self { frames, next: None, events: Vec::new(), heartbeat: None }
    }

    /// The next frame, noted; or how the stream ended.
    pub async fn frame(&mut self) -> Result<(), Status> {
        let frame = tokio::time::timeout(PATIENCE, self.frames.message()).await;
        let frame = frame.expect("a stream is never silent for so long")?;
        let frame = frame.expect("the stream must not end as if there were no more events");
        if let Some(next) = self.next {
            assert!(frame.next_sequence >= next);
        }
        match frame.content.unwrap() {
            Content::Events(events) => {
                assert!((1..=250).contains(&events.events.len()));
                let last = events.events.last().unwrap().sequence;
                assert!(frame.next_sequence > last);
                self.events.extend(events.events);
            }
            Content::Heartbeat(heartbeat) => {
                assert!(heartbeat.tree_size >= frame.next_sequence);
                assert!(heartbeat.sent_at.is_some());
                self.heartbeat = Some(heartbeat);
            }
        }
        self.next = Some(frame.next_sequence);
        Ok(())
    }

    /// Watches until that sequence is the next.
    pub async fn until_next(&mut self, next: u64) {
        while self.next.is_none_or(|seen| seen < next) {
            self.frame().await.unwrap();
        }
        assert_eq!(self.next, Some(next));
    }

    /// Watches until the stream ends.
    pub async fn until_end(&mut self) -> Status {
        loop {
            if let Err(status) = self.frame().await {
                return status;
            }
        }
    }

    /// The sequences that were seen.
    pub fn sequences(&self) -> Vec<u64> {
        self.events.iter().map(|event| event.sequence).collect()
    }
}

/// Where the end of a stream says to resume.
pub fn resume_at(status: &Status) -> u64 {
    let info = status.get_details_error_info().unwrap();
    info.metadata["next_sequence"].parse().unwrap()
}
