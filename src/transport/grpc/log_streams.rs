//! `auditlogs.v1.LogStreams`.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::convert::{self, log_streams};
use crate::{
    proto::v1::{self, log_streams_server::LogStreams},
    service,
    transport::auth::{caller, credential},
};

/// The service, over the rules.
pub struct LogStreamsService {
    streams: service::log_streams::LogStreams,
}

impl LogStreamsService {
    /// Calls `streams`.
    pub const fn new(streams: service::log_streams::LogStreams) -> Self {
        Self { streams }
    }
}

type Answer<T> = Result<Response<T>, Status>;
type StatusStream =
    Pin<Box<dyn Stream<Item = Result<v1::LogStreamsGetStatusResponse, Status>> + Send>>;

#[tonic::async_trait]
impl LogStreams for LogStreamsService {
    async fn create(
        &self,
        request: Request<v1::LogStreamsCreateRequest>,
    ) -> Answer<v1::LogStreamsCreateResponse> {
        let caller = caller(&request)?;
        let new = log_streams::new(request.into_inner())?;
        let created = self.streams.create(&caller, new).await?;
        let log_stream = Some(log_streams::log_stream(created));
        Ok(Response::new(v1::LogStreamsCreateResponse { log_stream }))
    }

    async fn get(
        &self,
        request: Request<v1::LogStreamsGetRequest>,
    ) -> Answer<v1::LogStreamsGetResponse> {
        let caller = caller(&request)?;
        let found = self.streams.get(&caller, &request.into_inner().log_stream_id).await?;
        let log_stream = Some(log_streams::log_stream(found));
        Ok(Response::new(v1::LogStreamsGetResponse { log_stream }))
    }

    async fn list(
        &self,
        request: Request<v1::LogStreamsListRequest>,
    ) -> Answer<v1::LogStreamsListResponse> {
        let caller = caller(&request)?;
        let v1::LogStreamsListRequest { organization_id, limit, before, after, order } =
            request.into_inner();
        let page = convert::page(limit, order, before, after);
        let page = self.streams.list(&caller, &organization_id, page).await?;
        let list_metadata = Some(convert::list_metadata(&page, |item| item.id.to_string()));
        let log_streams = page.items.into_iter().map(log_streams::log_stream).collect();
        Ok(Response::new(v1::LogStreamsListResponse { log_streams, list_metadata }))
    }

    async fn update(
        &self,
        request: Request<v1::LogStreamsUpdateRequest>,
    ) -> Answer<v1::LogStreamsUpdateResponse> {
        let caller = caller(&request)?;
        let (id, changes) = log_streams::changes(request.into_inner())?;
        let updated = self.streams.update(&caller, &id, changes).await?;
        let log_stream = Some(log_streams::log_stream(updated));
        Ok(Response::new(v1::LogStreamsUpdateResponse { log_stream }))
    }

    async fn delete(
        &self,
        request: Request<v1::LogStreamsDeleteRequest>,
    ) -> Answer<v1::LogStreamsDeleteResponse> {
        let caller = caller(&request)?;
        self.streams.delete(&caller, &request.into_inner().log_stream_id).await?;
        Ok(Response::new(v1::LogStreamsDeleteResponse {}))
    }

    async fn test(
        &self,
        request: Request<v1::LogStreamsTestRequest>,
    ) -> Answer<v1::LogStreamsTestResponse> {
        let caller = caller(&request)?;
        let trial = self.streams.test(&caller, &request.into_inner().log_stream_id).await?;
        Ok(Response::new(log_streams::trial(trial)))
    }

    async fn pause(
        &self,
        request: Request<v1::LogStreamsPauseRequest>,
    ) -> Answer<v1::LogStreamsPauseResponse> {
        let caller = caller(&request)?;
        let paused = self.streams.pause(&caller, &request.into_inner().log_stream_id).await?;
        let log_stream = Some(log_streams::log_stream(paused));
        Ok(Response::new(v1::LogStreamsPauseResponse { log_stream }))
    }

    async fn resume(
        &self,
        request: Request<v1::LogStreamsResumeRequest>,
    ) -> Answer<v1::LogStreamsResumeResponse> {
        let caller = caller(&request)?;
        let resumed = self.streams.resume(&caller, &request.into_inner().log_stream_id).await?;
        let log_stream = Some(log_streams::log_stream(resumed));
        Ok(Response::new(v1::LogStreamsResumeResponse { log_stream }))
    }

    async fn replay(
        &self,
        request: Request<v1::LogStreamsReplayRequest>,
    ) -> Answer<v1::LogStreamsReplayResponse> {
        let caller = caller(&request)?;
        let v1::LogStreamsReplayRequest { log_stream_id, start } = request.into_inner();
        let from = log_streams::replay_start(start);
        let replayed = self.streams.replay(&caller, &log_stream_id, from).await?;
        let log_stream = Some(log_streams::log_stream(replayed));
        Ok(Response::new(v1::LogStreamsReplayResponse { log_stream }))
    }

    type GetStatusStream = StatusStream;

    async fn get_status(
        &self,
        request: Request<v1::LogStreamsGetStatusRequest>,
    ) -> Answer<StatusStream> {
        let (caller, credential) = (caller(&request)?, credential(&request)?);
        let v1::LogStreamsGetStatusRequest { log_stream_id, watch } = request.into_inner();
        let frame =
            |view| v1::LogStreamsGetStatusResponse { status: Some(log_streams::status(view)) };
        if !watch.unwrap_or(true) {
            let view = self.streams.status(&caller, &log_stream_id).await?;
            return Ok(Response::new(Box::pin(futures::stream::iter([Ok(frame(view))]))));
        }
        let views = self.streams.watch(credential, caller, log_stream_id);
        let frames = views.map(move |view| view.map(frame).map_err(Status::from));
        Ok(Response::new(Box::pin(frames)))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::LogStreamsListDeadLettersRequest>,
    ) -> Answer<v1::LogStreamsListDeadLettersResponse> {
        let caller = caller(&request)?;
        let v1::LogStreamsListDeadLettersRequest { log_stream_id, limit, after } =
            request.into_inner();
        let page = self.streams.dead_letters(&caller, &log_stream_id, limit, after).await?;
        let dead_letters = page.letters.into_iter().map(log_streams::dead_letter).collect();
        let next_after = page.next_after;
        Ok(Response::new(v1::LogStreamsListDeadLettersResponse { dead_letters, next_after }))
    }

    async fn redrive_dead_letters(
        &self,
        request: Request<v1::LogStreamsRedriveDeadLettersRequest>,
    ) -> Answer<v1::LogStreamsRedriveDeadLettersResponse> {
        let caller = caller(&request)?;
        let v1::LogStreamsRedriveDeadLettersRequest { log_stream_id, sequences } =
            request.into_inner();
        let count = self.streams.redrive(&caller, &log_stream_id, &sequences).await?;
        Ok(Response::new(v1::LogStreamsRedriveDeadLettersResponse { count }))
    }
}
