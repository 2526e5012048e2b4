//! The messages of IngestEvents.

use std::{iter::Peekable, vec};

use futures::{Stream, StreamExt, stream};
use prost::Message;
use tonic::{Status, Streaming};

use super::convert;
use crate::{
    domain::violation::{Reason, Violation},
    proto::v1::{
        self, IngestAcknowledgement, IngestEventsRequest, IngestEventsResponse,
        ingest_acknowledgement::Result::{Created, Error as Refused},
    },
    service::{
        error::{Error, Result},
        ingest::{self, Acknowledgement, NumberedEvent},
    },
    transport::{status::ItemStatuses, undecodable},
};

/// Most acknowledgements of a frame.
const FRAME_ITEMS: usize = 1_000;
/// A frame ends when it has so many bytes of errors and receipts. A client receives 4 MiB by default, and
/// [`ItemStatuses`] leaves the last error whole that fits in as much again.
const FRAME_BYTES: usize = 512 * 1_024;

/// What a client sends.
pub fn messages(
    stream: Streaming<IngestEventsRequest>,
) -> impl Stream<Item = Result<ingest::Message>> + Send + Unpin + 'static {
    stream.map(|message| message.map(self::message).map_err(|status| broken(&status)))
}

fn message(request: IngestEventsRequest) -> ingest::Message {
    let bytes = request.encoded_len();
    let item = |item: v1::IngestItem| NumberedEvent {
        number: item.number,
        event: convert::new_event(item.request.unwrap_or_default()),
    };
    ingest::Message { items: request.items.into_iter().map(item).collect(), bytes }
}

/// Why no message came.
fn broken(status: &Status) -> Error {
    match undecodable::refusal(status) {
        // Of the stream, one message is wrong.
        Some(Error::MessageTooLarge(why)) => {
            Error::InvalidRequest(vec![Violation::new("request", Reason::TooLarge, why)])
        }
        Some(refusal) => refusal,
        None => Error::Unavailable("the stream broke off; send again what is open"),
    }
}

/// What a client is sent.
pub fn frames(
    acknowledged: impl Stream<Item = Result<Vec<Acknowledgement>>> + Send,
) -> impl Stream<Item = std::result::Result<IngestEventsResponse, Status>> + Send {
    acknowledged.flat_map(|told| {
        let (acknowledgements, end) = match told {
            Ok(acknowledgements) => (acknowledgements, None),
            Err(error) => (Vec::new(), Some(Err(error.into()))),
        };
        let frames = Frames(acknowledgements.into_iter().peekable());
        stream::iter(frames.map(Ok).chain(end))
    })
}

/// Acknowledgements by the frame. Each is made when it is wanted.
struct Frames(Peekable<vec::IntoIter<Acknowledgement>>);

impl Iterator for Frames {
    type Item = IngestEventsResponse;

    fn next(&mut self) -> Option<IngestEventsResponse> {
        self.0.peek()?;
        let mut statuses = ItemStatuses::default();
        let (mut acknowledgements, mut bytes) = (Vec::new(), 0);
        while acknowledgements.len() < FRAME_ITEMS
            && bytes < FRAME_BYTES
            && let Some(Acknowledgement { number, result }) = self.0.next()
        {
            let result = match result {
                Ok(recorded) => Created(convert::created_event(recorded)),
                Err(error) => Refused(statuses.of(error)),
            };
            bytes += match &result {
                Created(created) => created.receipt.as_ref().map_or(0, Message::encoded_len),
                Refused(status) => status.encoded_len(),
            };
            acknowledgements.push(IngestAcknowledgement { number, result: Some(result) });
        }
        Some(IngestEventsResponse { acknowledgements })
    }
}
