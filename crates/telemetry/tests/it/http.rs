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
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;
use tracing::dispatcher::DefaultGuard;

use crate::{LONG, lines, options, sample};

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

/// Lines on both sides of a wait, the second from another thread.
async fn across(Extension(context): Extension<RequestContext>) -> &'static str {
    tracing::info!("before");
    tokio::task::yield_now().await;
    tracing::info!("after");
    context.set_user_id("u-7");
    let log = tracing::dispatcher::get_default(Clone::clone);
    let work = move || {
        let _log = tracing::dispatcher::set_default(&log);
        tracing::info!("elsewhere without");
        let _entered = context.enter();
        tracing::info!("elsewhere with");
    };
    tokio::task::spawn_blocking(work).await.unwrap();
    "done"
}

async fn panics() -> &'static str {
    panic!("the oven is on fire")
}

async fn with_error(error_type: &'static str) -> Response<Body> {
    let mut response = StatusCode::BAD_REQUEST.into_response();
    response.extensions_mut().insert(ErrorType(error_type));
    response
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
        .route("/across", get(across))
        .route("/panics", get(panics))
        .route("/empty", get(|| async { StatusCode::NO_CONTENT }))
        .route("/burnt", get(|| with_error("burnt")))
        .route("/unheard-of", get(|| with_error("unheard_of")))
        .route("/fails", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .merge(health_routes(&health))
        .merge(metrics_routes(telemetry.registry(), "/metrics"))
        .layer(HttpLayer::new(
            &telemetry,
            HttpOptions { error_types: &["burnt"], ..HttpOptions::default() },
        ));
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
    let page = String::from_utf8(page).unwrap();
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
    drop(service.get("/empty").await);
    assert_eq!(service.errors("cancelled"), Some(0.0));
    assert_eq!(service.requests("/empty", "success"), Some(1.0));
    assert_eq!(service.in_flight(), Some(0.0));
    let series =
        "bakery_requests_total{method=\"HEAD\",endpoint=\"/cakes/{id}\",status=\"success\"}";
    assert_eq!(sample(&service.telemetry, series), Some(1.0));
}

#[tokio::test]
async fn lines_carry_the_ids_across_waits_and_where_the_request_is_entered() {
    let service = service();
    let request = Request::get("/across").header("x-request-id", "order-2");
    let response = service.send(request.body(Body::empty()).unwrap()).await;
    to_bytes(response.into_body(), 1000).await.unwrap();
    tracing::info!("outside");
    let lines = lines(service.guard, &service.file);
    let ids: Vec<_> = lines
        .iter()
        .map(|line| (line["message"].as_str().unwrap(), line["request_id"].as_str()))
        .collect();
    let id = Some("order-2");
    assert_eq!(
        ids,
        [
            ("before", id),
            ("after", id),
            ("elsewhere without", None),
            ("elsewhere with", id),
            ("request", id),
            ("outside", None),
        ]
    );
    assert_eq!((&lines[0]["user_id"], &lines[3]["user_id"]), (&().into(), &"u-7".into()));
    assert_eq!(lines[4]["user_id"], "u-7", "the access line says who asked");
}

#[tokio::test]
async fn a_handler_that_panics_is_an_error_and_leaves_the_gauge_right() {
    let service = service();
    let app = service.app.clone();
    let request = Request::get("/panics").body(Body::empty()).unwrap();
    let log = tracing::dispatcher::get_default(Clone::clone);
    let task = async move {
        let _log = tracing::dispatcher::set_default(&log);
        app.oneshot(request).await
    };
    assert!(tokio::spawn(task).await.unwrap_err().is_panic());
    assert_eq!(service.errors("panic"), Some(1.0));
    assert_eq!(service.requests("/panics", "error"), Some(1.0));
    assert_eq!(service.in_flight(), Some(0.0));
    let lines = lines(service.guard, &service.file);
    assert_eq!((&lines[0]["error.type"], &lines[0]["status"]), (&"panic".into(), &500.into()));
}

#[tokio::test]
async fn errors_of_a_request_count_under_declared_types_alone() {
    let service = service();
    for error_type in ["burnt", "other", "cancelled", "panic"] {
        assert_eq!(service.errors(error_type), Some(0.0), "{error_type} is known from the start");
    }
    for path in ["/burnt", "/unheard-of"] {
        to_bytes(service.get(path).await.into_body(), 1000).await.unwrap();
        assert_eq!(service.requests(path, "success"), Some(1.0), "{path} is the caller's fault");
    }
    assert_eq!((service.errors("burnt"), service.errors("other")), (Some(1.0), Some(1.0)));
    assert_eq!(service.errors("unheard_of"), None);
}

#[tokio::test]
async fn a_client_that_hangs_up_during_the_body_is_counted_when_its_socket_closes() {
    let service = service();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(axum::serve(listener, service.app.clone()).into_future());
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET /hangs HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(service.in_flight(), Some(1.0));
    drop(socket);
    let recorded = async {
        while service.requests("/hangs", "error") != Some(1.0) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, recorded).await.unwrap();
    assert_eq!((service.errors("cancelled"), service.in_flight()), (Some(1.0), Some(0.0)));
    serving.abort();
}

#[tokio::test]
async fn a_scrape_in_a_runtime_shows_it_in_every_format_that_was_asked_for() {
    let service = service();
    for (accept, content_type, first) in [
        ("text/plain;q=0.5", "text/plain; version=0.0.4; charset=utf-8", "# TYPE"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "# TYPE",
        ),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
             encoding=delimited,text/plain;q=0.5",
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
             encoding=delimited",
            "",
        ),
    ] {
        let request = Request::get("/metrics").header("accept", accept);
        let response = service.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.headers()["content-type"], content_type);
        let page = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&page);
        assert!(text.starts_with(first) && text.contains("bakery_tokio_alive_tasks"), "{text}");
    }
    let workers = sample(&service.telemetry, "bakery_tokio_workers");
    assert_eq!(workers, Some(1.0), "a test runs on one worker");
    assert!(sample(&service.telemetry, "bakery_tokio_busy_seconds_total").is_some());
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
    for (accept, given) in [
        ("application/health+json", "application/health+json"),
        ("application/json;q=0.5, Application/Health+JSON", "application/health+json"),
        ("application/json, application/health+json;q=0.5", "application/json"),
        ("application/health+json;q=0, */*", "application/json"),
    ] {
        let asked = Request::get("/health/detailed").header("accept", accept);
        let answer = service.send(asked.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.headers()["content-type"], given, "{accept}");
    }
    let metrics = service.get("/metrics").await;
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let page = to_bytes(metrics.into_body(), 1 << 20).await.unwrap();
    assert!(page.starts_with(b"# TYPE bakery_cakes_total counter\n"));
    let written = lines(service.guard, &service.file);
    assert_eq!(written, Vec::<serde_json::Value>::new());
}
