//! `auditlogs.v1.AuditLogs`.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::{convert, ingest, watch};
use crate::{
    domain::page::event_cursor,
    proto::v1::{self, audit_logs_server::AuditLogs, batch_create_events_result},
    service::{Services, schemas::schema_cursor},
    transport::{
        auth::{caller, credential},
        status::ItemStatuses,
    },
};

/// The service, over the rules.
pub struct AuditLogsService {
    services: Services,
}

impl AuditLogsService {
    /// Calls `services`.
    pub const fn new(services: Services) -> Self {
        Self { services }
    }
}

type Answer<T> = Result<Response<T>, Status>;

/// Follows an export.
type ExportStream = Pin<Box<dyn Stream<Item = Result<v1::GetExportResponse, Status>> + Send>>;

/// Acknowledges events.
type IngestStream = Pin<Box<dyn Stream<Item = Result<v1::IngestEventsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AuditLogs for AuditLogsService {
    async fn create_event(
        &self,
        request: Request<v1::CreateEventRequest>,
    ) -> Answer<v1::CreateEventResponse> {
        let caller = caller(&request)?;
        let new = convert::new_event(request.into_inner());
        let recorded = self.services.events.create(&caller, new).await?;
        Ok(Response::new(convert::created_event(recorded)))
    }

    async fn batch_create_events(
        &self,
        request: Request<v1::BatchCreateEventsRequest>,
    ) -> Answer<v1::BatchCreateEventsResponse> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let batch = request.requests.into_iter().map(convert::new_event).collect();
        let results = self.services.events.create_batch(&caller, batch, request.atomic).await?;
        let (mut created, mut statuses) =
            (convert::BatchedEvents::default(), ItemStatuses::default());
        let results = results.into_iter().map(|result| {
            use batch_create_events_result::Result::{Created, Error};
            let result = match result {
                Ok(recorded) => Created(created.created(recorded)),
                Err(error) => Error(statuses.of(error)),
            };
            v1::BatchCreateEventsResult { result: Some(result) }
        });
        Ok(Response::new(v1::BatchCreateEventsResponse { results: results.collect() }))
    }

    async fn get_event(
        &self,
        request: Request<v1::GetEventRequest>,
    ) -> Answer<v1::GetEventResponse> {
        let caller = caller(&request)?;
        let v1::GetEventRequest { organization_id, event_id } = request.into_inner();
        let record = self.services.events.get(&caller, &organization_id, &event_id).await?;
        Ok(Response::new(v1::GetEventResponse { event: Some(convert::event_record(record)) }))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Answer<v1::ListEventsResponse> {
        let caller = caller(&request)?;
        let mut request = request.into_inner();
        let organization = std::mem::take(&mut request.organization_id);
        let query = convert::event_query(request);
        let page = self.services.events.list(&caller, &organization, query).await?;
        let list_metadata = Some(convert::list_metadata(&page, |record| {
            event_cursor(&record.logged.organization_id, record.sequence)
        }));
        let events = page.items.into_iter().map(convert::event_record).collect();
        Ok(Response::new(v1::ListEventsResponse { events, list_metadata }))
    }

    async fn create_action_schema(
        &self,
        request: Request<v1::CreateActionSchemaRequest>,
    ) -> Answer<v1::CreateActionSchemaResponse> {
        let caller = caller(&request)?;
        let v1::CreateActionSchemaRequest { action_name, targets, actor, metadata } =
            request.into_inner();
        let definition = convert::schema_definition(targets, actor, metadata);
        let schemas = &self.services.schemas;
        let (schema, created) = schemas.create(&caller, &action_name, definition).await?;
        let schema = Some(convert::action_schema(schema));
        Ok(Response::new(v1::CreateActionSchemaResponse { schema, created }))
    }

    async fn list_actions(
        &self,
        request: Request<v1::ListActionsRequest>,
    ) -> Answer<v1::ListActionsResponse> {
        let caller = caller(&request)?;
        let v1::ListActionsRequest { limit, order, before, after } = request.into_inner();
        let page = convert::page(limit, order, before, after);
        let page = self.services.schemas.list_actions(&caller, page).await?;
        let list_metadata = Some(convert::list_metadata(&page, |(cursor, _)| cursor.to_string()));
        let actions = page.items.into_iter().map(|(_, action)| convert::action(action)).collect();
        Ok(Response::new(v1::ListActionsResponse { actions, list_metadata }))
    }

    async fn list_action_schemas(
        &self,
        request: Request<v1::ListActionSchemasRequest>,
    ) -> Answer<v1::ListActionSchemasResponse> {
        let caller = caller(&request)?;
        let v1::ListActionSchemasRequest { action_name, limit, order, before, after } =
            request.into_inner();
        let page = convert::page(limit, order, before, after);
        let page = self.services.schemas.list_schemas(&caller, &action_name, page).await?;
        let list_metadata = Some(convert::list_metadata(&page, schema_cursor));
        let schemas = page.items.into_iter().map(convert::action_schema).collect();
        Ok(Response::new(v1::ListActionSchemasResponse { schemas, list_metadata }))
    }

    async fn create_export(
        &self,
        request: Request<v1::CreateExportRequest>,
    ) -> Answer<v1::CreateExportResponse> {
        let caller = caller(&request)?;
        let new = convert::new_export(request.into_inner());
        let view = self.services.exports.create(&caller, new).await?;
        Ok(Response::new(v1::CreateExportResponse { export: Some(convert::export(view)) }))
    }

    type GetExportStream = ExportStream;

    async fn get_export(&self, request: Request<v1::GetExportRequest>) -> Answer<ExportStream> {
        let (caller, credential) = (caller(&request)?, credential(&request)?);
        let v1::GetExportRequest { export_id, watch } = request.into_inner();
        let frame = |view| v1::GetExportResponse { export: Some(convert::export(view)) };
        if !watch.unwrap_or(true) {
            let view = self.services.exports.get(&caller, &export_id).await?;
            let once = futures::stream::iter([Ok(frame(view))]);
            return Ok(Response::new(Box::pin(once)));
        }
        let views = self.services.exports.watch(caller, credential, export_id);
        let frames = views.map(move |view| view.map(frame).map_err(Status::from));
        Ok(Response::new(Box::pin(frames)))
    }

    async fn list_exports(
        &self,
        request: Request<v1::ListExportsRequest>,
    ) -> Answer<v1::ListExportsResponse> {
        let caller = caller(&request)?;
        let v1::ListExportsRequest { organization_id, limit, order, before, after } =
            request.into_inner();
        let page = convert::page(limit, order, before, after);
        let page = self.services.exports.list(&caller, &organization_id, page).await?;
        let list_metadata = Some(convert::list_metadata(&page, |view| view.export.id.to_string()));
        let exports = page.items.into_iter().map(convert::export).collect();
        Ok(Response::new(v1::ListExportsResponse { exports, list_metadata }))
    }
    type IngestEventsStream = IngestStream;

    async fn ingest_events(
        &self,
        request: Request<Streaming<v1::IngestEventsRequest>>,
    ) -> Answer<IngestStream> {
        let (caller, credential) = (caller(&request)?, credential(&request)?);
        let messages = ingest::messages(request.into_inner());
        let acknowledged = self.services.ingest.start(caller, credential, messages)?;
        Ok(Response::new(Box::pin(ingest::frames(acknowledged))))
    }

    type WatchEventsStream = watch::EventStream;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Answer<watch::EventStream> {
        let caller = caller(&request)?;
        watch::events(&self.services.watches, &caller, request.into_inner()).await
    }

    async fn cancel_export(
        &self,
        request: Request<v1::CancelExportRequest>,
    ) -> Answer<v1::CancelExportResponse> {
        let caller = caller(&request)?;
        let id = request.into_inner().export_id;
        let view = self.services.exports.cancel(&caller, &id).await?;
        Ok(Response::new(v1::CancelExportResponse { export: Some(convert::export(view)) }))
    }
}
