//! Settings of tracing and the standard `OTEL_*` variables.
//!
//! Source: OpenTelemetry specification 1.x, "Environment Variable Specification" and "OTLP
//! Exporter Configuration". Headers, certificates and resource attributes are read by the exporter.

use std::time::Duration;

use crate::TelemetryError;

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
    /// The collector's full address; nothing is exported without one.
    pub endpoint: Option<String>,
    /// How spans travel.
    pub protocol: Protocol,
    /// Which traces are recorded from the start.
    pub sampler: Sampler,
    /// Traces that were not sampled are kept all the same when they fail or their first span takes
    /// longer than this; `None` keeps none.
    pub keep_slower_than: Option<Duration>,
    /// Spans that may wait for the exporter; more are dropped and counted.
    pub queue_spans: usize,
    /// The most spans in one request to the collector.
    pub batch_spans: usize,
    /// The longest that a span waits for company.
    pub delay: Duration,
    /// The deadline of one request to the collector.
    pub timeout: Duration,
}

impl Default for TraceOptions {
    /// Exports nothing; otherwise the defaults of the specification, and traces that fail or take
    /// more than 10 s are kept.
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: Protocol::HttpProtobuf,
            sampler: Sampler::default(),
            keep_slower_than: Some(Duration::from_secs(10)),
            queue_spans: 2048,
            batch_spans: 512,
            delay: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
        }
    }
}

impl TraceOptions {
    /// Reads the `OTEL_*` variables of the process.
    ///
    /// # Errors
    /// [`TelemetryError::Traces`] naming the variable whose value cannot be used.
    pub fn from_env() -> Result<Self, TelemetryError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Sends spans to a collector given by its base address, as `OTEL_EXPORTER_OTLP_ENDPOINT`
    /// would: over HTTP the signal's path is added, if it is not there.
    pub fn set_base(&mut self, base: &str) {
        let base = base.trim_end_matches('/').trim_end_matches("/v1/traces");
        self.endpoint = Some(from_base(base, self.protocol));
    }

    /// Reads the `OTEL_*` variables through `variable`. An empty value counts as unset.
    ///
    /// # Errors
    /// As [`TraceOptions::from_env`].
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, TelemetryError> {
        let get = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let mut options = Self::default();
        let protocol = get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            .or_else(|| get("OTEL_EXPORTER_OTLP_PROTOCOL"));
        options.protocol = match protocol.as_deref() {
            None | Some("http/protobuf") => Protocol::HttpProtobuf,
            Some("grpc") => Protocol::Grpc,
            Some(other) => {
                let shown = other.escape_debug();
                let reason = format!("`{shown}` is not one of grpc, http/protobuf");
                return Err(refuse("OTEL_EXPORTER_OTLP_PROTOCOL", reason));
            }
        };
        options.endpoint = endpoint(&get, options.protocol)?;
        options.sampler = sampler(&get)?;
        for (name, target) in [
            ("OTEL_BSP_MAX_QUEUE_SIZE", &mut options.queue_spans),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", &mut options.batch_spans),
        ] {
            if let Some(number) = number(&get, name)? {
                *target = usize::try_from(number).unwrap_or(usize::MAX).clamp(1, 1 << 20);
            }
        }
        if let Some(ms) = number(&get, "OTEL_BSP_SCHEDULE_DELAY")? {
            options.delay = Duration::from_millis(ms);
        }
        let timeout = number(&get, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")?;
        if let Some(ms) = timeout.or(number(&get, "OTEL_EXPORTER_OTLP_TIMEOUT")?) {
            options.timeout = Duration::from_millis(ms);
        }
        Ok(options)
    }
}

type Get<'a> = dyn Fn(&str) -> Option<String> + 'a;

fn refuse(variable: &'static str, reason: String) -> TelemetryError {
    TelemetryError::Traces { variable, reason }
}

fn endpoint(get: &Get<'_>, protocol: Protocol) -> Result<Option<String>, TelemetryError> {
    if get("OTEL_SDK_DISABLED").is_some_and(|v| v.trim().eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    match get("OTEL_TRACES_EXPORTER").as_deref().map(str::trim) {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(other) => {
            let reason = format!("`{}` is not one of otlp, none", other.escape_debug());
            return Err(refuse("OTEL_TRACES_EXPORTER", reason));
        }
    }
    let own = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    // Only the common variable is a base to which the signal's path is added.
    let common = get("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| from_base(&base, protocol));
    Ok(own.or(common))
}

fn from_base(base: &str, protocol: Protocol) -> String {
    match protocol {
        Protocol::HttpProtobuf => format!("{}/v1/traces", base.trim_end_matches('/')),
        Protocol::Grpc => base.to_owned(),
    }
}

fn sampler(get: &Get<'_>) -> Result<Sampler, TelemetryError> {
    let ratio = || match get("OTEL_TRACES_SAMPLER_ARG") {
        None => Ok(1.0),
        Some(text) => match text.trim().parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            _ => Err(refuse(
                "OTEL_TRACES_SAMPLER_ARG",
                format!("`{}` is not a ratio from 0 to 1", text.escape_debug()),
            )),
        },
    };
    let (ratio, parent_based) = match get("OTEL_TRACES_SAMPLER").as_deref().map(str::trim) {
        None | Some("parentbased_traceidratio") => (ratio()?, true),
        Some("parentbased_always_on") => (1.0, true),
        Some("parentbased_always_off") => (0.0, true),
        Some("traceidratio") => (ratio()?, false),
        Some("always_on") => (1.0, false),
        Some("always_off") => (0.0, false),
        Some(other) => {
            let reason = format!("`{}` is not a sampler", other.escape_debug());
            return Err(refuse("OTEL_TRACES_SAMPLER", reason));
        }
    };
    Ok(Sampler { ratio, parent_based })
}

fn number(get: &Get<'_>, name: &'static str) -> Result<Option<u64>, TelemetryError> {
    let Some(text) = get(name) else { return Ok(None) };
    text.trim()
        .parse()
        .map(Some)
        .map_err(|_| refuse(name, format!("`{}` is not a whole number", text.escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<TraceOptions, TelemetryError> {
        TraceOptions::from_variables(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_is_exported_without_an_endpoint() {
        assert_eq!(read(&[]).unwrap(), TraceOptions::default());
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");
        let on = read(&[base]).unwrap();
        assert_eq!(on.endpoint.as_deref(), Some("http://c:4318/v1/traces"));
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(read(&[base, off]).unwrap().endpoint, None);
        }
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1/x");
        assert_eq!(read(&[base, own]).unwrap().endpoint.as_deref(), Some("http://t:1/x"));
        let grpc = read(&[base, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap();
        assert_eq!(grpc.endpoint.as_deref(), Some("http://c:4318/"));
        assert_eq!(grpc.protocol, Protocol::Grpc);
    }

    #[test]
    fn a_value_that_cannot_be_used_names_its_variable() {
        for (name, value) in [
            ("OTEL_TRACES_EXPORTER", "jaeger"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "udp"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }

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
