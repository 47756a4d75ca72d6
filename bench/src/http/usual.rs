//! The usual stack: `prometheus-client`, `tracing-subscriber` JSON through `tracing-appender`, and
//! `tracing-opentelemetry`, put together as their documentation shows.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

use super::scratch;
use crate::numbers::BOUNDS;
use crate::traces::Discard;

/// What a health endpoint answers, made anew each time.
pub async fn answer() -> ([(&'static str, &'static str); 2], String) {
    let body = serde_json::json!({
        "status": "healthy",
        "timestamp": microdiff_telemetry::rfc3339(std::time::SystemTime::now()),
        "version": "1",
    });
    ([("content-type", "application/json"), ("cache-control", "no-store")], body.to_string())
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    method: String,
    endpoint: String,
    status: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    method: String,
    endpoint: String,
}

struct Numbers {
    requests: Family<Labels, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
}

fn histogram() -> Histogram {
    Histogram::new(BOUNDS.iter().copied())
}

/// The instrumented router and what must live as long as it.
pub fn router(share: f64) -> Result<(Router, Box<dyn std::any::Any>)> {
    let file = tracing_appender::rolling::never(scratch()?, "usual.log");
    let (writer, guard) = tracing_appender::non_blocking(file);
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Discard)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))))
        .build();
    let subscriber = tracing_subscriber::registry()
        .with(tracing_subscriber::filter::LevelFilter::INFO)
        .with(tracing_subscriber::fmt::layer().json().with_writer(writer))
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("bench")));
    tracing::subscriber::set_global_default(subscriber)?;
    let numbers = Arc::new(Numbers {
        requests: Family::default(),
        durations: Family::new_with_constructor(histogram),
    });
    let router =
        Router::new().route("/health", get(answer)).layer(from_fn_with_state(numbers, observe));
    Ok((router, Box::new((guard, provider))))
}

async fn observe(
    State(numbers): State<Arc<Numbers>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let began = Instant::now();
    let method = request.method().to_string();
    let endpoint = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "_unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!(
        "request",
        http.request.method = %method,
        http.route = %endpoint,
        http.response.status_code = tracing::field::Empty,
    );
    async move {
        let response = next.run(request).await;
        let code = response.status().as_u16();
        let seconds = began.elapsed().as_secs_f64();
        tracing::Span::current().record("http.response.status_code", code);
        tracing::info!(method, endpoint, status = code, duration_ms = seconds * 1e3, "request");
        let status = if code >= 500 { "error" } else { "success" }.to_owned();
        numbers
            .durations
            .get_or_create(&Route { method: method.clone(), endpoint: endpoint.clone() })
            .observe(seconds);
        numbers.requests.get_or_create(&Labels { method, endpoint, status }).inc();
        response
    }
    .instrument(span)
    .await
}
