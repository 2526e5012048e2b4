//! IngestEvents: a stream of items, and what becomes of each.

mod acknowledging;
mod breaking;
mod pressure;
mod refusing;

use std::collections::{BTreeMap, HashMap, HashSet};

use audit_logs::{
    client::AuditLogs,
    proto::v1::{
        CreateEventRequest, CreateEventResponse, IngestAcknowledgement, IngestEventsRequest,
        IngestEventsResponse, IngestItem,
        ingest_acknowledgement::Result::{Created, Error},
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use crate::support::create_event;

/// A stream from its client's side.
struct Ingesting {
    items: mpsc::UnboundedSender<IngestEventsRequest>,
    frames: Streaming<IngestEventsResponse>,
}

impl Ingesting {
    async fn open(client: &AuditLogs) -> Self {
        let (items, messages) = mpsc::unbounded_channel();
        let answer = client.clone().ingest_events(UnboundedReceiverStream::new(messages)).await;
        Self { items, frames: answer.unwrap().into_inner() }
    }

    /// Sends a message, unless the server ended the stream.
    fn send(&self, items: impl IntoIterator<Item = IngestItem>) {
        let _ = self.items.send(message(items.into_iter().collect()));
    }

    /// The next frame; `None` at an end that is OK.
    async fn frame(&mut self) -> Result<Option<Vec<IngestAcknowledgement>>, Status> {
        let frame = self.frames.message().await?;
        Ok(frame.map(|frame| {
            assert!((1..=1_000).contains(&frame.acknowledgements.len()));
            frame.acknowledgements
        }))
    }

    /// Half-closes; returns what is still acknowledged, and the end.
    async fn finish(self) -> (Vec<IngestAcknowledgement>, Result<(), Status>) {
        let Self { items, frames } = self;
        drop(items);
        let mut told = Vec::new();
        // The sender is needed no more.
        let mut rest = Self { items: mpsc::unbounded_channel().0, frames };
        loop {
            match rest.frame().await {
                Ok(Some(more)) => told.extend(more),
                Ok(None) => return (told, Ok(())),
                Err(status) => return (told, Err(status)),
            }
        }
    }

    /// The same where every item must be recorded: the places by number.
    async fn finish_well(self) -> BTreeMap<u64, CreateEventResponse> {
        let (told, end) = self.finish().await;
        end.unwrap();
        places(told)
    }
}

fn message(items: Vec<IngestItem>) -> IngestEventsRequest {
    IngestEventsRequest { items }
}

fn item(number: u64, request: CreateEventRequest) -> IngestItem {
    IngestItem { number, request: Some(request) }
}

/// The places of items that must all be recorded, each acknowledged once.
fn places(told: Vec<IngestAcknowledgement>) -> BTreeMap<u64, CreateEventResponse> {
    let mut places = BTreeMap::new();
    for IngestAcknowledgement { number, result } in told {
        let Some(Created(created)) = result else { panic!("{number}: {result:?}") };
        assert!(places.insert(number, created).is_none(), "{number} is acknowledged twice");
    }
    places
}

/// A client that does not give up: what is not acknowledged is sent again, with the same keys.
#[derive(Default)]
struct Persistent {
    open: BTreeMap<u64, CreateEventRequest>,
    /// Places by number.
    recorded: HashMap<u64, CreateEventResponse>,
}

impl Persistent {
    /// With so many events of ten organizations to be recorded.
    fn with(events: u64) -> Self {
        let request = |number| CreateEventRequest {
            idempotency_key: format!("key {number}"),
            ..create_event(&format!("org_{}", number % 10), "doc.read")
        };
        Self {
            open: (0..events).map(|number| (number, request(number))).collect(),
            ..Self::default()
        }
    }

    /// Opens a stream with all that is open, and reads until it ends. Calls `told` after each frame with
    /// how many events are recorded.
    async fn try_once(
        &mut self,
        client: &AuditLogs,
        mut told: impl AsyncFnMut(usize),
    ) -> Result<(), Status> {
        let (items, messages) = mpsc::unbounded_channel();
        let mut sender = Some(items);
        let open: Vec<_> = self.open.iter().map(|(number, r)| item(*number, r.clone())).collect();
        let mut unsent = open.chunks(50);
        let answer = client.clone().ingest_events(UnboundedReceiverStream::new(messages)).await;
        let mut frames = answer?.into_inner();
        loop {
            // A few messages ahead, as a client does that has no endless memory.
            while sender.is_some() && self.open.len() < unsent.len() * 50 + 300 {
                match unsent.next() {
                    // Fails when the stream has ended.
                    Some(items) => _ = sender.as_ref().map(|s| s.send(message(items.to_vec()))),
                    None => sender = None,
                }
            }
            let Some(frame) = frames.message().await? else { break };
            for IngestAcknowledgement { number, result } in frame.acknowledgements {
                let Some(Created(created)) = result else { panic!("{number}: {result:?}") };
                assert!(self.open.remove(&number).is_some(), "{number} is acknowledged twice");
                self.recorded.insert(number, created);
            }
            told(self.recorded.len()).await;
        }
        assert!(self.open.is_empty(), "the stream ended well, but not all is acknowledged");
        Ok(())
    }

    /// At the end: every event once, in ten logs without gaps.
    fn check(&self, events: u64) {
        assert_eq!((self.open.len(), self.recorded.len() as u64), (0, events));
        let ids: HashSet<_> = self.recorded.values().map(|place| &place.event_id).collect();
        assert_eq!(ids.len(), self.recorded.len());
        for organization in 0..10 {
            let own = self.recorded.iter().filter(|(number, _)| *number % 10 == organization);
            let mut sequences: Vec<_> = own.map(|(_, place)| place.sequence).collect();
            sequences.sort_unstable();
            assert_eq!(sequences, (0..events / 10).collect::<Vec<_>>());
        }
    }
}

/// The error of an item as the status of a call.
fn status_of(acknowledgement: &IngestAcknowledgement) -> Status {
    let Some(Error(error)) = &acknowledgement.result else { panic!("{acknowledgement:?}") };
    let details = prost::Message::encode_to_vec(error).into();
    Status::with_details(error.code.into(), error.message.clone(), details)
}
