//! The request that a task works for, so that whatever it logs, counts and measures can be told to belong
//! to it.

use std::{sync::Arc, time::SystemTime};

use opentelemetry::TraceId;

use super::{
    Metrics,
    trace::{Parent, Span, Tracer},
};

tokio::task_local! {
    static CURRENT: Arc<Current>;
}

/// A request.
pub struct Current {
    request_id: Box<str>,
    parent: Parent,
    tracer: Tracer,
    metrics: Metrics,
}

impl Current {
    /// A request whose spans are parts of `parent`.
    pub fn new(request_id: &str, parent: Parent, tracer: Tracer, metrics: Metrics) -> Self {
        Self { request_id: request_id.into(), parent, tracer, metrics }
    }

    /// Its id.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Its trace, if it has one.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.parent.trace_id()
    }

    /// What spans of it are parts of.
    pub const fn parent(&self) -> &Parent {
        &self.parent
    }

    /// What makes spans of it.
    pub const fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Works for this request.
    pub fn scope<F: Future>(self: &Arc<Self>, work: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), work)
    }

    /// The same, for what does not wait.
    pub fn scope_now<R>(self: &Arc<Self>, work: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self.clone(), work)
    }
}

/// The request that this task works for.
pub fn current() -> Option<Arc<Current>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Takes the request along into another task.
pub async fn carry<F: Future>(current: Option<Arc<Current>>, work: F) -> F::Output {
    match current {
        Some(current) => current.scope(work).await,
        None => work.await,
    }
}

/// Begins a span within the request.
pub fn child(name: &'static str) -> Span {
    CURRENT
        .try_with(|current| current.tracer.child(name, &current.parent))
        .unwrap_or_else(|_| Tracer::new(None, false).root(name))
}

/// Counts a call, or an item of a batch, that was not served, by its reason from the table of errors.
pub fn count_refusal(reason: &'static str) {
    // Outside of a request nobody was refused.
    let _ = CURRENT.try_with(|current| current.metrics.refused(reason));
}

/// The time, for spans alone: what the service decides goes by its clock.
pub fn now() -> SystemTime {
    opentelemetry::time::now()
}
