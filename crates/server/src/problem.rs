//! Errors as a client sees them: problem documents after RFC 9457.
//!
//! Every text here is public: it was written for the client or by the client. Internal errors are
//! logged where they happen and appear here only as their code.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use microdiff_telemetry::redaction::Scrubber;
use serde::{Deserialize, Serialize};

/// Media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Longest text of a problem, characters: a field's value may be quoted in it.
const DETAIL_CHARS: usize = 600;

/// Every `error_type` of [`Problem::error_type`]; the metrics know them beforehand.
pub(crate) const ERROR_TYPES: &[&str] = &[
    "missing_field",
    "invalid_field",
    "unknown_field",
    "malformed_body",
    "unknown_route",
    "unknown_design",
    "wrong_method",
    "slow_body",
    "body_too_large",
    "wrong_media_type",
    "queue_full",
    "uploads_full",
    "draining",
    "foreign_origin",
    "deadline",
    "no_room",
    "design_failed",
    "record_failed",
    "database_failed",
    "record_unreadable",
    "storage_failed",
    "database_unavailable",
    "audit_unavailable",
    "unknown_flight",
];

/// A design that panicked.
pub(crate) const PANIC: &str = "panic";
/// A design whose thread could not be started.
pub(crate) const THREAD_FAILED: &str = "thread_failed";
/// An answer that is no JSON.
pub(crate) const ANSWER_UNWRITABLE: &str = "answer_unwritable";
/// A design that never came to an end, however often it was begun.
pub(crate) const ATTEMPTS_EXHAUSTED: &str = "attempts_exhausted";

/// The codes of failed jobs that are no refusal of the engine's.
pub(crate) const JOB_FAILURES: [&str; 4] =
    [PANIC, THREAD_FAILED, ANSWER_UNWRITABLE, ATTEMPTS_EXHAUSTED];

/// Who is at fault in a failed job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// The request is impossible or incomplete.
    Usage,
    /// The scan cannot be used.
    Data,
    /// The service.
    Internal,
}

/// Why a job has no answer, as its record keeps it and its submitter reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Who is at fault.
    pub kind: FailureKind,
    /// Stable short name from a closed set; also the `error_type` of metrics.
    pub code: String,
    /// Public text.
    pub detail: String,
}

impl Failure {
    /// A failure of the service itself; the reason stays in the log.
    #[must_use]
    pub fn internal(code: &str) -> Self {
        Self {
            kind: FailureKind::Internal,
            code: code.into(),
            detail: "The service failed to finish this design. The log has the reason.".into(),
        }
    }
}

/// One problem, before it knows which request it answers.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: String,
    error_type: &'static str,
    detail: String,
    retry_after_seconds: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: &str) -> Self {
        debug_assert!(ERROR_TYPES.contains(&code), "{code} is not in the list of error types");
        Self {
            status,
            code: code.into(),
            error_type: code,
            detail: detail.into(),
            retry_after_seconds: None,
        }
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// 400: a field that must be there is not.
    #[must_use]
    pub fn missing_field(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "missing_field", detail)
    }

    /// 400: a field's value cannot be used.
    #[must_use]
    pub fn invalid_field(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_field", detail)
    }

    /// 400: a field nobody knows.
    #[must_use]
    pub fn unknown_field(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unknown_field", detail)
    }

    /// 400: a body that breaks off or is not what its type says.
    #[must_use]
    pub fn malformed_body(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_body", detail)
    }

    /// 404: no such route.
    #[must_use]
    pub fn unknown_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_route", "Nothing is served at this address.")
    }

    /// 404: no such design.
    #[must_use]
    pub fn unknown_design() -> Self {
        let detail = "No design has this id; records of ended designs are removed in time.";
        Self::new(StatusCode::NOT_FOUND, "unknown_design", detail)
    }

    /// 404: no such flight record.
    #[must_use]
    pub fn unknown_flight() -> Self {
        let detail = "The flight recorder holds no record of this id; older ones make room.";
        Self::new(StatusCode::NOT_FOUND, "unknown_flight", detail)
    }

    /// 405: the route does not take this method.
    #[must_use]
    pub fn wrong_method() -> Self {
        let detail = "This address takes the methods listed in the Allow header.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", detail)
    }

    /// 408: the body came too slowly.
    #[must_use]
    pub fn slow_body(detail: &str) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow_body", detail)
    }

    /// 413: the body is too large.
    #[must_use]
    pub fn body_too_large(limit_bytes: u64) -> Self {
        let detail = format!("The body may have {limit_bytes} bytes at most.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", &detail)
    }

    /// 415: the body is of another type.
    #[must_use]
    pub fn wrong_media_type() -> Self {
        let detail = "The body must be multipart/form-data with a file in the field \"scan\".";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong_media_type", detail)
    }

    /// 429: the queue has no room.
    #[must_use]
    pub fn queue_full(capacity: usize, retry_after_seconds: u64) -> Self {
        let detail = format!("{capacity} designs are waiting already; try again later.");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", &detail)
            .retry_after(retry_after_seconds)
    }

    /// 429: too many uploads at once.
    #[must_use]
    pub fn uploads_full(limit: usize) -> Self {
        let detail = format!("{limit} uploads are under way already; try again later.");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "uploads_full", &detail).retry_after(5)
    }

    /// 503: stopping.
    #[must_use]
    pub fn draining() -> Self {
        let detail = "The service is stopping and takes no new designs.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail).retry_after(10)
    }

    /// 403: a browser's page has no business on the admin listener.
    #[must_use]
    pub fn foreign_origin() -> Self {
        let detail = "The admin listener answers no request that carries an Origin header.";
        Self::new(StatusCode::FORBIDDEN, "foreign_origin", detail)
    }

    /// 503: the job database is locked or out of place; it may well answer later.
    #[must_use]
    pub fn database_unavailable() -> Self {
        let detail = "The service cannot reach its records now; try again later.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", detail).retry_after(5)
    }

    /// 503: the submission cannot be put on record.
    #[must_use]
    pub fn audit_unavailable() -> Self {
        let detail = "The service cannot put designs on record now; try again later.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "audit_unavailable", detail).retry_after(10)
    }

    /// 504: not answered in time.
    #[must_use]
    pub fn deadline() -> Self {
        let detail = "The service did not answer in time.";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline", detail).retry_after(5)
    }

    /// 507: no room for the scan.
    #[must_use]
    pub fn no_room() -> Self {
        let detail = "The service has no room to store this scan.";
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "no_room", detail).retry_after(60)
    }

    /// 500: the service is at fault; the reason stays in the log.
    #[must_use]
    pub fn internal(code: &'static str) -> Self {
        let detail = "The service failed. The log has the reason under this request id.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail)
    }

    /// The public text.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Stable short name from a closed set.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The `error_type` of the request's metrics: the code, but one for all failed designs, which
    /// have metrics of their own.
    pub(crate) fn error_type(&self) -> &'static str {
        self.error_type
    }

    /// The status it is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The document, for the request at `place`.
    pub(crate) fn document(&self, place: &Place, scrubber: &Scrubber) -> serde_json::Value {
        let detail: String = self.detail.chars().take(DETAIL_CHARS).collect();
        serde_json::json!({
            "type": format!("urn:microdiff:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": scrubber.scrub(&detail),
            "instance": place.instance,
            "code": self.code,
            "request_id": place.request_id,
            "trace_id": place.trace_id,
        })
    }
}

impl From<&Failure> for Problem {
    fn from(failure: &Failure) -> Self {
        let status = match failure.kind {
            FailureKind::Usage => StatusCode::BAD_REQUEST,
            FailureKind::Data => StatusCode::UNPROCESSABLE_ENTITY,
            FailureKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut problem = Self::new(status, "design_failed", &failure.detail);
        problem.code.clone_from(&failure.code);
        problem
    }
}

/// Which request a problem answers.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) instance: String,
    pub(crate) request_id: String,
    pub(crate) trace_id: String,
}

/// Leaves the problem in the answer's extensions; the `present` layer writes the document, because
/// only there the request is known.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Text from outside made fit to be echoed: at most 80 characters on one line.
pub(crate) fn echo(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
