//! Metrics, JSON logs, traces, health checks, GPU readings, an audit log, a flight recorder and error
//! budgets for a Rust service.
//!
//! The service brings a table of its metrics ([`metrics::MetricSpec`]); [`Telemetry::start`] turns
//! it, with the rows this crate adds, into a registry, sets up logging and tracing, and returns a
//! [`Guard`] that flushes on the way out. The rest are pieces to plug into an `axum` service.
//!
//! The crate knows no word of any domain. Deliberately absent: pushing metrics or logs over the
//! network, and any global besides the log subscriber and the panic hook.

pub mod audit;
pub mod builtin;
mod clock;
mod context;
mod error;
mod files;
pub mod flight;
pub mod gpu;
pub mod health;
pub mod http;
pub mod logs;
pub mod metrics;
mod process;
pub mod redaction;
mod runtime;
pub mod slo;
pub mod tls;
pub mod traces;

use std::time::{Duration, Instant};

use tracing::Dispatch;

pub use clock::rfc3339;
pub use error::TelemetryError;

use logs::{LogHandle, LogOptions, Speaker};
use metrics::{MetricSpec, Registry};
use redaction::{RedactionOptions, Scrubber};
use traces::{TraceOptions, Tracer};

/// Everything a service says about itself before it starts.
#[derive(Clone, Debug)]
pub struct TelemetryOptions {
    /// The service's name in log lines and spans.
    pub service_name: String,
    /// Its version.
    pub version: String,
    /// What the metrics of this crate and the loggers about telemetry begin with.
    pub prefix: String,
    /// The service's own metrics, with full names.
    pub metrics: &'static [MetricSpec],
    /// Logging.
    pub logs: LogOptions,
    /// Tracing.
    pub traces: TraceOptions,
    /// Redaction.
    pub redaction: RedactionOptions,
}

impl TelemetryOptions {
    /// Logs to stdout from `info` on, exports no traces.
    pub fn new(
        service_name: impl Into<String>,
        version: impl Into<String>,
        prefix: impl Into<String>,
        metrics: &'static [MetricSpec],
    ) -> Self {
        Self {
            service_name: service_name.into(),
            version: version.into(),
            prefix: prefix.into(),
            metrics,
            logs: LogOptions::default(),
            traces: TraceOptions::default(),
            redaction: RedactionOptions::default(),
        }
    }
}

/// The running telemetry of a service. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    service_name: std::sync::Arc<str>,
    version: std::sync::Arc<str>,
    registry: Registry,
    logs: LogHandle,
    tracer: Tracer,
    scrubber: Scrubber,
}

impl Telemetry {
    /// Starts telemetry and makes it the receiver of all log events of the process.
    ///
    /// # Errors
    /// [`TelemetryError`] when the catalogue breaks a rule, the log file cannot be opened, the
    /// collector's address cannot be used, or logging is already set up.
    pub fn start(options: TelemetryOptions) -> Result<(Self, Guard), TelemetryError> {
        let log_panics = options.logs.log_panics;
        let logger = options.prefix.clone();
        let (telemetry, guard, dispatch) = Self::start_local(options)?;
        tracing::dispatcher::set_global_default(dispatch)
            .map_err(|_| TelemetryError::AlreadyStarted)?;
        if log_panics {
            logs::install_panic_hook(&telemetry.logs, &logger);
        }
        Ok((telemetry, guard))
    }

    /// Starts telemetry without touching anything global; events reach it where the returned
    /// subscriber is set (`tracing::dispatcher::with_default`). For tests, and for several services
    /// in one process.
    ///
    /// # Errors
    /// As [`Telemetry::start`], without the last.
    pub fn start_local(
        options: TelemetryOptions,
    ) -> Result<(Self, Guard, Dispatch), TelemetryError> {
        let mut specs = options.metrics.to_vec();
        specs.extend(builtin::specs(&options.prefix));
        let registry = Registry::new(&options.prefix, &specs)?;
        process::observe(&registry);
        runtime::observe(&registry);
        registry
            .gauge(
                &builtin::BUILD_INFO.prefixed(&options.prefix),
                &[&options.service_name, &options.version],
            )
            .set(1.0);
        let scrubber = Scrubber::new(options.redaction);
        let speaker = Speaker {
            service: &options.service_name,
            version: &options.version,
            prefix: options.prefix.clone(),
        };
        // Traces first: a bad address must not leave a log writer behind.
        let service = (options.service_name.as_str(), options.version.as_str());
        let tracer = traces::start(&options.traces, service, scrubber.clone(), &registry)?;
        let (logs, dispatch) = logs::start(options.logs, &speaker, scrubber.clone(), &registry)?;
        traces::speak(&tracer, &options.traces, &dispatch);
        let telemetry = Self {
            service_name: options.service_name.into(),
            version: options.version.into(),
            registry,
            logs,
            tracer,
            scrubber,
        };
        let guard = Guard { telemetry: Some(telemetry.clone()) };
        Ok((telemetry, guard, dispatch))
    }

    /// The service's name.
    #[must_use]
    pub fn service_name(&self) -> &str {
        &self.service_name
    }

    /// The service's version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The metrics.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Log levels and flushing.
    #[must_use]
    pub const fn logs(&self) -> &LogHandle {
        &self.logs
    }

    /// Starts spans.
    #[must_use]
    pub const fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Redaction, for sinks outside this crate (error bodies, audit).
    #[must_use]
    pub const fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }
}

/// Flushes telemetry at the end; dropped without [`Guard::shutdown`] it allows itself one second.
#[must_use = "telemetry ends when the guard is dropped"]
pub struct Guard {
    telemetry: Option<Telemetry>,
}

impl Guard {
    /// Sends and writes what is waiting, spans first; `false` when `deadline` came first.
    pub fn shutdown(mut self, deadline: Duration) -> bool {
        self.end(deadline)
    }

    fn end(&mut self, deadline: Duration) -> bool {
        let Some(telemetry) = self.telemetry.take() else { return true };
        let end = Instant::now() + deadline;
        // A hanging collector gets half of the time, so that the log is always written.
        let spans = telemetry.tracer.close(deadline / 2);
        let lines = telemetry.logs.close(end.saturating_duration_since(Instant::now()));
        spans && lines
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end(Duration::from_secs(1));
    }
}

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
