//! Which address leads where, on each listener.

use crate::App;
use crate::flight::watch;
use crate::handlers::{
    admin, designs, flight, index, models, openapi, unknown_route, wrong_method,
};
use crate::listen::Role;
use crate::present;
use crate::problem::Problem;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use http::Method;
use serde_json::json;
use std::sync::Arc;

/// Longest body of the admin listener, bytes.
const ADMIN_BODY_BYTES: usize = 16 * 1024;

/// The route templates of a listener, for their series to exist before the first request.
pub(crate) fn endpoints(role: Role) -> &'static [(Method, &'static str)] {
    match role {
        Role::Api => &[
            (Method::POST, "/v1/designs"),
            (Method::GET, "/v1/designs/{id}"),
            (Method::GET, "/v1/models"),
            (Method::GET, "/v1/alloys"),
            (Method::GET, "/openapi.json"),
            (Method::GET, "/"),
            (Method::GET, "/health"),
            (Method::GET, "/health/detailed"),
            (Method::GET, "/livez"),
            (Method::GET, "/readyz"),
            (Method::GET, "/startupz"),
        ],
        Role::Metrics => &[(Method::GET, "/metrics")],
        Role::Gpu => &[(Method::GET, "/gpu-metrics")],
        Role::Admin => &[
            (Method::GET, "/"),
            (Method::GET, "/flight"),
            (Method::GET, "/flight/{id}"),
            (Method::GET, "/slo"),
            (Method::GET, "/loglevel"),
            (Method::PUT, "/loglevel"),
            (Method::PUT, "/loglevel/{logger}"),
            (Method::DELETE, "/loglevel/{logger}"),
            (Method::GET, "/cardinality"),
            (Method::POST, "/drain"),
        ],
    }
}

/// Beginnings of addresses that look like file paths and are none.
pub(crate) fn public_paths() -> Vec<String> {
    let all = Role::ALL.iter().flat_map(|role| endpoints(*role));
    // A route's parameter is whatever the caller says; what stands before it is ours.
    all.map(|(_, path)| path.split('{').next().unwrap_or(path).to_owned())
        .filter(|path| path.len() > 1)
        .collect()
}

/// The routes of the API; health routes are merged by the caller.
pub(crate) fn api(app: &Arc<App>) -> Router<Arc<App>> {
    let body_bytes = usize::try_from(app.config.limits.body_bytes).unwrap_or(usize::MAX);
    let quick = Router::new()
        .route("/", get(index::page))
        .route("/openapi.json", get(openapi::get))
        .route("/v1/models", get(models::list))
        .route("/v1/alloys", get(models::alloys))
        .route_layer(from_fn_with_state(Arc::clone(app), deadline));
    Router::new()
        .route("/v1/designs", post(designs::submit))
        .layer(DefaultBodyLimit::max(body_bytes))
        // Waits as long as it was asked to; the database has its own deadline.
        .route("/v1/designs/{id}", get(designs::get))
        .merge(quick)
        .route_layer(from_fn_with_state(Arc::clone(app), watch))
}

/// The routes of the admin listener; on the socket of the API, `/` is the API's page.
pub(crate) fn admin(app: &Arc<App>, beside_api: bool) -> Router<Arc<App>> {
    let index =
        if beside_api { Router::new() } else { Router::new().route("/", get(admin::index)) };
    index
        .route("/flight", get(flight::list))
        .route("/flight/{id}", get(flight::get))
        .route("/slo", get(flight::slo))
        .route("/loglevel", get(admin::log_level).put(admin::set_log_level))
        .route("/loglevel/{logger}", put(admin::set_logger_level).delete(admin::unset_logger_level))
        .route("/cardinality", get(admin::cardinality))
        .route("/drain", post(admin::drain))
        .layer(DefaultBodyLimit::max(ADMIN_BODY_BYTES))
        .route_layer(from_fn_with_state(Arc::clone(app), no_browser))
}

/// Refuses what a page in a browser sends: the listener has no credentials, and a browser on this
/// machine reaches loopback for any page it shows. Browsers name the page's origin; `curl` and
/// scripts do not.
async fn no_browser(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if request.headers().contains_key(http::header::ORIGIN) {
        let caller = present::origin(&request).caller;
        let fields = json!({ "caller": caller, "reason": "foreign_origin" });
        app.audit.record("admin.refused", fields);
        return Problem::foreign_origin().into_response();
    }
    next.run(request).await
}

/// Puts the routes of one socket together: problem documents for everything that is not served.
pub(crate) fn finish(routes: Router<Arc<App>>, app: &Arc<App>) -> Router {
    routes
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(app), present::problems))
        .with_state(Arc::clone(app))
}

/// Answers 504 when a request that has nothing to wait for takes too long.
async fn deadline(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    tokio::time::timeout(app.config.limits.request(), next.run(request))
        .await
        .unwrap_or_else(|_| Problem::deadline().into_response())
}
