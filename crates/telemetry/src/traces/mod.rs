//! Traces: from spans to OTLP, and from `traceparent` to ids that everything else carries.
//!
//! A [`Span`] always has ids; whether it also records is decided at the head (ratio, or the
//! caller's flag) and, for work that failed or was slow, again at the tail. Finished spans go
//! through a bounded queue to a thread that sends them; a collector that is down, slow or refusing
//! costs a request nothing, and what is lost is counted. [`catalogue`] describes spans for people.
//!
//! Deliberately absent: a global tracer, baggage, `tracestate`, span events and links.

pub mod catalogue;
mod context;
mod env;
mod export;
mod id;
mod options;
mod record;
mod span;
mod tail;
mod transport;
mod value;

use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use percent_encoding::percent_decode_str;

pub use context::TraceContext;
pub use id::{SpanId, TraceId};
pub use options::{Protocol, Sampler, TraceOptions};
pub use span::{ParentSpan, Span, SpanKind, Tracer};
pub use value::{Text, Value};

use crate::metrics::Registry;
use crate::redaction::Scrubber;
use crate::{TelemetryError, builtin};

/// Starts tracing; without an endpoint only ids are made.
pub(crate) fn start(
    options: &TraceOptions,
    service: (&str, &str),
    scrubber: Scrubber,
    registry: &Registry,
) -> Result<Tracer, TelemetryError> {
    let exporter = match options.target() {
        Some(endpoint) => {
            let transport = transport::Transport::connect(options, endpoint, &resource(service))?;
            let finisher = record::Finisher::new(scrubber.clone(), service.0.to_owned());
            Some(export::Exporter::start(options, transport, finisher, registry)?)
        }
        None => None,
    };
    let spans = builtin::SPANS.prefixed(registry.prefix());
    let budget = tail::Budget::new(options.held_spans, registry.counter(&spans, &["unheld"]));
    Ok(Tracer::new(options, scrubber, budget, exporter))
}

/// Lets tracing speak to the log: now of what was ignored in its settings, later of a collector in
/// trouble.
pub(crate) fn speak(tracer: &Tracer, options: &TraceOptions, log: &tracing::Dispatch) {
    tracer.speak_to(log);
    tracing::dispatcher::with_default(log, || {
        for warning in &options.warnings {
            tracing::warn!("{warning}");
        }
    });
}

/// Who sends the spans. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win over the service's
/// own name and version; the SDK leaves the percent-encoding in the values of the latter.
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
        let version = KeyValue::new("service.version", version.to_owned());
        builder = builder.with_attribute(version);
    }
    let verbatim = std::env::var_os("OTEL_SERVICE_NAME").is_some();
    for (key, value) in
        found.iter().filter(|(key, _)| !(verbatim && key.as_str() == "service.name"))
    {
        let encoded = value.as_str();
        if let Ok(text) = percent_decode_str(&encoded).decode_utf8()
            && text != encoded
        {
            builder = builder.with_attribute(KeyValue::new(key.clone(), text.into_owned()));
        }
    }
    builder.build()
}
