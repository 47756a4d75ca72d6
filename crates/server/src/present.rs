//! The layer that writes problem documents: only here a problem meets the request it answers.

use crate::App;
use crate::handlers::designs::Origin;
use crate::problem::{PROBLEM_JSON, Place, Problem};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderValue, header};
use microdiff_telemetry::audit::UserId;
use microdiff_telemetry::http::{ErrorType, RequestContext};
use microdiff_telemetry::redaction::Scrubber;
use std::sync::Arc;

/// Longest part of a path that is given back, characters.
const SEGMENT_CHARS: usize = 64;

/// Which request this is: its id and trace, as the telemetry layer gave them.
pub(crate) fn origin(request: &Request) -> Origin {
    let context = request.extensions().get::<RequestContext>();
    let caller = request.extensions().get::<UserId>();
    Origin {
        request_id: context.map(|context| context.request_id.to_string()).unwrap_or_default(),
        span: context.map(|context| context.span.clone()),
        caller: caller.map_or_else(|| "anonymous".into(), |caller| caller.0.to_string()),
    }
}

/// Fills in the document of a [`Problem`] answer.
pub(crate) async fn problems(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let instance = shown_path(app.telemetry.scrubber(), request.uri().path());
    let origin = origin(&request);
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let trace_id = origin.span.map(|span| span.context().trace_id.to_string()).unwrap_or_default();
    let place = Place { instance, request_id: origin.request_id, trace_id };
    let document = problem.document(&place, app.telemetry.scrubber()).to_string();
    response.extensions_mut().insert(ErrorType(problem.error_type()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    *response.body_mut() = Body::from(document);
    response
}

/// The path of a request as its problem document names it: each part cut, and scrubbed, because
/// documents are kept where paths are not expected to hold secrets.
fn shown_path(scrubber: &Scrubber, path: &str) -> String {
    let shown = |part: &str| {
        let cut: String = part.chars().take(SEGMENT_CHARS).collect();
        scrubber.scrub(&cut).into_owned()
    };
    path.split('/').map(shown).collect::<Vec<_>>().join("/")
}
