//! The OpenAPI 3.1 description of the REST API, generated from its handlers: `/openapi.json`.

use std::sync::LazyLock;

use axum::response::IntoResponse;
use utoipa::{
    Modify,
    openapi::{
        Components, Content, OpenApi, Ref, RefOr, ResponseBuilder,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use super::{event_reading, events, exports, log_streams, organizations, retention, schemas};
use crate::transport::http::json::JsonBody;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Audit logs",
        description = "The WorkOS Audit Logs REST API of a self-hosted audit-log service, and what goes \
                       beyond it under /v1. Every answer is a JSON object and has the header x-request-id.",
        contact(),
    ),
    paths(
        events::create_event,
        schemas::create_schema,
        schemas::list_schemas,
        schemas::list_actions,
        exports::create_export,
        exports::get_export,
        retention::get_retention,
        retention::set_retention,
        retention::get_configuration,
        organizations::create_organization,
        organizations::list_organizations,
        organizations::get_organization,
        organizations::get_by_external_id,
        organizations::update_organization,
        organizations::delete_organization,
        event_reading::list_events,
        event_reading::get_event,
        events::create_events,
        log_streams::create_log_stream,
        log_streams::list_log_streams,
        log_streams::get_log_stream,
        log_streams::update_log_stream,
        log_streams::delete_log_stream,
        log_streams::actions::test_log_stream,
        log_streams::actions::pause_log_stream,
        log_streams::actions::resume_log_stream,
        log_streams::actions::replay_log_stream,
        log_streams::get_log_stream_status,
        log_streams::dead_letters::list_dead_letters,
        log_streams::dead_letters::redrive_dead_letters,
    ),
    modifiers(&ApiKeySecurity, &CommonErrors),
    security(("api_key" = [])),
)]
struct Description;

/// `Authorization: Bearer sk_...`
struct ApiKeySecurity;

impl Modify for ApiKeySecurity {
    fn modify(&self, description: &mut OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = description.components.get_or_insert_with(Components::new);
        components.add_security_scheme("api_key", scheme);
    }
}

/// What every operation may answer beside what is listed at it.
struct CommonErrors;

impl Modify for CommonErrors {
    fn modify(&self, description: &mut OpenApi) {
        let content = Content::new(Some(Ref::from_schema_name("ErrorBody")));
        let response = ResponseBuilder::new()
            .description(
                "The path is not UTF-8 or the body is not JSON (400), too slow (408) or too large \
                 (413); no key, or an unknown one (401); the key lacks the scope (403); too much at \
                 once (429); the database is away (503); the time is over (504)",
            )
            .content("application/json", content)
            .build();
        for path in description.paths.paths.values_mut() {
            let operations = [&mut path.get, &mut path.put, &mut path.post, &mut path.delete];
            for operation in operations.into_iter().flatten() {
                let response = RefOr::T(response.clone());
                operation.responses.responses.insert("default".to_owned(), response);
            }
        }
    }
}

/// The description.
pub fn document() -> OpenApi {
    <Description as utoipa::OpenApi>::openapi()
}

/// Serves the description, which is the same for everybody.
pub async fn serve() -> impl IntoResponse {
    static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(document);
    JsonBody(&*DOCUMENT)
}
