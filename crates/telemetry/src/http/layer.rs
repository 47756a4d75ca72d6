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
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::body::RecordedBody;
use super::endpoint::{Endpoint, Route, RouteRows, UNMATCHED};
use super::outcomes::Outcomes;
use super::recorder::{ErrorType, Recorder, RequestContext};
use crate::audit::UserId;
use crate::context::{self, RequestIds, ascii, hex};
use crate::metrics::{Gauge, MetricSpec, Registry};
use crate::redaction::Scrubber;
use crate::traces::{SpanKind, TraceId, Tracer};
use crate::{Telemetry, builtin};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// How requests are recorded.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Routes that write no access line unless their handler breaks (500).
    pub quiet_paths: Vec<String>,
    /// Whether a caller's `x-request-id` is taken over (if it is sane).
    pub accept_request_id: bool,
    /// Every [`ErrorType`] that the service's answers may carry, beside
    /// [`builtin::ERROR_TYPES`]; one that is in neither list counts as `other`.
    pub error_types: &'static [&'static str],
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
        Self {
            quiet_paths: quiet.map(str::to_owned).to_vec(),
            accept_request_id: true,
            error_types: &[],
        }
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
            rows: RouteRows {
                requests: own(&builtin::REQUESTS),
                duration: own(&builtin::REQUEST_DURATION),
            },
            in_flight: registry.gauge(&own(&builtin::IN_FLIGHT), &[]),
            outcomes: Outcomes::new(&registry, options.error_types),
            endpoints: RwLock::default(),
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
        let shared = &self.shared;
        shared.endpoint(endpoint).route(method, &shared.rows, &shared.registry);
    }
}

impl<S> Layer<S> for HttpLayer {
    type Service = HttpService<S>;

    /// `axum` asks once for each route of a router, so what is made here knows its route.
    fn layer(&self, inner: S) -> HttpService<S> {
        let own = Own { shared: Arc::clone(&self.shared), endpoint: OnceLock::new() };
        HttpService { inner, own: Arc::new(own) }
    }
}

pub(super) struct Shared {
    registry: Registry,
    scrubber: Scrubber,
    tracer: Tracer,
    options: HttpOptions,
    rows: RouteRows,
    pub(super) outcomes: Outcomes,
    in_flight: Gauge,
    endpoints: RwLock<HashMap<String, Arc<Endpoint>>>,
}

/// What one wrapped service keeps: the route it serves, once that is known.
struct Own {
    shared: Arc<Shared>,
    endpoint: OnceLock<Arc<Endpoint>>,
}

impl Own {
    /// The handles of a request. The service of a route is asked for that route alone; the
    /// comparison guards against one that serves several.
    fn route<B>(&self, request: &Request<B>) -> Arc<Route> {
        let path = request.extensions().get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str);
        let shared = &*self.shared;
        let endpoint = self.endpoint.get_or_init(|| shared.endpoint(path));
        if *endpoint.name == *path {
            return endpoint.route(request.method(), &shared.rows, &shared.registry);
        }
        shared.endpoint(path).route(request.method(), &shared.rows, &shared.registry)
    }

    fn begin<B>(&self, request: &mut Request<B>) -> Box<Recorder> {
        let started = Instant::now();
        let shared = &self.shared;
        let route = self.route(request);
        let parent = shared.tracer.caller(request.headers());
        let request_id = shared.request_id(request.headers());
        let span = shared.tracer.start_at(started, "request", SpanKind::Server, parent);
        let ids = Arc::new(RequestIds::new(Arc::clone(&request_id), span.context()));
        if let Some(UserId(user)) = request.extensions().get() {
            let _ = ids.user_id.set(Arc::clone(user));
        }
        let extension = RequestContext { request_id, span: span.parent(), ids: Arc::clone(&ids) };
        request.extensions_mut().insert(extension);
        Box::new(Recorder {
            shared: Arc::clone(shared),
            route,
            started,
            span,
            ids,
            secure: request.uri().scheme() == Some(&Scheme::HTTPS),
            head: Recorder::is_head(request.method()),
            status: None,
            error_type: None,
            bytes: 0,
            recorded: false,
            _in_flight: shared.in_flight.hold(),
        })
    }
}

impl Shared {
    fn endpoint(&self, name: &str) -> Arc<Endpoint> {
        let held = self.endpoints.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = held.get(name) {
            return Arc::clone(endpoint);
        }
        drop(held);
        let quiet = self.options.quiet_paths.iter().any(|path| path == name);
        let mut held = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        let endpoint =
            held.entry(name.to_owned()).or_insert_with(|| Arc::new(Endpoint::new(name, quiet)));
        Arc::clone(endpoint)
    }

    fn request_id(&self, headers: &HeaderMap) -> Arc<str> {
        let given = headers
            .get(&REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| self.options.accept_request_id && is_sane_id(id))
            // A token in the wrong header would go into every line of the request.
            .filter(|id| matches!(self.scrubber.scrub(id), Cow::Borrowed(_)));
        match given {
            Some(id) => id.into(),
            None => ascii(&hex(TraceId::random().get())).into(),
        }
    }
}

/// `traceresponse` has the form of `traceparent`.
fn trace_response(ids: &RequestIds) -> Option<HeaderValue> {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    let ([_, trace_id, span_id], trace) = (ids.plain(), ids.trace);
    text[3..35].copy_from_slice(trace_id);
    text[36..52].copy_from_slice(span_id);
    // Level 2 of the recommendation: 1 says sampled, 2 that the trace id is random.
    text[54] += u8::from(trace.sampled) | (u8::from(trace.random) << 1);
    HeaderValue::from_bytes(&text).ok()
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
    own: Arc<Own>,
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
        let recorder = self.own.begin(&mut request);
        let entered = context::enter(&recorder.ids);
        let future = self.inner.call(request);
        drop(entered);
        ResponseFuture { future, recorder: Some(recorder) }
    }
}

pin_project_lite::pin_project! {
    /// The answer to come. Dropped before it: the client left.
    pub struct ResponseFuture<F> {
        #[pin]
        future: F,
        recorder: Option<Box<Recorder>>,
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
        let entered = this.recorder.as_ref().map(|recorder| context::enter(&recorder.ids));
        let polled = this.future.poll(cx);
        drop(entered);
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
        if let Ok(id) = HeaderValue::from_str(&recorder.ids.request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(trace) = trace_response(&recorder.ids) {
            headers.insert(TRACE_RESPONSE, trace);
        }
        Poll::Ready(Ok(response.map(|body| RecordedBody::new(body, recorder))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::TraceContext;

    #[test]
    fn the_answer_names_the_trace_as_the_recommendation_writes_it() {
        for flags in ["00", "01", "02", "03"] {
            let text = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
            let context = TraceContext::parse(&text).unwrap();
            assert_eq!(trace_response(&RequestIds::new("id".into(), context)).unwrap(), text);
            assert_eq!(context.to_header(), text);
        }
    }
}
