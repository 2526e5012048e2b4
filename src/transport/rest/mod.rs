//! The WorkOS Audit Logs REST API, and what goes beyond it under `/v1`. Lenient in what it takes,
//! strict in what it answers, so that every WorkOS SDK works with it unchanged. Handlers convert, call
//! the same service function as their gRPC twin, and convert.

pub mod body;
mod event_reading;
pub mod events;
pub mod exports;
mod lenient;
mod list;
mod log_stream_config;
pub mod log_streams;
mod openapi;
pub mod organizations;
mod query;
pub mod retention;
pub mod schemas;
mod time;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::FromRef,
    middleware,
    routing::{get, post},
};

use self::body::BodyRules;
pub use self::openapi::document;
use super::{
    auth::{self, Gate},
    http::timeout,
    rate::{self, Rates},
};
use crate::{domain::caller::Caller, service::Services};

/// What an operator can set about the REST API.
#[derive(Debug, Clone, Copy)]
pub struct RestRules {
    /// Most bytes of a body.
    pub body_bytes: usize,
    /// How long a body may take to arrive: less than 30 s, which the whole request may take.
    pub body_patience: Duration,
    /// Whether an expired export is told as `error`, for SDKs that do not know `expired`.
    pub expired_as_error: bool,
}

/// What handlers need.
#[derive(Clone)]
struct Api {
    services: Services,
    rules: RestRules,
}

impl FromRef<Api> for Services {
    fn from_ref(api: &Api) -> Self {
        api.services.clone()
    }
}

/// Who calls, as [`auth::of_http`] recognized it.
type KnownCaller = Extension<Caller>;

/// The routes of the API.
pub fn routes(services: &Services, gate: Arc<Gate>, rates: Arc<Rates>, rules: RestRules) -> Router {
    let api = Api { services: services.clone(), rules };
    Router::new()
        .route("/audit_logs/events", post(events::create_event))
        .route("/audit_logs/actions", get(schemas::list_actions))
        .route(
            "/audit_logs/actions/{action_name}/schemas",
            get(schemas::list_schemas).post(schemas::create_schema),
        )
        .route("/audit_logs/exports", post(exports::create_export))
        .route("/audit_logs/exports/{export_id}", get(exports::get_export))
        .merge(organizations::routes())
        .merge(retention::routes())
        .merge(log_streams::routes())
        .route("/v1/events", get(event_reading::list_events))
        .route("/v1/events/{event_id}", get(event_reading::get_event))
        .route("/v1/events:batch", post(events::create_events))
        // Some clients encode the colon.
        .route("/v1/events%3Abatch", post(events::create_events))
        .with_state(api)
        .layer(Extension(BodyRules::new(rules.body_bytes, rules.body_patience)))
        .route_layer(middleware::from_fn_with_state(rates, rate::of_http))
        .route_layer(middleware::from_fn_with_state(gate, auth::of_http))
        .route_layer(middleware::from_fn(timeout::enforce))
        // Needs no key: it tells nothing of tenants.
        .route("/openapi.json", get(openapi::serve))
}
