//! Every call and request as operators see it: a span, a measurement, a line in the log at `debug`; and
//! the request's id and trace on whatever is logged meanwhile.
//!
//! Spans and metrics follow OpenTelemetry's semantic conventions for gRPC and HTTP servers, but for
//! `url.path` and `url.query`: paths have ids of tenants, and queries have signatures.

mod body;
mod methods;

use std::{borrow::Cow, sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};
use opentelemetry::{KeyValue, StringValue};

use self::{body::Observed, methods::Methods};
use super::request_id::RequestId;
use crate::telemetry::{Current, Parent, Running, Span, Telemetry};

/// What observes calls. Cheap to clone.
#[derive(Clone)]
pub struct Observer {
    telemetry: Telemetry,
    methods: Arc<Methods>,
}

/// What was asked for.
enum Target {
    /// An RPC, as `package.Service/Method`.
    Rpc(Arc<str>),
    /// The method and the template of the path, if it matches one.
    Http(&'static str, Option<MatchedPath>),
}

/// A call that is under way. When it is dropped before it ended, its client went away.
struct Call {
    telemetry: Telemetry,
    target: Target,
    span: Span,
    current: Arc<Current>,
    began: Instant,
    status: Option<u16>,
    told: bool,
    _running: Running,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The code of an RPC.
    Grpc(tonic::Code),
    /// All of the answer to an HTTP request was sent.
    Http,
    /// The answer broke off: the service could not go on.
    Broken,
    /// The client went away.
    Gone,
}

impl Observer {
    /// Tells `telemetry`.
    pub fn new(telemetry: Telemetry) -> Self {
        Self { telemetry, methods: Arc::new(Methods::known()) }
    }

    fn begin(&self, request: &Request) -> Call {
        let Telemetry { metrics, tracer, .. } = &self.telemetry;
        let headers = request.headers();
        let target = if super::router::is_grpc(request) {
            Target::Rpc(self.methods.of(request.uri().path()))
        } else {
            let route = request.extensions().get::<MatchedPath>().cloned();
            Target::Http(methods::http(request.method()), route)
        };
        let id = request.extensions().get::<RequestId>().map_or("", RequestId::as_str);
        let remote = tracer.parent(only(headers, "traceparent"), joined(headers, "tracestate"));
        let span = tracer.server(|| target.name(), &remote, || target.attributes(id));
        let parent: Parent = span.as_parent(remote);
        let current = Arc::new(Current::new(id, parent, tracer.clone(), metrics.clone()));
        Call {
            telemetry: self.telemetry.clone(),
            target,
            span,
            current,
            began: Instant::now(),
            status: None,
            told: false,
            _running: metrics.begins(),
        }
    }
}

/// Observes a request until the last of its answer was sent.
pub async fn observe(State(observer): State<Observer>, request: Request, next: Next) -> Response {
    let mut call = observer.begin(&request);
    let response = call.current.scope(next.run(request)).await;
    let (parts, inner) = response.into_parts();
    call.status = Some(parts.status.as_u16());
    // An RPC that failed at once has its status among the headers.
    if matches!(call.target, Target::Rpc(_))
        && let Some(code) = body::grpc_status(&parts.headers)
    {
        call.end(End::Grpc(code));
        return Response::from_parts(parts, inner);
    }
    let web = parts.headers.get(header::CONTENT_TYPE).and_then(body::Web::of);
    Response::from_parts(parts, Body::new(Observed::new(inner, call, web)))
}

/// The one header of that name. More are as none (W3C Trace Context, section 3.2).
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// All headers of that name as one (RFC 9110, section 5.3), as `tracestate` may be sent.
fn joined<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter().map_while(|value| value.to_str().ok());
    let first = Cow::Borrowed(values.next()?);
    Some(values.fold(first, |joined, more| Cow::Owned(format!("{joined},{more}"))))
}

impl Target {
    fn name(&self) -> String {
        match self {
            Self::Rpc(method) => method.to_string(),
            Self::Http(method, Some(route)) => format!("{method} {}", route.as_str()),
            Self::Http(method, None) => (*method).to_owned(),
        }
    }

    fn attributes(&self, id: &str) -> Vec<KeyValue> {
        // Room for what is set at the end, too.
        let mut attributes = Vec::with_capacity(6);
        match self {
            Self::Rpc(method) => {
                attributes.push(KeyValue::new("rpc.system.name", "grpc"));
                attributes.push(KeyValue::new("rpc.method", StringValue::from(method.clone())));
            }
            Self::Http(method, route) => {
                attributes.push(KeyValue::new("http.request.method", *method));
                let route = route.as_ref().map(|route| route.as_str().to_owned());
                attributes.extend(route.map(|route| KeyValue::new("http.route", route)));
            }
        }
        attributes.push(KeyValue::new("audit_logs.request.id", id.to_owned()));
        attributes
    }
}

impl Call {
    /// Tells that it ended.
    fn end(mut self, end: End) {
        self.tell(end);
    }

    fn tell(&mut self, end: End) {
        self.told = true;
        let took = self.began.elapsed();
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let metrics = &self.telemetry.metrics;
        let (failed, status) = match (&self.target, end) {
            (Target::Rpc(method), end) => {
                let code = match end {
                    End::Grpc(code) => code,
                    End::Http => tonic::Code::Unknown,
                    End::Broken => tonic::Code::Internal,
                    End::Gone => tonic::Code::Cancelled,
                };
                let name = methods::code(code);
                metrics.rpc(method.clone(), name, took);
                self.current.scope_now(
                    || tracing::debug!(%method, code = name, milliseconds, "a call was answered"),
                );
                (methods::is_failure(code), KeyValue::new("rpc.response.status_code", name))
            }
            (Target::Http(method, route), end) => {
                let status = match end {
                    End::Gone => methods::CLIENT_GONE,
                    End::Broken => methods::BROKEN,
                    End::Grpc(_) | End::Http => self.status.unwrap_or(methods::CLIENT_GONE),
                };
                let route = route.as_ref().map(MatchedPath::as_str);
                metrics.http(method, route, status, took);
                self.current.scope_now(|| {
                    tracing::debug!(method, route, status, milliseconds, "a request was answered");
                });
                let status_code = KeyValue::new("http.response.status_code", i64::from(status));
                (status >= 500, status_code)
            }
        };
        if failed {
            let error = KeyValue::new("error.type", status.value.clone().as_str().into_owned());
            self.span.set(error);
            self.span.fail();
        }
        self.span.set(status);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.told {
            self.tell(End::Gone);
        }
    }
}
