//! One request's record, written exactly once.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{Method, StatusCode};

use super::endpoint::Route;
use super::layer::Shared;
use crate::context::{self, Entered, RequestIds};
use crate::metrics::GaugeHold;
use crate::traces::{ParentSpan, Span, TraceContext, catalogue};

/// What handlers know about the request they serve; a request extension.
#[derive(Clone)]
pub struct RequestContext {
    /// The request's id, the caller's own if it sent a sane one.
    pub request_id: Arc<str>,
    /// Starts spans inside the request's span, also after the answer is sent.
    pub span: ParentSpan,
    pub(super) ids: Arc<RequestIds>,
}

impl RequestContext {
    /// The ids of the request's span.
    #[must_use]
    pub const fn trace(&self) -> TraceContext {
        self.span.context()
    }

    /// Gives the log lines that the calling thread writes from here on the ids of this request, as
    /// those of its handler have by themselves. For work on other threads.
    pub fn enter(&self) -> Entered {
        context::enter(&self.ids)
    }

    /// Makes the request's log lines say who asked, by a keyed hash; the first call counts.
    pub fn set_user_id(&self, user_id: impl Into<Arc<str>>) {
        let _ = self.ids.user_id.set(user_id.into());
    }
}

/// Why a request failed, for `request_errors_total` and the access line; a response extension. One
/// of [`super::HttpOptions::error_types`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorType(pub &'static str);

pub(super) struct Recorder {
    pub(super) shared: Arc<Shared>,
    pub(super) route: Arc<Route>,
    pub(super) started: Instant,
    pub(super) span: Span,
    pub(super) ids: Arc<RequestIds>,
    /// Whether the request says that it came by TLS; only one in absolute form can.
    pub(super) secure: bool,
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
        let ended = Instant::now();
        let took = ended.saturating_duration_since(self.started);
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
        if failed {
            self.span.fail(error_type.unwrap_or("internal"));
        }
        self.span.end_at(ended);
        let kept = self.span.settle();
        if kept {
            self.describe_span(status, error_type);
        }
        // Also of a request that is kept because it failed or was slow: it is the one looked for.
        let context = self.span.context();
        if context.sampled || kept {
            let seconds = took.as_secs_f64();
            self.route.duration.observe_traced(seconds, context.trace_id, SystemTime::now());
        } else {
            self.route.duration.observe(took.as_secs_f64());
        }
        self.shared.outcomes.count_status(status);
        if let Some(error_type) = error_type {
            self.shared.outcomes.count_error(error_type);
        }
        // A probe that says no, or a scraper that hangs up, is their way to work; a probe that
        // breaks is not.
        if !self.route.quiet
            || matches!(error_type, Some("panic" | "internal" | "service")) && status == 500
        {
            self.write_line(status, failed, error_type, took.as_secs_f64() * 1e3);
        }
    }

    /// Only once it is known that the span is kept: most are not.
    fn describe_span(&mut self, status: u16, error_type: Option<&'static str>) {
        self.route.describe(&mut self.span, self.secure);
        self.span.set(catalogue::REQUEST_ID.name, Arc::clone(&self.ids.request_id));
        self.span.set(catalogue::STATUS.name, status);
        self.span.set(catalogue::BODY_SIZE.name, self.bytes);
        if let Some(error_type) = error_type {
            self.span.set(catalogue::ERROR_TYPE.name, error_type);
        }
    }

    fn write_line(
        &self,
        status: u16,
        failed: bool,
        error_type: Option<&'static str>,
        duration_ms: f64,
    ) {
        let _entered = context::enter(&self.ids);
        let (method, endpoint) = (self.route.method, &*self.route.endpoint);
        let (bytes, success) = (self.bytes, !failed);
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    parent: None, $level,
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
