//! From a TOML file and command-line overrides to a checked configuration.
//!
//! Everything is parsed and checked here, before anything binds or opens. Unknown fields are
//! refused. It deliberately reads no environment variable of its own: the standard `OTEL_*` ones
//! are read by the telemetry crate.

mod audit;
mod flight;
mod gpu;
mod health;
mod limits;
mod log;
mod quality;
mod slo;
mod traces;

pub use audit::{AuditConfig, AuditPolicy};
pub use flight::FlightConfig;
pub use gpu::GpuConfig;
pub use health::{CheckConfig, CheckPolicy, HealthConfig};
pub use limits::{JobConfig, LimitConfig};
pub use log::{LogConfig, LogFormatName, LogSchemaName};
pub use quality::QualityConfig;
pub use slo::SloConfig;
pub use traces::{TraceConfig, TraceProtocol};

use crate::ServerError;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything the service can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Directory of the job database and of uploaded scans; created if missing.
    pub data_dir: PathBuf,
    /// Directory of the model bundle; the bundled model when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_dir: Option<PathBuf>,
    /// Addresses of the listeners.
    pub listen: ListenConfig,
    /// What a client may ask for.
    pub limits: LimitConfig,
    /// How jobs are queued and run.
    pub jobs: JobConfig,
    /// The four health checks.
    pub health: HealthConfig,
    /// How the model is watched while it serves.
    pub quality: QualityConfig,
    /// How GPUs are watched.
    pub gpu: GpuConfig,
    /// The audit log.
    pub audit: AuditConfig,
    /// Log lines.
    pub log: LogConfig,
    /// Spans.
    pub traces: TraceConfig,
    /// What the flight recorder keeps.
    pub flight: FlightConfig,
    /// What the service promises.
    pub slo: SloConfig,
    /// Seconds given to running work, open requests and telemetry when asked to stop.
    pub drain_deadline_seconds: u64,
    /// Where these settings come from, for reading them again.
    #[serde(skip)]
    pub origin: Origin,
}

/// The file and the flags that a configuration was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The file, if any.
    pub file: Option<PathBuf>,
    /// What the command line set over it.
    pub overrides: Overrides,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("microdiff-data"),
            model_dir: None,
            listen: ListenConfig::default(),
            limits: LimitConfig::default(),
            jobs: JobConfig::default(),
            health: HealthConfig::default(),
            quality: QualityConfig::default(),
            gpu: GpuConfig::default(),
            audit: AuditConfig::default(),
            log: LogConfig::default(),
            traces: TraceConfig::default(),
            flight: FlightConfig::default(),
            slo: SloConfig::default(),
            // Below the 30 s that Kubernetes grants by default.
            drain_deadline_seconds: 25,
            origin: Origin::default(),
        }
    }
}

/// Address and port of each listener. Port 0 takes a free one. Two listeners with the same
/// address share one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenConfig {
    /// The API and the health endpoints.
    pub api: SocketAddr,
    /// `/metrics`.
    pub metrics: SocketAddr,
    /// `/gpu-metrics`.
    pub gpu: SocketAddr,
    /// Flight records, objectives, log level, cardinality and drain. Loopback only: it asks for no credentials.
    pub admin: SocketAddr,
}

impl Default for ListenConfig {
    fn default() -> Self {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self { api: local(8080), metrics: local(8000), gpu: local(8001), admin: local(8002) }
    }
}

/// What the command line sets over the file. `None` leaves the file's value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--metrics-listen`.
    pub metrics_listen: Option<SocketAddr>,
    /// `--gpu-listen`.
    pub gpu_listen: Option<SocketAddr>,
    /// `--admin-listen`.
    pub admin_listen: Option<SocketAddr>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--model`.
    pub model_dir: Option<PathBuf>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--log-schema`.
    pub log_schema: Option<LogSchemaName>,
    /// `--log-format`.
    pub log_format: Option<LogFormatName>,
}

impl Config {
    /// Reads `file` if given, else the defaults; sets the overrides; checks the whole.
    ///
    /// # Errors
    /// [`ServerError::Config`] naming the file, line or field at fault.
    pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self, ServerError> {
        let mut config = match file {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    ServerError::Config(format!("cannot read {}: {error}", path.display()))
                })?;
                Self::parse(&text)?
            }
        };
        config.origin = Origin { file: file.map(Path::to_owned), overrides: overrides.clone() };
        config.set(overrides);
        config.check()?;
        Ok(config)
    }

    /// Reads the same file again, under the same flags.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn reload(&self) -> Result<Self, ServerError> {
        Self::load(self.origin.file.as_deref(), self.origin.overrides.clone())
    }

    /// Parses TOML without checking the values against each other.
    ///
    /// # Errors
    /// [`ServerError::Config`] with line and reason.
    pub fn parse(text: &str) -> Result<Self, ServerError> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| {
                1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
            });
            let place = line.map_or_else(String::new, |line| format!("line {line}: "));
            let reason: Vec<&str> = error.message().lines().collect();
            ServerError::Config(format!("{place}{}", reason.join(" ")))
        })
    }

    fn set(&mut self, over: Overrides) {
        fn put<T>(slot: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *slot = value;
            }
        }
        put(&mut self.listen.api, over.listen);
        put(&mut self.listen.metrics, over.metrics_listen);
        put(&mut self.listen.gpu, over.gpu_listen);
        put(&mut self.listen.admin, over.admin_listen);
        put(&mut self.data_dir, over.data_dir);
        put(&mut self.log.level, over.log_level);
        put(&mut self.log.schema, over.log_schema);
        put(&mut self.log.format, over.log_format);
        if over.model_dir.is_some() {
            self.model_dir = over.model_dir;
        }
    }

    /// Checks every value; the first fault is told by its field.
    ///
    /// # Errors
    /// [`ServerError::Config`] naming the field.
    pub fn check(&self) -> Result<(), ServerError> {
        self.limits.check()?;
        self.jobs.check()?;
        self.health.check()?;
        self.quality.check()?;
        self.gpu.check()?;
        self.flight.check()?;
        self.slo.check()?;
        self.audit.check()?;
        if !self.listen.admin.ip().is_loopback() {
            return Err(ServerError::Config(format!(
                "listen.admin = \"{}\": must be a loopback address, the admin listener asks for \
                 no credentials",
                self.listen.admin
            )));
        }
        within("drain_deadline_seconds", self.drain_deadline_seconds, 1, 3600)?;
        if self.data_dir.as_os_str().is_empty() {
            return Err(ServerError::Config("data_dir is empty".into()));
        }
        self.traces.check()?;
        self.log.check()
    }

    /// How long a drain may take.
    pub(crate) fn drain_deadline(&self) -> Duration {
        Duration::from_secs(self.drain_deadline_seconds)
    }
}

/// Refuses a number outside `low..=high`, naming its field.
fn within(field: &str, value: u64, low: u64, high: u64) -> Result<(), ServerError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(ServerError::Config(format!("{field} = {value} is outside {low} to {high}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Config::parse(text).and_then(|config| config.check()).unwrap_err().to_string()
    }

    #[test]
    fn the_sample_says_the_defaults() {
        let sample = include_str!("../../microdiff.sample.toml");
        let config = Config::parse(sample).unwrap();
        config.check().unwrap();
        assert_eq!(config, Config::default());
    }

    #[test]
    fn every_field_is_in_the_sample() {
        let all = toml::to_string(&Config {
            model_dir: Some("m".into()),
            audit: AuditConfig {
                dir: Some("a".into()),
                key_file: Some("k".into()),
                ..AuditConfig::default()
            },
            log: LogConfig { file: Some("l".into()), ..LogConfig::default() },
            traces: TraceConfig {
                endpoint: Some("http://x".into()),
                protocol: Some(TraceProtocol::Grpc),
                certificate: Some("c".into()),
                sample_ratio: Some(0.5),
                ..TraceConfig::default()
            },
            gpu: GpuConfig { library: Some("l".into()), ..GpuConfig::default() },
            ..Config::default()
        })
        .unwrap();
        let sample = include_str!("../../microdiff.sample.toml");
        for line in all.lines().filter(|line| !line.is_empty()) {
            let key = line.split(" =").next().unwrap();
            assert!(sample.contains(key), "{key} is missing from the sample");
        }
    }

    #[test]
    fn unknown_fields_and_bad_values_are_named() {
        assert!(refusal("data_dri = \"x\"").contains("line 1: unknown field `data_dri`"));
        assert!(refusal("[limits]\nqueue = 1").contains("line 2"), "{}", refusal("[limits]\nq=1"));
        assert!(refusal("[jobs]\nworkers = 0").contains("jobs.workers = 0 is outside 1 to"));
        assert!(refusal("[listen]\nadmin = \"0.0.0.0:8002\"").contains("loopback"));
        assert!(refusal("[listen]\napi = \"localhost\"").contains("line 2"));
        assert!(refusal("[audit]\nretention_days = 30").contains("outside 365 to"));
        assert!(refusal("[log]\nlevel = \"loud\"").contains("log.level"));
        assert!(refusal("[log]\nschema = \"xml\"").contains("line 2"));
        assert!(refusal("[log]\nrotate_bytes = 1").contains("log.rotate_bytes = 1 is outside"));
        assert!(refusal("[log]\nkeep_days = 0").contains("log.keep_days = 0 is outside"));
        assert!(refusal("[traces]\nendpoint = \"ftp://x\"").contains("traces.endpoint"));
        assert!(refusal("[quality]\ndrift_window = 5").contains("quality.drift_window = 5"));
        assert!(refusal("[flight]\ncapacity = 5").contains("flight.capacity = 5 is outside 7 to"));
        assert!(refusal("[slo]\navailability = 1").contains("slo.availability = 1 is outside"));
        assert!(refusal("[slo]\nlatency_seconds = nan").contains("slo.latency_seconds = NaN"));
        assert!(refusal("[slo]\nlatency_ratio = 0.3").contains("slo.latency_ratio = 0.3"));
        assert!(refusal("[slo]\nwindow_days = 0").contains("slo.window_days = 0 is outside 1"));
        assert!(refusal("[health.gpu]\npolicy = \"maybe\"").contains("line 2"));
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "data_dir = \"a\"\n[listen]\napi = \"127.0.0.1:1\"\n").unwrap();
        let over = Overrides { data_dir: Some("b".into()), ..Overrides::default() };
        let config = Config::load(Some(&file), over).unwrap();
        assert_eq!(config.reload().unwrap(), config);
        assert_eq!(config.data_dir, PathBuf::from("b"));
        assert_eq!(config.listen.api.port(), 1);
        assert_eq!(config.listen.metrics.port(), 8000);
    }
}
