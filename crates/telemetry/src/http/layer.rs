//! The `tower` layer.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::extract::MatchedPath;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::body::RecordedBody;
use super::recorder::{ErrorType, Recorder, RequestContext, Route, SpanNames};
use crate::audit::UserId;
use crate::metrics::{Counter, Gauge, MetricSpec, Registry};
use crate::redaction::Scrubber;
use crate::traces::{SpanKind, TraceId, Tracer, catalogue};
use crate::{Telemetry, builtin};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");
/// What a request that matched no route counts under.
const UNMATCHED: &str = "_unmatched";

/// How requests are recorded.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Routes that write no access line unless their handler breaks (500).
    pub quiet_paths: Vec<String>,
    /// Whether a caller's `x-request-id` is taken over (if it is sane).
    pub accept_request_id: bool,
}

impl Default for HttpOptions {
    /// Probes and scrapes are quiet; request ids of callers are taken over.
    fn default() -> Self {
        let quiet = [
            "/health",
            "/health/detailed",
            "/livez",
            "/readyz",
            "/startupz",
            "/metrics",
            "/gpu-metrics",
        ];
        Self { quiet_paths: quiet.map(str::to_owned).to_vec(), accept_request_id: true }
    }
}

/// Records every request of a router.
#[derive(Clone)]
pub struct HttpLayer {
    shared: Arc<Shared>,
}

impl HttpLayer {
    /// Records into this telemetry.
    #[must_use]
    pub fn new(telemetry: &Telemetry, options: HttpOptions) -> Self {
        let registry = telemetry.registry().clone();
        let own = |spec: &MetricSpec| spec.clone().prefixed(registry.prefix());
        let shared = Shared {
            requests: own(&builtin::REQUESTS),
            duration: own(&builtin::REQUEST_DURATION),
            responses: own(&builtin::RESPONSES),
            errors: own(&builtin::REQUEST_ERRORS),
            in_flight: registry.gauge(&own(&builtin::IN_FLIGHT), &[]),
            by_status: (0..600).map(|_| OnceLock::new()).collect(),
            routes: RwLock::default(),
            tracer: telemetry.tracer().clone(),
            scrubber: telemetry.scrubber().clone(),
            registry,
            options,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Makes the series of a route exist at zero before its first request, so that a ratio over
    /// them holds from the start. `endpoint` is the route's template.
    pub fn declare(&self, method: &Method, endpoint: &str) {
        self.shared.route(method, endpoint);
    }
}

impl<S> Layer<S> for HttpLayer {
    type Service = HttpService<S>;

    fn layer(&self, inner: S) -> HttpService<S> {
        HttpService { inner, shared: Arc::clone(&self.shared) }
    }
}

pub(super) struct Shared {
    registry: Registry,
    scrubber: Scrubber,
    tracer: Tracer,
    options: HttpOptions,
    requests: MetricSpec,
    duration: MetricSpec,
    responses: MetricSpec,
    errors: MetricSpec,
    in_flight: Gauge,
    by_status: Vec<OnceLock<Counter>>,
    routes: RwLock<HashMap<(&'static str, String), Arc<Route>>>,
}

impl Shared {
    pub(super) fn count_status(&self, status: u16) {
        let resolve = || self.registry.counter(&self.responses, &[&status.to_string()]);
        match self.by_status.get(usize::from(status)) {
            Some(counter) => counter.get_or_init(resolve).inc(),
            None => resolve().inc(),
        }
    }

    pub(super) fn count_error(&self, error_type: &'static str) {
        self.registry.counter(&self.errors, &[error_type]).inc();
    }

    fn route(&self, method: &Method, endpoint: &str) -> Arc<Route> {
        let method = builtin::METHODS
            .iter()
            .find(|known| **known == method.as_str())
            .copied()
            .unwrap_or("other");
        let key = (method, endpoint.to_owned());
        if let Some(route) = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(route);
        }
        let counter = |status| self.registry.counter(&self.requests, &[method, endpoint, status]);
        let route = Arc::new(Route {
            method,
            endpoint: endpoint.to_owned(),
            span: SpanNames::of(method, (endpoint != UNMATCHED).then_some(endpoint)),
            quiet: self.options.quiet_paths.iter().any(|path| path == endpoint),
            success: counter("success"),
            error: counter("error"),
            duration: self.registry.histogram(&self.duration, &[method, endpoint]),
        });
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(routes.entry(key).or_insert(route))
    }

    fn request_id(&self, headers: &HeaderMap) -> Arc<str> {
        let given = headers
            .get(&REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| self.options.accept_request_id && is_sane_id(id))
            // A token in the wrong header would go into every line of the request.
            .filter(|id| matches!(self.scrubber.scrub(id), Cow::Borrowed(_)));
        given.map_or_else(|| TraceId::random().to_string().into(), Into::into)
    }

    fn begin<B>(self: &Arc<Self>, request: &mut Request<B>) -> (Recorder, RequestContext) {
        let started = Instant::now();
        let route = match request.extensions().get::<MatchedPath>() {
            Some(path) => self.route(request.method(), path.as_str()),
            None => self.route(request.method(), UNMATCHED),
        };
        let parent = self.tracer.caller(request.headers());
        let request_id = self.request_id(request.headers());
        let mut span = self.tracer.start("request", SpanKind::Server, parent);
        if span.is_recording() {
            route.describe(&mut span, request.uri());
            span.set(catalogue::REQUEST_ID.name, Arc::clone(&request_id));
        }
        let ids = span.context();
        // At the error level, so that no log level silences the ids of the lines inside.
        let log_span = tracing::error_span!(
            "request",
            request_id = &*request_id,
            trace_id = %ids.trace_id,
            span_id = %ids.span_id,
            user_id = request.extensions().get::<UserId>().map(|user| &*user.0),
        );
        let context = RequestContext { request_id, span: span.parent() };
        let recorder = Recorder {
            shared: Arc::clone(self),
            route,
            started,
            span,
            log_span,
            head: Recorder::is_head(request.method()),
            status: None,
            error_type: None,
            bytes: 0,
            recorded: false,
            _in_flight: self.in_flight.hold(),
        };
        request.extensions_mut().insert(context.clone());
        (recorder, context)
    }
}

/// An id that may go into logs and headers as it is.
fn is_sane_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A service whose requests are recorded.
#[derive(Clone)]
pub struct HttpService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B, R> Service<Request<B>> for HttpService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Response = Response<RecordedBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (recorder, context) = self.shared.begin(&mut request);
        let future = recorder.log_span.in_scope(|| self.inner.call(request));
        ResponseFuture { future, recorder: Some(recorder), context }
    }
}

pin_project_lite::pin_project! {
    /// The answer to come. Dropped before it: the client left.
    pub struct ResponseFuture<F> {
        #[pin]
        future: F,
        recorder: Option<Recorder>,
        context: RequestContext,
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<RecordedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let future = this.future;
        let log_span = this.recorder.as_ref().map(|recorder| recorder.log_span.clone());
        let polled = match log_span {
            Some(span) => span.in_scope(|| future.poll(cx)),
            None => future.poll(cx),
        };
        let Poll::Ready(result) = polled else { return Poll::Pending };
        let Some(mut recorder) = this.recorder.take() else { return Poll::Pending };
        let mut response = match result {
            Ok(response) => response,
            Err(error) => {
                recorder.fail("service");
                return Poll::Ready(Err(error));
            }
        };
        recorder.status = Some(response.status());
        recorder.error_type = response.extensions().get::<ErrorType>().map(|error| error.0);
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&this.context.request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if let Ok(trace) = HeaderValue::from_str(&this.context.trace().to_header()) {
            headers.insert(TRACE_RESPONSE, trace);
        }
        Poll::Ready(Ok(response.map(|body| RecordedBody::new(body, recorder))))
    }
}
