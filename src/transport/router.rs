//! One router for one port: gRPC with its layers, and HTTP beside it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use tokio::sync::Mutex;
use tonic::{Status, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_web::GrpcWebLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::{
    auth::{self, Gate},
    capacity::{self, Capacity},
    deadline,
    grpc::{
        ApiKeysService, AuditLogsService, LogStreamsService, OrganizationsService,
        TransparencyLogService,
    },
    http::{self, refusal::Refusal},
    observe::{self, Observer},
    origin::{self, TrustedProxies},
    rate::{self, Rates},
    request_id,
    rest::{self, RestRules},
    undecodable,
};
use crate::{
    proto::{
        DESCRIPTORS,
        v1::{
            api_keys_server::ApiKeysServer, audit_logs_server::AuditLogsServer,
            log_streams_server::LogStreamsServer, organizations_server::OrganizationsServer,
            transparency_log_server::TransparencyLogServer,
        },
    },
    service::{Services, download::DOWNLOAD_PATH},
    telemetry::Telemetry,
};

/// Names of the services whose health is told.
const SERVICES: [&str; 6] = [
    "",
    "auditlogs.v1.AuditLogs",
    "auditlogs.v1.Organizations",
    "auditlogs.v1.LogStreams",
    "auditlogs.v1.TransparencyLog",
    "auditlogs.v1.ApiKeys",
];

/// What pages may read of an answer beside its body: the status of a gRPC-Web call, and what helps with
/// a REST call that failed.
const EXPOSED: [HeaderName; 5] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    header::RETRY_AFTER,
    request_id::REQUEST_ID,
];
/// Most bytes of a message to services that need no key. What is asked of health takes no room, so that it
/// is answered under any load (`body::Hurried`).
const HEALTH_BYTES: usize = 1_000;
const QUESTION_BYTES: usize = 16 * 1_024;
/// How long a browser may remember what it was told about an origin.
const PREFLIGHT: Duration = Duration::from_hours(1);

/// Whether calls can be served: the database is migrated and reachable, and no shutdown began.
#[derive(Clone)]
pub struct Readiness {
    ready: Arc<AtomicBool>,
    health: HealthReporter,
    /// Held while health is told; whether it was told for the last time.
    closed: Arc<Mutex<bool>>,
}

impl Readiness {
    /// Not ready yet.
    async fn new(health: HealthReporter) -> Self {
        let readiness = Self { ready: Arc::default(), health, closed: Arc::default() };
        readiness.set(false).await;
        readiness
    }

    /// Tells health checks and calls, unless they were told for the last time.
    pub async fn set(&self, ready: bool) {
        let closed = self.closed.lock().await;
        if !*closed {
            self.tell(ready).await;
        }
    }

    async fn tell(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in SERVICES {
            self.health.set_service_status(service, status).await;
        }
    }

    /// Says for the last time that nothing is served, and ends the streams that watch health: they
    /// would hold a shutdown open.
    pub async fn close(&self) {
        let mut closed = self.closed.lock().await;
        *closed = true;
        self.tell(false).await;
        let mut health = self.health.clone();
        for service in SERVICES {
            health.clear_service_status(service).await;
        }
    }

    /// Whether calls can be served.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}

/// What an operator can set about the listener's side.
#[derive(Debug, Clone)]
pub struct TransportRules {
    /// The REST API.
    pub rest: RestRules,
    /// Origins whose pages may call, or `*` for all; empty for none.
    pub origins: Vec<String>,
    /// Most bytes of a gRPC message that is sent to the service.
    pub message_bytes: usize,
    /// Most calls that are worked on at a time.
    pub calls: u32,
    /// Most streams and downloads that are open at a time.
    pub lasting: u32,
    /// Most calls of one key in a minute that write events; 0 for no limit.
    pub writes_per_minute: u32,
    /// Most other calls of one key in a minute; 0 for no limit.
    pub others_per_minute: u32,
    /// The proxies whose word about the client's address is taken.
    pub trusted_proxies: TrustedProxies,
}

/// Makes the routes, and the switch that tells whether they can be served.
pub async fn routes(
    services: &Services,
    rules: &TransportRules,
    telemetry: &Telemetry,
) -> Result<(Routes, Readiness), tonic_reflection::server::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let readiness = Readiness::new(reporter).await;
    let gate = Arc::new(Gate::new(services.auth.clone(), readiness.clone()));
    let rates = Arc::new(Rates::new(rules.writes_per_minute, rules.others_per_minute));
    let capacity =
        Capacity::new(rules.calls, rules.lasting, rules.rest.body_patience, rules.message_bytes);
    let capacity = Arc::new(capacity);
    let grpc = rpcs(services, rules.message_bytes)
        // Who asks these needs no key, and never much.
        .add_service(health.max_decoding_message_size(HEALTH_BYTES))
        .add_service(reflection().build_v1()?.max_decoding_message_size(QUESTION_BYTES))
        .add_service(reflection().build_v1alpha()?.max_decoding_message_size(QUESTION_BYTES))
        .into_axum_router()
        // tonic's fallback would answer HTTP requests with a gRPC status.
        .reset_fallback()
        .layer(middleware::from_fn(undecodable::refuse))
        .layer(middleware::from_fn_with_state(rates.clone(), rate::of_rpc))
        .layer(middleware::from_fn_with_state(gate.clone(), auth::of_rpc))
        // Outside of the credential check, which may wait for the database.
        .layer(middleware::from_fn(deadline::enforce))
        .layer(middleware::from_fn_with_state(capacity.clone(), capacity::bound_rpc))
        // Whatever the others answer is told to browsers in their form.
        .layer(GrpcWebLayer::new())
        .layer(middleware::from_fn(only_grpc));
    let download = Router::new()
        .route(&format!("{DOWNLOAD_PATH}/{{id}}"), get(http::download::download))
        .with_state(services.exports.clone());
    let tlog = Router::new()
        .route("/tlog/{organization}/checkpoint", get(http::tlog::checkpoint))
        .route("/tlog/{organization}/tile/{*path}", get(http::tlog::tile))
        .with_state(services.transparency.clone())
        .route_layer(middleware::from_fn_with_state(rates.clone(), rate::of_http))
        .route_layer(middleware::from_fn_with_state(gate.clone(), auth::of_http));
    let health = Router::new()
        .route("/healthz", get(http::health::live))
        .route("/readyz", get(http::health::ready))
        .with_state(readiness.clone());
    let http = rest::routes(services, gate, rates, rules.rest)
        .merge(download)
        .merge(tlog)
        .merge(health)
        .method_not_allowed_fallback(async || Refusal::WrongMethod);
    let router = grpc
        .merge(http)
        .fallback_service(any(unknown))
        .layer(middleware::from_fn_with_state(capacity, capacity::admit))
        .layer(middleware::from_fn_with_state(Observer::new(telemetry.clone()), observe::observe))
        .layer(middleware::from_fn_with_state(rules.trusted_proxies.clone(), origin::note))
        .layer(middleware::from_fn(request_id::assign));
    let router = if rules.origins.is_empty() { router } else { router.layer(cors(&rules.origins)) };
    Ok((Routes::from(router), readiness))
}

/// The services of the contract, which take messages of at most so many bytes.
fn rpcs(services: &Services, most: usize) -> Routes {
    let audit_logs = AuditLogsService::new(services.clone());
    let organizations = OrganizationsService::new(services.organizations.clone());
    let log_streams = LogStreamsService::new(services.log_streams.clone());
    let transparency = TransparencyLogService::new(services.transparency.clone());
    let api_keys = ApiKeysService::new(services.api_keys.clone());
    Routes::new(AuditLogsServer::new(audit_logs).max_decoding_message_size(most))
        .add_service(OrganizationsServer::new(organizations).max_decoding_message_size(most))
        .add_service(LogStreamsServer::new(log_streams).max_decoding_message_size(most))
        .add_service(TransparencyLogServer::new(transparency).max_decoding_message_size(most))
        .add_service(ApiKeysServer::new(api_keys).max_decoding_message_size(most))
}

/// What describes the services.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Lets pages of these origins call and read the answers.
fn cors(origins: &[String]) -> CorsLayer {
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok()))
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        // Keys travel in `authorization`, which a wildcard does not cover.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(PREFLIGHT)
}

/// Says that a request speaks gRPC or gRPC-Web.
pub fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Tells who calls an RPC in another language what it takes.
async fn only_grpc(request: Request, next: Next) -> Response {
    if is_grpc(&request) {
        return next.run(request).await;
    }
    Refusal::NotGrpc.into_response()
}

/// Answers what no route matches, in the language of the request.
async fn unknown(request: Request) -> Response {
    if is_grpc(&request) {
        let mut status = Status::unimplemented("there is no such service or method").into_http();
        if let Some(content_type) = request.headers().get(header::CONTENT_TYPE) {
            status.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
        }
        return status;
    }
    Refusal::UnknownPath.into_response()
}
