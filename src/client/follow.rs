//! Following a log for as long as anybody wants, over connections that break and servers that restart.

use std::time::Duration;

use anyhow::{Result, anyhow};
use rand::RngExt;
use tonic::{Code, Status, Streaming};

use super::{Client, Trust, explain};
use crate::proto::v1::{
    EventRecord, WatchEventsRequest, WatchEventsResponse, watch_events_request::Start,
    watch_events_response::Content,
};

/// A stream that says nothing for so long is dead: heartbeats come more often.
const SILENCE: Duration = Duration::from_secs(30);
/// A server that fails so often in a row at one place does so because of what stands there.
const MOST_DEFECTS: u32 = 5;
/// Pauses before calling again: the first, doubled each time, at most the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// What a follower has to tell.
#[derive(Debug)]
pub enum Told {
    /// Events, in the order of the log.
    Events(Vec<EventRecord>),
    /// Where the log ends.
    End {
        /// How many events it has.
        tree_size: u64,
    },
    /// The stream broke off. The next call waits a moment and resumes.
    Interrupted {
        /// What happened.
        why: String,
        /// How long it waits.
        pause: Duration,
    },
}

/// Follows a log and resumes by itself: no event is missed, none comes twice.
pub struct Follower {
    url: String,
    api_key: String,
    trust: Trust,
    request: WatchEventsRequest,
    frames: Option<Streaming<WatchEventsResponse>>,
    /// Where to resume; unknown until the server has said it.
    next: Option<u64>,
    /// How long to wait before the next attempt, and before the one after it.
    pause: Option<Duration>,
    next_pause: Duration,
    /// How often in a row the server failed with INTERNAL where it is to resume.
    defects: u32,
}

impl Follower {
    /// Will follow as `request` says, on the server at `url`, which is known by `trust` if it has TLS.
    pub fn new(url: &str, api_key: &str, trust: Trust, request: WatchEventsRequest) -> Self {
        Self {
            url: url.to_owned(),
            api_key: api_key.to_owned(),
            trust,
            request,
            frames: None,
            next: None,
            pause: None,
            next_pause: PAUSES.0,
            defects: 0,
        }
    }

    /// Where it would resume, once the server has said where it starts.
    pub const fn next_sequence(&self) -> Option<u64> {
        self.next
    }

    /// What comes next. An error if the server refuses for good, or cannot be reached at the start.
    pub async fn next(&mut self) -> Result<Told> {
        if let Some(pause) = self.pause.take() {
            tokio::time::sleep(pause).await;
        }
        let frames = match &mut self.frames {
            Some(frames) => frames,
            None => match tokio::time::timeout(SILENCE, self.call()).await {
                Ok(Ok(frames)) => self.frames.insert(frames),
                Ok(Err(error)) => return self.interrupted(error),
                Err(_) => return self.interrupted(Failure::silence()),
            },
        };
        let failure = match tokio::time::timeout(SILENCE, frames.message()).await {
            Ok(Ok(Some(frame))) => return Ok(self.took(frame)),
            Ok(Ok(None)) => Failure::Passing("the server ended the stream".to_owned()),
            Ok(Err(status)) => Failure::of(&status),
            Err(_) => Failure::silence(),
        };
        self.interrupted(failure)
    }

    async fn call(&self) -> std::result::Result<Streaming<WatchEventsResponse>, Failure> {
        let client = Client::connect_with(&self.url, &self.api_key, &self.trust).await;
        let client = client.map_err(|error| Failure::Passing(format!("{error:#}")))?;
        let mut request = self.request.clone();
        if let Some(next) = self.next {
            request.start = Some(Start::FromSequence(next));
        }
        let answer = client.audit_logs().watch_events(request).await;
        Ok(answer.map_err(|status| Failure::of(&status))?.into_inner())
    }

    fn took(&mut self, frame: WatchEventsResponse) -> Told {
        // The first heartbeat of a stream says only that there is one.
        if self.next != Some(frame.next_sequence) {
            self.next = Some(frame.next_sequence);
            self.next_pause = PAUSES.0;
            self.defects = 0;
        }
        match frame.content {
            Some(Content::Events(events)) => Told::Events(events.events),
            Some(Content::Heartbeat(heartbeat)) => Told::End { tree_size: heartbeat.tree_size },
            // Of a later version.
            None => Told::Events(Vec::new()),
        }
    }

    fn interrupted(&mut self, failure: Failure) -> Result<Told> {
        self.frames = None;
        let why = match failure {
            Failure::Defect(why) if self.next.is_some() && self.defects + 1 < MOST_DEFECTS => {
                self.defects += 1;
                why
            }
            Failure::Passing(why) if self.next.is_some() => why,
            Failure::Passing(why) | Failure::Defect(why) | Failure::Final(why) => {
                return Err(anyhow!(why));
            }
        };
        // Full jitter: many clients of a server that restarts do not come back at once.
        let pause = self.next_pause.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.next_pause = (self.next_pause * 2).min(PAUSES.1);
        self.pause = Some(pause);
        Ok(Told::Interrupted { why, pause })
    }
}

/// Why there is no stream.
enum Failure {
    /// Trying again may help.
    Passing(String),
    /// Trying again may help, but not often.
    Defect(String),
    /// It will not.
    Final(String),
}

impl Failure {
    fn of(status: &Status) -> Self {
        let why = explain(status);
        match status.code() {
            Code::InvalidArgument
            | Code::NotFound
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => Self::Final(why),
            Code::Internal => Self::Defect(why),
            _ => Self::Passing(why),
        }
    }

    fn silence() -> Self {
        Self::Passing(format!("the server said nothing for {} s", SILENCE.as_secs()))
    }
}
