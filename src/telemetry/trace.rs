//! Spans. They are made by hand and without `tracing`'s own: a call has few of them, and whatever a span
//! costs every call pays.

use std::{borrow::Cow, time::SystemTime};

use opentelemetry::{
    Context, KeyValue, TraceId,
    propagation::{Extractor, TextMapPropagator},
    trace::{
        Link as SdkLink, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt,
        Tracer as _, TracerProvider,
    },
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider, Span as SdkSpan},
};

use super::SCOPE;

/// Longest `tracestate` that is taken, in bytes.
const TRACE_STATE: usize = 512;
/// Most links of one span, as is the default of OpenTelemetry's specification.
const MOST_LINKS: usize = 128;

/// Makes spans, if traces are exported. Cheap to clone.
#[derive(Clone)]
pub struct Tracer {
    tracer: Option<SdkTracer>,
    reads_context: bool,
}

/// What a span is a part of.
#[derive(Debug, Clone)]
pub struct Parent(pub(super) Option<SpanContext>);

/// A place in another trace.
#[derive(Debug, Clone)]
pub struct Link(Option<SpanContext>);

/// Places in other traces that one span tells of.
#[derive(Debug, Default)]
pub struct Links(Vec<SdkLink>);

/// A span, until it is dropped; or nothing, where it is not recorded.
#[must_use = "it ends when it is dropped"]
pub struct Span(Option<SdkSpan>);

/// The two headers of a W3C trace context.
struct Headers<'a> {
    parent: &'a str,
    state: &'a str,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.parent),
            "tracestate" => Some(self.state),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

impl Parent {
    /// No parent: a span under it begins a trace.
    pub const NONE: Self = Self(None);

    /// The trace, if there is one.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.0.as_ref().map(SpanContext::trace_id)
    }

    /// A link to it.
    pub fn link(&self) -> Link {
        Link(self.0.clone().filter(SpanContext::is_sampled))
    }
}

impl Links {
    /// Adds one, if it is recorded and there is room.
    pub fn add(&mut self, link: &Link) {
        if let Some(context) = link.0.as_ref().filter(|_| self.0.len() < MOST_LINKS) {
            self.0.push(SdkLink::with_context(context.clone()));
        }
    }
}

impl Tracer {
    pub(super) fn new(provider: Option<&SdkTracerProvider>, reads_context: bool) -> Self {
        Self { tracer: provider.map(|provider| provider.tracer(SCOPE)), reads_context }
    }

    /// Whether spans go anywhere.
    pub const fn is_on(&self) -> bool {
        self.tracer.is_some()
    }

    /// Reads the trace context of a request: `traceparent` and `tracestate` (W3C Trace Context).
    pub fn parent(&self, parent: Option<&str>, state: Option<Cow<'_, str>>) -> Parent {
        let Some(parent) = parent.filter(|_| self.reads_context) else { return Parent::NONE };
        // It is kept with every span: W3C asks for 512 characters, and strangers may send more.
        let state = state.filter(|state| state.len() <= TRACE_STATE).unwrap_or_default();
        let headers = Headers { parent, state: &state };
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
        let context = context.span().span_context().clone();
        Parent(context.is_valid().then_some(context))
    }

    /// Begins the span of a call that this service answers.
    pub fn server(
        &self,
        name: impl FnOnce() -> String,
        parent: &Parent,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Span {
        let Some(tracer) = &self.tracer else { return Span(None) };
        let span = SpanBuilder::from_name(name())
            .with_kind(SpanKind::Server)
            .with_attributes(attributes());
        Span(Some(tracer.build_with_context(span, &context(parent))))
    }

    /// Begins a span of a worker, which is a trace of its own.
    pub fn root(&self, name: &'static str) -> Span {
        self.child(name, &Parent::NONE)
    }

    /// Begins a span that is a part of `parent`, or the first of a trace.
    pub fn child(&self, name: &'static str, parent: &Parent) -> Span {
        let Some(tracer) = self.tracer.as_ref().filter(|_| is_recorded(parent)) else {
            return Span(None);
        };
        Span(Some(tracer.build_with_context(SpanBuilder::from_name(name), &context(parent))))
    }

    /// Records a span that is over.
    pub fn finished(
        &self,
        name: &'static str,
        parent: &Parent,
        began: SystemTime,
        ended: SystemTime,
        attributes: Vec<KeyValue>,
        links: Links,
    ) {
        let Some(tracer) = self.tracer.as_ref().filter(|_| is_recorded(parent)) else { return };
        let mut span =
            SpanBuilder::from_name(name).with_start_time(began).with_attributes(attributes);
        if !links.0.is_empty() {
            span = span.with_links(links.0);
        }
        tracer.build_with_context(span, &context(parent)).end_with_timestamp(ended);
    }
}

/// Whether a part of `parent` would be recorded: what the caller, or the sampler, left out costs nothing.
fn is_recorded(parent: &Parent) -> bool {
    parent.0.as_ref().is_none_or(SpanContext::is_sampled)
}

fn context(parent: &Parent) -> Context {
    match &parent.0 {
        Some(parent) => Context::new().with_remote_span_context(parent.clone()),
        None => Context::new(),
    }
}

impl Span {
    /// As the parent of others; `otherwise` where this one is nothing.
    pub fn as_parent(&self, otherwise: Parent) -> Parent {
        match &self.0 {
            Some(span) => Parent(Some(span.span_context().clone())),
            None => otherwise,
        }
    }

    /// What tells others that their work is a part of it (W3C Trace Context, section 3.2); none where it is
    /// not recorded.
    pub fn traceparent(&self) -> Option<String> {
        let context = self.0.as_ref()?.span_context();
        let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
        context.is_sampled().then(|| format!("00-{trace}-{span}-{:02x}", flags.to_u8()))
    }

    /// Whether what is set is kept.
    pub fn is_recording(&self) -> bool {
        self.0.as_ref().is_some_and(SdkSpan::is_recording)
    }

    /// Adds a fact: no name of a tenant, no content.
    pub fn set(&mut self, attribute: KeyValue) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(attribute);
        }
    }

    /// Says that the service failed. Not why: the log does.
    pub fn fail(&mut self) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_long_trace_state_is_left_out() {
        let tracer = Tracer::new(None, true);
        let state_of = |state: String| {
            let parent = tracer.parent(Some(PARENT), Some(state.into()));
            parent.0.map(|context| context.trace_state().header())
        };
        assert_eq!(state_of("a=1,b=2".to_owned()).as_deref(), Some("a=1,b=2"));
        // A value has at most 256 characters.
        let long = |last| format!("a={},b={}", "1".repeat(254), "1".repeat(last));
        assert_eq!(long(253).len(), TRACE_STATE);
        assert_eq!(state_of(long(253)), Some(long(253)));
        assert_eq!(state_of(long(254)).as_deref(), Some(""));
    }

    #[test]
    fn what_is_no_parent_is_none() {
        let tracer = Tracer::new(None, true);
        assert!(tracer.parent(Some(PARENT), None).trace_id().is_some());
        assert!(tracer.parent(Some("00-0-0-01"), None).trace_id().is_none());
        assert!(Tracer::new(None, false).parent(Some(PARENT), None).trace_id().is_none());
    }
}
