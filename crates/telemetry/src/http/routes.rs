//! Ready-made routes for probes and scrapers.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY};
use http::{HeaderMap, StatusCode};

use crate::health::{Answer, Health};
use crate::metrics::{Format, Registry};

/// `/health`, `/health/detailed`, `/livez`, `/readyz` and `/startupz`.
pub fn health_routes(health: &Health) -> Router {
    let probe = |answer: fn(&Health) -> Answer| {
        let health = health.clone();
        get(move || async move { respond(&answer(&health), "application/json") })
    };
    let detailed = {
        let health = health.clone();
        get(move |headers: HeaderMap| async move {
            let wanted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
            if wanted.contains("application/health+json") {
                respond(&health.detailed_draft(), "application/health+json")
            } else {
                respond(&health.detailed(), "application/json")
            }
        })
    };
    Router::new()
        .route("/health", probe(Health::liveness))
        .route("/livez", probe(Health::liveness))
        .route("/readyz", probe(Health::readiness))
        .route("/startupz", probe(Health::startup))
        .route("/health/detailed", detailed)
}

fn respond(answer: &Answer, content_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(answer.body.to_string()));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    if let Some(seconds) = answer.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The metrics of `registry` at `path`, in the format the scraper prefers.
pub fn metrics_routes(registry: &Registry, path: &str) -> Router {
    let registry = registry.clone();
    let scrape = move |headers: HeaderMap| async move {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let format = Format::negotiate(accept);
        let mut response = Response::new(Body::from(registry.encode(format)));
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("accept"));
        response
    };
    Router::new().route(path, get(scrape))
}
