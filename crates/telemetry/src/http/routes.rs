//! Ready-made routes for probes and scrapers.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY};
use http::{HeaderMap, StatusCode};

use crate::health::{Answer, Health};
use crate::metrics::{Format, Registry, prefers};

const JSON: &str = "application/json";
/// draft-inadarei-api-health-check-06.
const HEALTH_JSON: &str = "application/health+json";

/// `/health`, `/health/detailed`, `/livez`, `/readyz` and `/startupz`.
pub fn health_routes(health: &Health) -> Router {
    let probe = |answer: fn(&Health) -> Answer| {
        let health = health.clone();
        get(move || async move { respond(&answer(&health), JSON) })
    };
    let detailed = {
        let health = health.clone();
        get(move |headers: HeaderMap| async move {
            let wanted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
            if prefers(wanted, HEALTH_JSON, JSON) {
                respond(&health.detailed_draft(), HEALTH_JSON)
            } else {
                respond(&health.detailed(), JSON)
            }
        })
    };
    let alive = || {
        let health = health.clone();
        get(move || async move { respond_alive(&health) })
    };
    Router::new()
        .route("/health", alive())
        .route("/livez", alive())
        .route("/readyz", probe(Health::readiness))
        .route("/startupz", probe(Health::startup))
        .route("/health/detailed", detailed)
}

fn respond_alive(health: &Health) -> Response {
    let (alive, body) = health.liveness_bytes();
    let status = if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let retry_after = (!alive).then(|| health.retry_after_seconds());
    response(status, Body::from(body), JSON, retry_after)
}

fn respond(answer: &Answer, content_type: &'static str) -> Response {
    let body = Body::from(answer.body.to_string());
    response(answer.status, body, content_type, answer.retry_after)
}

fn response(
    status: StatusCode,
    body: Body,
    content_type: &'static str,
    retry_after: Option<u64>,
) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // With the ids that the recording layer adds.
    headers.reserve(6);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The metrics of `registry` at `path`, in the format the scraper prefers.
pub fn metrics_routes(registry: &Registry, path: &str) -> Router {
    let registry = registry.clone();
    let scrape = move |headers: HeaderMap| async move {
        let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let format = Format::negotiate(accept);
        let body = Body::from(registry.encode(format));
        response(StatusCode::OK, body, format.content_type(), None)
    };
    Router::new().route(path, get(scrape))
}
