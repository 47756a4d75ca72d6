//! One request's record, written exactly once.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::uri::Scheme;
use http::{Method, StatusCode, Uri};

use super::layer::Shared;
use crate::metrics::{Counter, GaugeHold, Histogram};
use crate::traces::{ParentSpan, Span, TraceContext, catalogue};

/// What handlers know about the request they serve; a request extension.
#[derive(Clone)]
pub struct RequestContext {
    /// The request's id, the caller's own if it sent a sane one.
    pub request_id: Arc<str>,
    /// Starts spans inside the request's span, also after the answer is sent.
    pub span: ParentSpan,
}

impl RequestContext {
    /// The ids of the request's span.
    #[must_use]
    pub const fn trace(&self) -> TraceContext {
        self.span.context()
    }
}

/// Why a request failed, for `request_errors_total` and the access line; a response extension. From
/// a bounded set of the service's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorType(pub &'static str);

/// The handles of one route.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) endpoint: String,
    pub(super) span: SpanNames,
    pub(super) quiet: bool,
    pub(super) success: Counter,
    pub(super) error: Counter,
    pub(super) duration: Histogram,
}

/// What the spans of one route are called by the semantic conventions.
pub(super) struct SpanNames {
    name: Arc<str>,
    method: &'static str,
    route: Option<Arc<str>>,
}

impl SpanNames {
    /// `route` is the template that matched, if one did.
    pub(super) fn of(method: &'static str, route: Option<&str>) -> Self {
        let known = catalogue::METHODS.contains(&method);
        let shown = if known { method } else { "HTTP" };
        let name = route.map_or_else(|| shown.to_owned(), |route| format!("{shown} {route}"));
        let method = if known { method } else { "_OTHER" };
        Self { name: name.into(), method, route: route.map(Arc::from) }
    }
}

impl Route {
    pub(super) fn describe(&self, span: &mut Span, uri: &Uri) {
        span.rename(Arc::clone(&self.span.name));
        span.set(catalogue::METHOD.name, self.span.method);
        if let Some(route) = &self.span.route {
            span.set(catalogue::ROUTE.name, Arc::clone(route));
        }
        // A server is told the scheme only by a request in absolute form.
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        span.set(catalogue::SCHEME.name, if secure { "https" } else { "http" });
    }
}

pub(super) struct Recorder {
    pub(super) shared: Arc<Shared>,
    pub(super) route: Arc<Route>,
    pub(super) started: Instant,
    pub(super) span: Span,
    pub(super) log_span: tracing::Span,
    pub(super) head: bool,
    pub(super) status: Option<StatusCode>,
    pub(super) error_type: Option<&'static str>,
    pub(super) bytes: u64,
    pub(super) recorded: bool,
    pub(super) _in_flight: GaugeHold,
}

/// The status under which a client that left is counted, after a well-known web server's habit.
const CLIENT_LEFT: u16 = 499;

impl Recorder {
    pub(super) fn is_head(method: &Method) -> bool {
        *method == Method::HEAD
    }

    pub(super) fn has_no_body(&self) -> bool {
        let status = self.status.unwrap_or(StatusCode::OK);
        self.head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    pub(super) fn add_bytes(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The answer went out whole.
    pub(super) fn complete(&mut self) {
        self.record();
    }

    /// Something broke on the way.
    pub(super) fn fail(&mut self, error_type: &'static str) {
        self.error_type = Some(error_type);
        self.record();
    }

    fn record(&mut self) {
        if std::mem::replace(&mut self.recorded, true) {
            return;
        }
        let took = self.started.elapsed();
        let cancelled = self.error_type == Some("cancelled");
        let status = match self.status {
            Some(status) if !cancelled => status.as_u16(),
            _ if cancelled => CLIENT_LEFT,
            _ => 500,
        };
        let broke = matches!(self.error_type, Some("cancelled" | "body" | "timeout"));
        let failed = status >= 500 || status == 408 || broke;
        let error_type = self
            .error_type
            .or_else(|| failed.then_some(if status == 408 { "timeout" } else { "internal" }));
        let counter = if failed { &self.route.error } else { &self.route.success };
        counter.inc();
        self.finish_span(status, failed, error_type);
        let context = self.span.context();
        // Also of a request that is kept because it failed or was slow: it is the one looked for.
        if context.sampled || self.span.settle() {
            let seconds = took.as_secs_f64();
            self.route.duration.observe_traced(seconds, context.trace_id, SystemTime::now());
        } else {
            self.route.duration.observe(took.as_secs_f64());
        }
        self.shared.count_status(status);
        if let Some(error_type) = error_type {
            self.shared.count_error(error_type);
        }
        // A probe that says no, or a scraper that hangs up, is their way to work; a probe that
        // breaks is not.
        if !self.route.quiet
            || matches!(error_type, Some("panic" | "internal" | "service")) && status == 500
        {
            self.write_line(status, failed, error_type, took.as_secs_f64() * 1e3);
        }
    }

    fn finish_span(&mut self, status: u16, failed: bool, error_type: Option<&'static str>) {
        if !self.span.is_recording() {
            return;
        }
        self.span.set(catalogue::STATUS.name, status);
        self.span.set(catalogue::BODY_SIZE.name, self.bytes);
        if let Some(error_type) = error_type {
            self.span.set(catalogue::ERROR_TYPE.name, error_type);
        }
        if failed {
            self.span.fail(error_type.unwrap_or("internal"));
        }
    }

    fn write_line(
        &self,
        status: u16,
        failed: bool,
        error_type: Option<&'static str>,
        duration_ms: f64,
    ) {
        let (method, endpoint) = (self.route.method, self.route.endpoint.as_str());
        let (bytes, success) = (self.bytes, !failed);
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    parent: &self.log_span, $level,
                    method, endpoint, status, duration_ms, bytes, success,
                    error.type = error_type, function = "access", "request"
                )
            };
        }
        match (failed, status) {
            (true, 500..) => line!(tracing::Level::ERROR),
            (true, _) => line!(tracing::Level::WARN),
            (false, _) => line!(tracing::Level::INFO),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.recorded {
            // A handler that panics takes the future down with it.
            self.fail(if std::thread::panicking() { "panic" } else { "cancelled" });
        }
    }
}
