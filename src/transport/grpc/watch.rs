//! `WatchEvents`: from the request to the stream of frames.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tonic::{Response, Status};

use super::{
    convert,
    values::{from_proto_time, to_proto_time},
};
use crate::{
    domain::{caller::Caller, filter::EventFilter},
    proto::v1::{self, watch_events_request::Start, watch_events_response::Content},
    service::watch::{NewWatch, WatchContent, WatchFrame, WatchStart, Watches},
    transport::status::end_of_watch,
};

/// The frames of a watched log.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<v1::WatchEventsResponse, Status>> + Send>>;

/// Starts to watch.
pub async fn events(
    watches: &Watches,
    caller: &Caller,
    request: v1::WatchEventsRequest,
) -> Result<Response<EventStream>, Status> {
    let frames = watches.watch(caller, new_watch(request)).await?;
    let frames = frames.map(|next| match next {
        Ok(frame) => Ok(response(frame)),
        Err(end) => Err(end_of_watch(&end)),
    });
    Ok(Response::new(Box::pin(frames)))
}

fn new_watch(request: v1::WatchEventsRequest) -> NewWatch {
    NewWatch {
        organization_id: request.organization_id,
        start: match request.start {
            None => WatchStart::Now,
            Some(Start::FromSequence(sequence)) => WatchStart::Sequence(sequence),
            Some(Start::FromTime(time)) => WatchStart::Time(from_proto_time(Some(time))),
        },
        filter: EventFilter {
            actions: request.actions,
            actor_ids: request.actor_ids,
            actor_names: request.actor_names,
            target_types: request.target_types,
            target_ids: request.target_ids,
        },
    }
}

fn response(frame: WatchFrame) -> v1::WatchEventsResponse {
    let content = match frame.content {
        WatchContent::Events(events) => {
            let records = events.iter().filter_map(|event| event.record().cloned());
            let events = records.map(convert::event_record).collect();
            Content::Events(v1::WatchedEvents { events })
        }
        WatchContent::Heartbeat { tree_size, sent_at } => {
            let sent_at = Some(to_proto_time(sent_at));
            Content::Heartbeat(v1::WatchHeartbeat { tree_size, sent_at })
        }
    };
    v1::WatchEventsResponse { content: Some(content), next_sequence: frame.next_sequence }
}
