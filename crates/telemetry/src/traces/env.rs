//! The standard `OTEL_*` variables.
//!
//! Source: OpenTelemetry specification 1.x, "Environment Variable Specification", "OTLP Exporter
//! Configuration" and "Trace SDK". As it asks, an empty value counts as unset, and a value that is
//! not understood is ignored with a warning, never silently and never fatally; an address or
//! certificate that cannot be used does stop the start. `OTEL_EXPORTER_OTLP_HEADERS`,
//! `_COMPRESSION` (only `none` here), `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` are read by
//! the SDK when the exporter is built.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::options::{Protocol, Sampler, TraceOptions, from_base};

/// Variables of the specification that are not acted upon; whoever sets one should hear of it.
const UNSUPPORTED: [&str; 6] = [
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "OTEL_CONFIG_FILE",
];

impl TraceOptions {
    /// Reads the `OTEL_*` variables of the process.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads the `OTEL_*` variables through `variable`. What is ignored is in
    /// [`TraceOptions::warnings`].
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut reader = Reader { variable: &variable, warnings: Vec::new() };
        let mut options = Self::default();
        reader.switches(&mut options);
        reader.exporter(&mut options);
        options.sampler = reader.sampler();
        reader.batches(&mut options);
        reader.limits(&mut options);
        for name in UNSUPPORTED {
            if reader.get(name).is_some() {
                reader.warnings.push(format!("{name} is not supported; ignored"));
            }
        }
        options.warnings = reader.warnings;
        options
    }
}

struct Reader<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The first that is set, with its name.
    fn first(&self, names: [&'static str; 2]) -> Option<(&'static str, String)> {
        names.into_iter().find_map(|name| Some((name, self.get(name)?)))
    }

    fn warn(&mut self, name: &str, value: &str, reason: impl Display) {
        self.warnings.push(format!("{name}: `{}` {reason}; ignored", value.escape_debug()));
    }

    fn flag(&mut self, name: &'static str) -> bool {
        let Some(value) = self.get(name) else { return false };
        let on = value.eq_ignore_ascii_case("true");
        if !on && !value.eq_ignore_ascii_case("false") {
            self.warn(name, &value, "is neither true nor false");
        }
        on
    }

    fn number(
        &mut self,
        names: [&'static str; 2],
        range: RangeInclusive<u64>,
    ) -> Option<(&'static str, u64)> {
        let (name, value) = self.first(names)?;
        match value.parse() {
            Ok(number) if range.contains(&number) => Some((name, number)),
            _ => {
                let (low, high) = (range.start(), range.end());
                self.warn(name, &value, format_args!("is no whole number from {low} to {high}"));
                None
            }
        }
    }

    fn switches(&mut self, options: &mut TraceOptions) {
        options.off = self.flag("OTEL_SDK_DISABLED");
        let exporter = "OTEL_TRACES_EXPORTER";
        match self.get(exporter).as_deref() {
            None | Some("otlp") => {}
            Some("none") => options.off = true,
            Some(other) => self.warn(exporter, other, "is not one of otlp, none"),
        }
        let propagators = "OTEL_PROPAGATORS";
        let Some(list) = self.get(propagators) else { return };
        let mut known = Vec::new();
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "tracecontext" => known.push(true),
                "none" => known.push(false),
                "baggage" => {
                    known.push(false);
                    self.warn(propagators, name, "carries nothing here");
                }
                other => self.warn(propagators, other, "is not one of tracecontext, none"),
            }
        }
        // With nothing known in it the list is ignored as a whole.
        options.propagate = known.is_empty() || known.contains(&true);
    }

    fn exporter(&mut self, options: &mut TraceOptions) {
        let protocol =
            self.first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]);
        if let Some((name, value)) = protocol {
            match value.as_str() {
                "http/protobuf" => options.protocol = Protocol::HttpProtobuf,
                "grpc" => options.protocol = Protocol::Grpc,
                other => self.warn(name, other, "is not one of grpc, http/protobuf"),
            }
        }
        let own = self.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        // Only the common variable is a base to which the signal's path is added.
        let common = || {
            let base = self.get("OTEL_EXPORTER_OTLP_ENDPOINT")?;
            Some(from_base(&base, options.protocol))
        };
        options.endpoint = own.or_else(common);
        let certificate =
            self.first(["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"]);
        options.certificate = certificate.map(|(_, file)| file.into());
        let insecure = match self.get("OTEL_EXPORTER_OTLP_TRACES_INSECURE") {
            Some(_) => self.flag("OTEL_EXPORTER_OTLP_TRACES_INSECURE"),
            None => self.flag("OTEL_EXPORTER_OTLP_INSECURE"),
        };
        // Over gRPC an address may come without a scheme, and this says which is meant.
        if let (Protocol::Grpc, Some(endpoint)) = (options.protocol, &mut options.endpoint)
            && !endpoint.contains("://")
        {
            *endpoint = format!("{}://{endpoint}", if insecure { "http" } else { "https" });
        }
    }

    fn sampler(&mut self) -> Sampler {
        let (name, argument) = ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG");
        let sampler = self.get(name);
        let uses_ratio = match sampler.as_deref() {
            None | Some("parentbased_traceidratio") => Some(true),
            Some("traceidratio") => Some(false),
            Some("parentbased_always_on") => return Sampler { ratio: 1.0, parent_based: true },
            Some("parentbased_always_off") => return Sampler { ratio: 0.0, parent_based: true },
            Some("always_on") => return Sampler { ratio: 1.0, parent_based: false },
            Some("always_off") => return Sampler { ratio: 0.0, parent_based: false },
            Some(other) => {
                self.warn(name, other, "is not a sampler known here");
                None
            }
        };
        // The argument of a sampler that is not known says nothing.
        let Some(parent_based) = uses_ratio else { return Sampler::default() };
        let Some(text) = self.get(argument) else { return Sampler { ratio: 1.0, parent_based } };
        match text.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Sampler { ratio, parent_based },
            _ => {
                self.warn(argument, &text, "is no ratio from 0 to 1");
                Sampler { ratio: 1.0, parent_based }
            }
        }
    }

    fn batches(&mut self, options: &mut TraceOptions) {
        const SPANS: RangeInclusive<u64> = 1..=1 << 20;
        const DAY_MS: u64 = 86_400_000;
        let milliseconds = |found: Option<(&str, u64)>, target: &mut Duration| {
            if let Some((_, ms)) = found {
                *target = Duration::from_millis(ms);
            }
        };
        if let Some((_, spans)) = self.number(["OTEL_BSP_MAX_QUEUE_SIZE"; 2], SPANS) {
            options.queue_spans = usize::try_from(spans).unwrap_or(usize::MAX);
        }
        let batch = self.number(["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"; 2], SPANS);
        if let Some((name, spans)) = batch {
            options.batch_spans = usize::try_from(spans).unwrap_or(usize::MAX);
            if options.batch_spans > options.queue_spans {
                let shown = options.batch_spans.to_string();
                self.warn(name, &shown, "is more than the queue holds");
            }
        }
        options.batch_spans = options.batch_spans.min(options.queue_spans);
        let delay = self.number(["OTEL_BSP_SCHEDULE_DELAY"; 2], 0..=DAY_MS);
        milliseconds(delay, &mut options.delay);
        let limit = self.number(["OTEL_BSP_EXPORT_TIMEOUT"; 2], 1..=DAY_MS);
        milliseconds(limit, &mut options.export_timeout);
        let names = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
        milliseconds(self.number(names, 1..=DAY_MS), &mut options.timeout);
    }

    fn limits(&mut self, options: &mut TraceOptions) {
        for (names, target) in [
            (
                ["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"],
                &mut options.span_attributes,
            ),
            (
                ["OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"],
                &mut options.attribute_bytes,
            ),
        ] {
            if let Some((_, number)) = self.number(names, 0..=1 << 20) {
                *target = usize::try_from(number).unwrap_or(usize::MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> TraceOptions {
        TraceOptions::from_variables(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");

    #[test]
    fn nothing_is_exported_without_an_endpoint() {
        assert_eq!(read(&[]), TraceOptions::default());
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), TraceOptions::default());
        assert_eq!(read(&[BASE]).target(), Some("http://c:4318/v1/traces"));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1/x");
        assert_eq!(read(&[BASE, own]).target(), Some("http://t:1/x"));
        let grpc = read(&[BASE, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert_eq!((grpc.target(), grpc.protocol), (Some("http://c:4318/"), Protocol::Grpc));
    }

    #[test]
    fn the_off_switches_win_over_an_endpoint_set_later() {
        for off in [("OTEL_SDK_DISABLED", "True"), ("OTEL_TRACES_EXPORTER", "none")] {
            let mut options = read(&[BASE, off]);
            assert!(options.warnings.is_empty(), "{:?}", options.warnings);
            options.set_base("http://file:4318");
            assert_eq!(options.target(), None, "{off:?}");
            assert!(options.propagate, "propagation is another switch");
        }
        for on in [("OTEL_SDK_DISABLED", "false"), ("OTEL_TRACES_EXPORTER", "otlp")] {
            assert!(read(&[BASE, on]).target().is_some(), "{on:?}");
        }
    }

    #[test]
    fn a_grpc_address_without_scheme_is_secure_unless_said_otherwise() {
        let address = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ];
        assert_eq!(read(&address).target(), Some("https://collector:4317"));
        for name in ["OTEL_EXPORTER_OTLP_INSECURE", "OTEL_EXPORTER_OTLP_TRACES_INSECURE"] {
            let insecure = [&address[..], &[(name, "true")]].concat();
            assert_eq!(read(&insecure).target(), Some("http://collector:4317"));
        }
    }

    #[test]
    fn propagators_choose_whether_callers_are_listened_to() {
        for (list, listens, warnings) in [
            ("tracecontext", true, 0),
            ("tracecontext,tracecontext", true, 0),
            ("tracecontext, baggage", true, 1),
            ("b3,tracecontext", true, 1),
            ("none", false, 0),
            ("baggage", false, 1),
            ("b3", true, 1),
        ] {
            let options = read(&[("OTEL_PROPAGATORS", list)]);
            assert_eq!(options.propagate, listens, "{list}");
            assert_eq!(options.warnings.len(), warnings, "{list}: {:?}", options.warnings);
        }
    }

    #[test]
    fn every_sampler_of_the_specification_is_known() {
        for (name, ratio, parent_based) in [
            ("always_on", 1.0, false),
            ("always_off", 0.0, false),
            ("traceidratio", 0.25, false),
            ("parentbased_always_on", 1.0, true),
            ("parentbased_always_off", 0.0, true),
            ("parentbased_traceidratio", 0.25, true),
        ] {
            let pairs = [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", "0.25")];
            assert_eq!(read(&pairs).sampler, Sampler { ratio, parent_based }, "{name}");
        }
    }

    #[test]
    fn numbers_reach_their_settings() {
        let options = read(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_BSP_SCHEDULE_DELAY", "7"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "8"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "9"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "3"),
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "4"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
        ]);
        assert_eq!((options.queue_spans, options.batch_spans), (100, 100));
        let ms = Duration::from_millis;
        assert_eq!((options.delay, options.export_timeout, options.timeout), (ms(7), ms(8), ms(9)));
        assert_eq!((options.span_attributes, options.attribute_bytes), (3, 4));
        assert_eq!(options.certificate, Some("ca.pem".into()));
        assert!(options.warnings.is_empty(), "{:?}", options.warnings);
    }

    #[test]
    fn a_value_that_is_not_understood_is_ignored_and_named() {
        for (name, value) in [
            ("OTEL_SDK_DISABLED", "yes"),
            ("OTEL_TRACES_EXPORTER", "jaeger"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
            ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "udp"),
            ("OTEL_EXPORTER_OTLP_INSECURE", "1"),
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem"),
        ] {
            let mut options = read(&[(name, value)]);
            let warnings = std::mem::take(&mut options.warnings);
            assert_eq!(options, TraceOptions::default(), "{name}");
            assert!(warnings.len() == 1 && warnings[0].contains(name), "{warnings:?}");
        }
    }
}
