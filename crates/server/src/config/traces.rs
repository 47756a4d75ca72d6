use super::within;
use crate::ServerError;
use microdiff_telemetry::traces::{Protocol, TraceOptions};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Spans. Off until an endpoint is set here or by `OTEL_EXPORTER_OTLP_ENDPOINT`. What is set here
/// wins over the `OTEL_*` variable of the same meaning, and the variables hold for the rest; but
/// `OTEL_SDK_DISABLED=true` and `OTEL_TRACES_EXPORTER=none` switch spans off whatever is set here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceConfig {
    /// OTLP endpoint, as `http://127.0.0.1:4318`; http or https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How spans travel; `http/protobuf` when neither this nor the variable is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<TraceProtocol>,
    /// File of PEM certificates by which alone an https endpoint is trusted; the system's when
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Share of new traces that are recorded, 0 to 1; a caller's own decision is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_ratio: Option<f64>,
    /// Seconds from which a request or design that was not sampled is kept all the same; one that
    /// failed is, too. 0 keeps neither.
    pub keep_slower_than_seconds: u64,
}

/// How spans travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceProtocol {
    /// Protobuf over HTTP, usually port 4318.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
    /// gRPC, usually port 4317.
    #[serde(rename = "grpc")]
    Grpc,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: None,
            certificate: None,
            sample_ratio: None,
            keep_slower_than_seconds: 10,
        }
    }
}

impl TraceConfig {
    pub(super) fn check(&self) -> Result<(), ServerError> {
        if let Some(endpoint) = &self.endpoint
            && !(endpoint.starts_with("http://") || endpoint.starts_with("https://"))
        {
            return Err(ServerError::Config(
                "traces.endpoint must begin with http:// or https://".into(),
            ));
        }
        if let Some(ratio) = self.sample_ratio
            && !(0.0..=1.0).contains(&ratio)
        {
            return Err(ServerError::Config(format!(
                "traces.sample_ratio = {ratio} is outside 0 to 1"
            )));
        }
        within("traces.keep_slower_than_seconds", self.keep_slower_than_seconds, 0, 86_400)
    }

    /// These settings laid over those of the variables.
    pub(crate) fn over(&self, mut options: TraceOptions) -> TraceOptions {
        if let Some(protocol) = self.protocol {
            options.protocol = match protocol {
                TraceProtocol::HttpProtobuf => Protocol::HttpProtobuf,
                TraceProtocol::Grpc => Protocol::Grpc,
            };
        }
        if let Some(endpoint) = &self.endpoint {
            options.set_base(endpoint);
        }
        if let Some(certificate) = &self.certificate {
            options.certificate = Some(certificate.clone());
        }
        if let Some(ratio) = self.sample_ratio {
            options.sampler.ratio = ratio;
        }
        let slow = self.keep_slower_than_seconds;
        options.keep_slower_than = (slow > 0).then(|| Duration::from_secs(slow));
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(text: &str, variables: &[(&str, &str)]) -> TraceOptions {
        let config: TraceConfig = toml::from_str(text).unwrap();
        config.check().unwrap();
        config.over(TraceOptions::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        }))
    }

    const VARIABLES: &[(&str, &str)] = &[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://env:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "env.pem"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ];

    #[test]
    fn the_file_wins_where_it_speaks_and_the_variables_elsewhere() {
        let silent = over("", VARIABLES);
        assert_eq!(silent.target(), Some("http://env:4317"));
        assert_eq!((silent.protocol, silent.sampler.ratio), (Protocol::Grpc, 0.0));
        let spoken = over(
            "endpoint = \"https://file:4318\"\nprotocol = \"http/protobuf\"\n\
             certificate = \"file.pem\"\nsample_ratio = 0.5\nkeep_slower_than_seconds = 0",
            VARIABLES,
        );
        assert_eq!(spoken.target(), Some("https://file:4318/v1/traces"));
        assert_eq!(spoken.protocol, Protocol::HttpProtobuf);
        assert_eq!(spoken.certificate, Some("file.pem".into()));
        assert_eq!(spoken.sampler.ratio, 0.5);
        assert!(!spoken.sampler.parent_based, "what the file does not name stays");
        assert_eq!(spoken.keep_slower_than, None);
    }

    #[test]
    fn the_off_switches_win_over_the_file() {
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(over("endpoint = \"http://file:4318\"", &[off]).target(), None, "{off:?}");
        }
    }

    #[test]
    fn values_outside_their_range_are_named() {
        for text in ["sample_ratio = 1.5", "sample_ratio = nan", "keep_slower_than_seconds = 86401"]
        {
            let config: TraceConfig = toml::from_str(text).unwrap();
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains("traces."), "{error}");
        }
    }
}
