//! Settings of tracing.
//!
//! What a service sets in code or from its own configuration wins over the `OTEL_*` variables it
//! started from ([`TraceOptions::from_env`]), except that [`TraceOptions::off`] wins over all.

use std::path::PathBuf;
use std::time::Duration;

/// How spans travel to the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Protobuf over HTTP, usually port 4318.
    HttpProtobuf,
    /// gRPC, usually port 4317.
    Grpc,
}

/// Which traces are recorded from the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// The share of new traces, 0 to 1, chosen by trace id.
    pub ratio: f64,
    /// Whether the decision of a caller (the `traceparent` flag) is followed.
    pub parent_based: bool,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { ratio: 1.0, parent_based: true }
    }
}

impl Sampler {
    /// Whether a trace is recorded, given the decision of its remote parent if it has one.
    #[must_use]
    pub fn samples(&self, trace_id: u128, parent: Option<bool>) -> bool {
        match parent {
            Some(decision) if self.parent_based => decision,
            // The largest ids round up to 2^63 itself.
            _ if self.ratio >= 1.0 => true,
            // The low 63 bits against the ratio, as the SDKs do, so that services agree.
            _ => ((trace_id as u64 >> 1) as f64) < self.ratio * 2_f64.powi(63),
        }
    }
}

/// How a service traces.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceOptions {
    /// Exports nothing, whatever else is set.
    pub off: bool,
    /// The collector's full address; nothing is exported without one.
    pub endpoint: Option<String>,
    /// How spans travel.
    pub protocol: Protocol,
    /// A file of certificates in PEM form, by which alone an `https` collector is trusted; without
    /// one, those of the system.
    pub certificate: Option<PathBuf>,
    /// Whether the `traceparent` of callers is read; otherwise every request begins a trace.
    pub propagate: bool,
    /// Which traces are recorded from the start.
    pub sampler: Sampler,
    /// Work that was not sampled is kept all the same when a span of it fails or its first span
    /// takes longer than this; `None` keeps none.
    pub keep_slower_than: Option<Duration>,
    /// Finished spans that may wait, over all work under way, for that decision; further ones are
    /// forgotten and counted.
    pub held_spans: usize,
    /// Attributes of one span; further ones are left out, and their number is exported.
    pub span_attributes: usize,
    /// Bytes of one attribute's text; the rest is cut off.
    pub attribute_bytes: usize,
    /// Spans that may wait for the exporter; more are dropped and counted.
    pub queue_spans: usize,
    /// The most spans in one request to the collector.
    pub batch_spans: usize,
    /// The longest that a span waits for company.
    pub delay: Duration,
    /// The deadline of one request to the collector, and of trying it again.
    pub timeout: Duration,
    /// The deadline of one batch, whatever hangs.
    pub export_timeout: Duration,
    /// What was ignored while reading variables; written to the log once when telemetry starts.
    pub warnings: Vec<String>,
}

impl Default for TraceOptions {
    /// Exports nothing; otherwise the defaults of the specification, and work that fails or takes
    /// more than 10 s is kept. One deviation, to bound memory: the specification does not limit the
    /// length of an attribute.
    fn default() -> Self {
        Self {
            off: false,
            endpoint: None,
            protocol: Protocol::HttpProtobuf,
            certificate: None,
            propagate: true,
            sampler: Sampler::default(),
            keep_slower_than: Some(Duration::from_secs(10)),
            held_spans: 4096,
            span_attributes: 128,
            attribute_bytes: 4096,
            queue_spans: 2048,
            batch_spans: 512,
            delay: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            export_timeout: Duration::from_secs(30),
            warnings: Vec::new(),
        }
    }
}

impl TraceOptions {
    /// Sends spans to a collector given by its base address, as `OTEL_EXPORTER_OTLP_ENDPOINT`
    /// would: over HTTP the signal's path is added, if it is not there. Set the protocol first.
    pub fn set_base(&mut self, base: &str) {
        let base = base.trim_end_matches('/').trim_end_matches("/v1/traces");
        self.endpoint = Some(from_base(base, self.protocol));
    }

    /// Where spans go, if anywhere.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.endpoint.as_deref().filter(|_| !self.off)
    }
}

pub(super) fn from_base(base: &str, protocol: Protocol) -> String {
    match protocol {
        Protocol::HttpProtobuf => format!("{}/v1/traces", base.trim_end_matches('/')),
        Protocol::Grpc => base.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_kept_and_a_parent_decides() {
        let sampler = Sampler { ratio: 0.25, parent_based: true };
        let kept = (0..4000_u128)
            .filter(|i| sampler.samples(i.wrapping_mul(0x9e37_79b9_7f4a_7c15), None))
            .count();
        assert!((900..1100).contains(&kept), "{kept}");
        assert!(sampler.samples(u128::MAX, Some(true)));
        assert!(!sampler.samples(1, Some(false)));
        assert!(Sampler::default().samples(u128::MAX, None));
        assert!(!Sampler { ratio: 0.0, parent_based: false }.samples(0, Some(true)));
    }
}
