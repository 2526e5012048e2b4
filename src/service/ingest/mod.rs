//! Events as a stream: items in, acknowledgements out.
//!
//! A reader takes items, holds them against the rules and puts them in the queues of their lanes; a
//! writer waits for what becomes of them and tells the client. A window bounds what is between the two,
//! so a stream takes the same memory whatever its client does: where acknowledgements are not taken,
//! nothing more is read.

mod reader;
mod window;
mod writer;

use std::time::Duration;

use async_stream::stream;
use futures::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::{reader::Reader, window::Window, writer::Writer};
use super::{
    auth::{Authenticator, Credential},
    error::{Error, Result},
    events::{Events, NewEvent, Recorded},
    lanes::Lanes,
    permit,
};
use crate::{
    domain::{caller::Caller, permissions::Operation},
    telemetry,
};

/// Records streams of events.
#[derive(Clone)]
pub struct Ingest {
    events: Events,
    lanes: Lanes,
    authenticator: Authenticator,
    patience: Duration,
    shutdown: CancellationToken,
}

/// Items that came together.
#[derive(Debug)]
pub struct Message {
    /// The items, as sent.
    pub items: Vec<NumberedEvent>,
    /// The size of the message as it came, in bytes.
    pub bytes: usize,
}

/// An event with the number that its client gave it.
#[derive(Debug)]
pub struct NumberedEvent {
    /// The number.
    pub number: u64,
    /// The event.
    pub event: NewEvent,
}

/// What became of an item.
#[derive(Debug)]
pub struct Acknowledgement {
    /// The item's number.
    pub number: u64,
    /// Where it is, or what is wrong with it.
    pub result: Result<Recorded>,
}

impl Ingest {
    /// Events are recorded as by `events`. A client may leave acknowledgements lying for `patience`.
    /// After `shutdown` nothing more is read.
    pub fn new(
        events: Events,
        lanes: Lanes,
        authenticator: Authenticator,
        patience: Duration,
        shutdown: CancellationToken,
    ) -> Self {
        Self { events, lanes, authenticator, patience, shutdown }
    }

    /// Records what comes in `messages`, and acknowledges it in the stream that is returned. That ends
    /// after `messages` when all is acknowledged, or, after what is decided was acknowledged, with an
    /// error that is not about an item. When it is dropped, what was taken is recorded all the same.
    pub fn start<S>(
        &self,
        caller: Caller,
        credential: Credential,
        messages: S,
    ) -> Result<impl Stream<Item = Result<Vec<Acknowledgement>>> + Send + use<S>>
    where
        S: Stream<Item = Result<Message>> + Send + Unpin + 'static,
    {
        permit(&caller, Operation::IngestEvents)?;
        let stop = CancellationToken::new();
        let (parts, taken) = mpsc::unbounded_channel();
        let (sink, mut acknowledged) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        let window = Window::new();
        let ingest = self.clone();
        let reader = Reader::new(ingest, caller, credential, messages, window, stop.clone());
        let writer =
            Writer::new(self.events.clone(), self.lanes.clone(), sink, self.patience, stop);
        // Apart from the task that sends: it rests while the client does not read.
        let current = telemetry::current();
        let reading = tokio::spawn(telemetry::carry(current.clone(), reader.run(parts)));
        tokio::spawn(telemetry::carry(current, async move {
            let written = writer.run(taken).await;
            let read =
                reading.await.unwrap_or_else(|panic| Err(Error::Internal(panic.to_string())));
            // Nobody may be left to hear it.
            let _ = end.send(written.and(read));
        }));
        Ok(stream! {
            while let Some(acknowledgements) = acknowledged.recv().await {
                yield Ok(acknowledgements);
            }
            let gone = |_| Err(Error::Internal("a stream ended without a word".to_owned()));
            if let Err(error) = ended.await.unwrap_or_else(gone) {
                yield Err(error);
            }
        })
    }
}
