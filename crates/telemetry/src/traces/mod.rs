//! Traces: from spans to OTLP, and from `traceparent` to ids that everything else carries.
//!
//! A [`Span`] always has ids; whether it also records is decided at the head (ratio, or the
//! caller's flag) and, for traces that failed or were slow, again at the tail. Finished spans go
//! through a bounded queue to a thread that sends them; a collector that is down, slow or refusing
//! costs a request nothing, and what is lost is counted.
//!
//! Deliberately absent: a global tracer, baggage, span events and links.

mod export;
mod id;
mod options;
mod span;

use opentelemetry::Key;
use opentelemetry_sdk::Resource;

pub use id::{SpanId, TraceContext, TraceId};
pub use options::{Protocol, Sampler, TraceOptions};
pub use span::{ParentSpan, Span, SpanKind, Tracer, Value};

use crate::TelemetryError;
use crate::metrics::Registry;
use crate::redaction::Scrubber;

/// Starts tracing; without an endpoint only ids are made.
pub(crate) fn start(
    options: &TraceOptions,
    service: (&str, &str),
    scrubber: Scrubber,
    registry: &Registry,
) -> Result<Tracer, TelemetryError> {
    let exporter = match &options.endpoint {
        Some(endpoint) => {
            Some(export::Exporter::start(options, endpoint, resource(service), registry)?)
        }
        None => None,
    };
    Ok(Tracer::new(options, service.0.to_owned(), scrubber, exporter))
}

/// Who sends the spans. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win over the service's
/// own name and version.
fn resource((name, version): (&str, &str)) -> Resource {
    let found = Resource::builder().build();
    let has = |key: &'static str| found.get(&Key::from_static_str(key));
    let named =
        has("service.name").is_some_and(|value| !value.as_str().starts_with("unknown_service"));
    let mut builder = Resource::builder();
    if !named {
        builder = builder.with_service_name(name.to_owned());
    }
    if has("service.version").is_none() {
        let version = opentelemetry::KeyValue::new("service.version", version.to_owned());
        builder = builder.with_attribute(version);
    }
    builder.build()
}
