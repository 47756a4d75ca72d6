//! The layer that writes problem documents: only here a problem meets the request it answers.

use crate::handlers::designs::Origin;
use crate::problem::{PROBLEM_JSON, Place, Problem};
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderValue, header};
use microdiff_telemetry::http::{ErrorType, RequestContext};

/// Which request this is: its id and trace, as the telemetry layer gave them.
pub(crate) fn origin(request: &Request) -> Origin {
    let context = request.extensions().get::<RequestContext>();
    Origin {
        request_id: context.map(|context| context.request_id.to_string()).unwrap_or_default(),
        span: context.map(|context| context.span.clone()),
    }
}

/// Fills in the document of a [`Problem`] answer.
pub(crate) async fn problems(request: Request, next: Next) -> Response {
    let instance = request.uri().path().to_owned();
    let origin = origin(&request);
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let trace_id = origin.span.map(|span| span.context().trace_id.to_string()).unwrap_or_default();
    let place = Place { instance, request_id: origin.request_id, trace_id };
    let document = problem.document(&place).to_string();
    response.extensions_mut().insert(ErrorType(problem.error_type()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    *response.body_mut() = Body::from(document);
    response
}
