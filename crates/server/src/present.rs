//! The layer that writes problem documents: only here a problem meets the request it answers.

use crate::handlers::designs::Origin;
use crate::problem::{PROBLEM_JSON, Place, Problem};
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderValue, header};

/// Fills in the document of a [`Problem`] answer.
pub(crate) async fn problems(request: Request, next: Next) -> Response {
    let instance = request.uri().path().to_owned();
    let origin = origin(&request);
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let trace_id = origin
        .traceparent
        .as_deref()
        .and_then(|traceparent| traceparent.split('-').nth(1))
        .unwrap_or_default()
        .to_owned();
    let place = Place { instance, request_id: origin.request_id, trace_id };
    let document = problem.document(&place).to_string();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    *response.body_mut() = Body::from(document);
    response
}
