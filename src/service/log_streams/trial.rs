//! Trying a destination out with one event that is in no log.

use std::time::{Duration, Instant};

use super::{Error, LogStreams, Result};
use crate::{
    domain::{
        caller::Caller,
        canonical::canonical_event,
        canonical_read::CanonicalEvent,
        event::{Context, Event, LoggedEvent, Metadata, Party},
        ids::EventId,
        log_stream::{LogStream, LogStreamState},
        permissions::Operation,
        timestamp::Timestamp,
    },
    forward::{Answer, EncodedEvent, Failure, FailureKind, OutgoingEvent, Sink},
};

/// How long an answer is waited for: less than REST and many clients wait for theirs.
const PATIENCE: Duration = Duration::from_secs(25);

/// What a destination answered to a synthetic event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Whether it took it.
    pub delivered: bool,
    /// Its words, or why there were none.
    pub answer: String,
    /// The HTTP status, where there was one.
    pub http_status: Option<u16>,
    /// How long it took.
    pub duration: Duration,
    /// What state the answer would give the stream.
    pub state: LogStreamState,
}

impl LogStreams {
    /// Sends one synthetic event. Changes nothing of the stream.
    pub async fn test(&self, caller: &Caller, id: &str) -> Result<Trial> {
        let found = self.find(caller, Operation::TestLogStream, id).await?;
        let stream = &found.stream;
        let secrets = self.credentials.open(&found).map_err(Error::SecretsUnreadable)?;
        let now = self.clock.now();
        let began = Instant::now();
        let result = match self.credentials.sink(stream, &secrets) {
            Err(why) => Err(Failure::invalid(why)),
            Ok(sink) => {
                match tokio::time::timeout(PATIENCE, self.try_out(&*sink, stream, now)).await {
                    Ok(result) => result?,
                    Err(_) => Err(Failure::temporary("no answer within 25 seconds")),
                }
            }
        };
        let trial = trial(result, began.elapsed());
        let facts = vec![("delivered", trial.delivered.into())];
        self.record(caller, stream, "log_stream.tested", facts).await;
        Ok(trial)
    }

    async fn try_out(
        &self,
        sink: &dyn Sink,
        stream: &LogStream,
        now: Timestamp,
    ) -> Result<std::result::Result<Answer, Failure>> {
        let logged = synthetic(stream, EventId::generate(now, &mut rand::rng()), now);
        let internal = |what: &str| Error::Internal(format!("the synthetic event is {what}"));
        let payload = canonical_event(&logged).map_err(|error| internal(&error.to_string()))?;
        let event = CanonicalEvent::read(&payload).ok_or_else(|| internal("not canonical"))?;
        let sequence = stream.progress.next_sequence;
        let outgoing = OutgoingEvent { sequence, event, occurred_at: now, created_at: now };
        let mut bytes = Vec::new();
        if let Err(why) = sink.encode(&outgoing, now, &mut bytes) {
            return Err(internal(&why));
        }
        let event_id = logged.id.to_string();
        let encoded = EncodedEvent { sequence, event_id, created_at: now, bytes };
        Ok(sink.send(&[encoded], now).await)
    }
}

fn trial(result: std::result::Result<Answer, Failure>, duration: Duration) -> Trial {
    match result {
        Ok(Answer { text, http_status }) => Trial {
            delivered: true,
            answer: text,
            http_status,
            duration,
            state: LogStreamState::Active,
        },
        Err(Failure { kind, message, http_status, .. }) => Trial {
            delivered: false,
            answer: message,
            http_status,
            duration,
            state: match kind {
                FailureKind::Invalid => LogStreamState::Invalid,
                _ => LogStreamState::Error,
            },
        },
    }
}

/// An event that happened to nobody.
fn synthetic(stream: &LogStream, id: EventId, now: Timestamp) -> LoggedEvent {
    let party = |kind: &str, id: &str| Party {
        id: id.to_owned(),
        name: None,
        kind: kind.to_owned(),
        metadata: Metadata::new(),
    };
    LoggedEvent {
        id,
        organization_id: stream.organization_id.clone(),
        created_at: now,
        event: Event {
            action: "audit_logs.log_stream_tested".to_owned(),
            version: 1,
            occurred_at: now,
            actor: party("system", "audit-logs"),
            targets: vec![party("log_stream", stream.id.as_str())],
            context: Context { location: "service".to_owned(), user_agent: None },
            metadata: Metadata::new(),
        },
    }
}
