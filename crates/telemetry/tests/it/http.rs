//! Requests through the layer.

use std::convert::Infallible;
use std::path::PathBuf;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Extension;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::get;
use microdiff_telemetry::health::Health;
use microdiff_telemetry::http::{
    ErrorType, HttpLayer, HttpOptions, RequestContext, health_routes, metrics_routes,
};
use microdiff_telemetry::{Guard, Telemetry};
use tower::ServiceExt as _;
use tracing::dispatcher::DefaultGuard;

use crate::{lines, options, sample};

struct Service {
    telemetry: Telemetry,
    guard: Guard,
    app: Router,
    file: PathBuf,
    _log: DefaultGuard,
    _folder: tempfile::TempDir,
}

/// A body that sends one piece and then waits for ever, or fails.
fn broken_body(fails: bool) -> Body {
    let first = Bytes::from_static(b"some");
    let rest: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = if fails {
        Box::pin(std::future::ready(Some(Err(std::io::Error::other("disk")))))
    } else {
        Box::pin(std::future::pending())
    };
    Body::new(Pieces { first: Some(first), rest })
}

type Piece = Option<Result<Bytes, std::io::Error>>;

struct Pieces {
    first: Option<Bytes>,
    rest: std::pin::Pin<Box<dyn Future<Output = Piece> + Send>>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        if let Some(first) = self.first.take() {
            return std::task::Poll::Ready(Some(Ok(http_body::Frame::data(first))));
        }
        self.rest.as_mut().poll(cx).map(|piece| piece.map(|p| p.map(http_body::Frame::data)))
    }
}

async fn bake(Extension(context): Extension<RequestContext>) -> String {
    tracing::info!(success = true, "baked");
    context.trace().trace_id.to_string()
}

async fn timed_out() -> Response<Body> {
    let mut response = StatusCode::REQUEST_TIMEOUT.into_response();
    response.extensions_mut().insert(ErrorType("timeout"));
    response
}

fn service() -> Service {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bakery.log");
    let (telemetry, guard, dispatch) = Telemetry::start_local(options(&file)).unwrap();
    let health = Health::builder(&telemetry).start();
    let app = Router::new()
        .route("/cakes/{id}", get(bake))
        .route("/slow", get(std::future::pending::<&'static str>))
        .route("/hangs", get(|| async { broken_body(false) }))
        .route("/breaks", get(|| async { broken_body(true) }))
        .route("/timeout", get(timed_out))
        .route("/fails", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .merge(health_routes(&health))
        .merge(metrics_routes(telemetry.registry(), "/metrics"))
        .layer(HttpLayer::new(&telemetry, HttpOptions::default()));
    let log = tracing::dispatcher::set_default(&dispatch);
    Service { telemetry, guard, app, file, _log: log, _folder: folder }
}

impl Service {
    async fn send(&self, request: Request<Body>) -> Response<Body> {
        let sent: Result<_, Infallible> = self.app.clone().oneshot(request).await;
        sent.unwrap()
    }

    async fn get(&self, path: &str) -> Response<Body> {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    fn requests(&self, endpoint: &str, status: &str) -> Option<f64> {
        let labels = format!("method=\"GET\",endpoint=\"{endpoint}\",status=\"{status}\"");
        sample(&self.telemetry, &format!("bakery_requests_total{{{labels}}}"))
    }

    fn errors(&self, error_type: &str) -> Option<f64> {
        let series = format!("bakery_request_errors_total{{error_type=\"{error_type}\"}}");
        sample(&self.telemetry, &series)
    }

    fn in_flight(&self) -> Option<f64> {
        sample(&self.telemetry, "bakery_requests_in_flight")
    }
}

#[tokio::test]
async fn one_set_of_ids_goes_through_answer_and_log() {
    let service = service();
    let request = Request::get("/cakes/7")
        .header("x-request-id", "order-1")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .body(Body::empty())
        .unwrap();
    let response = service.send(request).await;
    assert_eq!(response.headers()["x-request-id"], "order-1");
    let trace = response.headers()["traceresponse"].to_str().unwrap().to_owned();
    let body = to_bytes(response.into_body(), 1000).await.unwrap();
    assert_eq!(body, "0af7651916cd43dd8448eb211c80319c");
    assert!(trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{trace}");
    assert_eq!(service.requests("/cakes/{id}", "success"), Some(1.0));
    assert_eq!(service.in_flight(), Some(0.0));
    let page =
        service.telemetry.registry().encode(microdiff_telemetry::metrics::Format::OpenMetrics);
    assert!(page.contains("# {trace_id=\"0af7651916cd43dd8448eb211c80319c\"}"), "an exemplar");
    let lines = lines(service.guard, &service.file);
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!(line["request_id"], "order-1");
        assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(line["span_id"], trace[36..52]);
    }
    assert_eq!(lines[0]["message"], "baked");
    let access = &lines[1];
    assert_eq!((&access["logger"], &access["level"]), (&"bakery.access".into(), &"INFO".into()));
    assert_eq!((&access["endpoint"], &access["status"]), (&"/cakes/{id}".into(), &200.into()));
    assert_eq!((&access["bytes"], &access["success"]), (&32.into(), &true.into()));
    assert!(access["duration_ms"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn a_strange_request_id_is_replaced() {
    let service = service();
    let long = "x".repeat(129);
    for bad in ["", "a b", "{\"x\":1}", long.as_str()] {
        let request =
            Request::get("/cakes/1").header("x-request-id", bad).body(Body::empty()).unwrap();
        let id = service.send(request).await.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(id.len() == 32 && id != bad, "{id}");
    }
}

#[tokio::test]
async fn what_matches_no_route_counts_as_one_endpoint() {
    let service = service();
    for path in ["/nothing", "/else", "/cakes/1/2"] {
        let response = service.get(path).await;
        assert_eq!(response.status(), 404);
        to_bytes(response.into_body(), 1000).await.unwrap();
    }
    assert_eq!(service.requests("_unmatched", "success"), Some(3.0));
    assert_eq!(
        sample(&service.telemetry, "bakery_responses_total{status_code=\"404\"}"),
        Some(3.0)
    );
}

#[tokio::test]
async fn a_client_that_leaves_before_or_during_the_answer_is_an_error() {
    let service = service();
    let waiting = service.get("/slow");
    assert!(futures_poll_once(waiting).await, "still waiting");
    assert_eq!(service.requests("/slow", "error"), Some(1.0));
    let response = service.get("/hangs").await;
    assert_eq!(service.in_flight(), Some(1.0));
    assert_eq!(service.requests("/hangs", "error"), Some(0.0));
    drop(response);
    assert_eq!(service.requests("/hangs", "error"), Some(1.0));
    assert_eq!(service.in_flight(), Some(0.0));
    assert_eq!(service.errors("cancelled"), Some(2.0));
    assert_eq!(
        sample(&service.telemetry, "bakery_responses_total{status_code=\"499\"}"),
        Some(2.0)
    );
    let lines = lines(service.guard, &service.file);
    for line in &lines {
        let kind = (&line["error.type"], &line["status"], &line["level"]);
        assert_eq!(kind, (&"cancelled".into(), &499.into(), &"WARN".into()));
    }
    assert_eq!(lines.len(), 2);
}

/// Polls once and drops; whether the future was still waiting.
async fn futures_poll_once(future: impl Future) -> bool {
    let mut future = Box::pin(future);
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[tokio::test]
async fn failures_count_by_their_type() {
    let service = service();
    let broken = service.get("/breaks").await;
    assert!(to_bytes(broken.into_body(), 1000).await.is_err());
    for path in ["/timeout", "/fails"] {
        to_bytes(service.get(path).await.into_body(), 1000).await.unwrap();
        assert_eq!(service.requests(path, "error"), Some(1.0), "{path}");
    }
    for (error_type, count) in [("body", 1.0), ("timeout", 1.0), ("internal", 1.0)] {
        assert_eq!(service.errors(error_type), Some(count), "{error_type}");
    }
}

#[tokio::test]
async fn head_and_empty_answers_are_not_taken_for_clients_that_left() {
    let service = service();
    let head = Request::head("/cakes/1").body(Body::empty()).unwrap();
    drop(service.send(head).await);
    assert_eq!(service.errors("cancelled"), None);
    let series =
        "bakery_requests_total{method=\"HEAD\",endpoint=\"/cakes/{id}\",status=\"success\"}";
    assert_eq!(sample(&service.telemetry, series), Some(1.0));
}

#[tokio::test]
async fn probes_answer_and_are_quiet() {
    let service = service();
    let health = service.get("/health").await;
    assert_eq!(health.status(), 200);
    assert_eq!(health.headers()["cache-control"], "no-store");
    let body = to_bytes(health.into_body(), 1000).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["status"], &body["version"]), (&"healthy".into(), &"1.2.3".into()));
    assert_eq!(body.as_object().unwrap().len(), 3);
    let ready = service.get("/readyz").await;
    assert_eq!(
        (ready.status().as_u16(), &ready.headers()["retry-after"]),
        (503, &"5".parse().unwrap())
    );
    let draft = Request::get("/health/detailed")
        .header("accept", "application/health+json")
        .body(Body::empty())
        .unwrap();
    let draft = service.send(draft).await;
    assert_eq!(draft.headers()["content-type"], "application/health+json");
    let metrics = service.get("/metrics").await;
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let page = to_bytes(metrics.into_body(), 1 << 20).await.unwrap();
    assert!(page.starts_with(b"# TYPE bakery_cakes_total counter\n"));
    let written = lines(service.guard, &service.file);
    assert_eq!(written, Vec::<serde_json::Value>::new());
}
