//! The OpenAPI 3.1 description of the REST API, generated from its handlers: `/openapi.json`.

use std::sync::LazyLock;

use axum::response::IntoResponse;
use utoipa::{
    Modify,
    openapi::{
        Components, OpenApi,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use super::{event_reading, events, exports, organizations, retention, schemas};
use crate::transport::http::json::JsonBody;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Audit logs",
        description = "The WorkOS Audit Logs REST API of a self-hosted audit-log service, and what goes \
                       beyond it under /v1. Every answer is a JSON object and has the header x-request-id. \
                       Beside the errors that are listed, every operation answers 401 (no key, or an \
                       unknown one), 403 (the key lacks the scope), 413 (the body is too large), 503 \
                       (the database is away) and 504 (the time is over).",
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
    ),
    modifiers(&ApiKeySecurity),
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

/// The description.
pub fn document() -> OpenApi {
    <Description as utoipa::OpenApi>::openapi()
}

/// Serves the description, which is the same for everybody.
pub async fn serve() -> impl IntoResponse {
    static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(document);
    JsonBody(&*DOCUMENT)
}
