//! Logs: from `tracing` events to one JSON object a line.
//!
//! An event becomes a line in the thread that logs, goes into a bounded queue, and is written by a
//! thread of its own to stdout and to a rotated file. Logging never waits: without room the line is
//! dropped, counted, and the loss is reported in the log as soon as there is room again.
//!
//! A line's keys: `timestamp`, `level`, `logger`, `message`, `module`, `function`, `line`, then the
//! event's fields and those of the spans around it (inner ones win), then `service`, `version`; or
//! the same in the Elastic Common Schema ([`LogSchema`]). [`LogCatalogue`] declares every one.
//! `function`: the event's field of that name; else the innermost span made in the same module
//! (with `#[instrument]` that is the function); else the last segment of the module path, because
//! `tracing` does not know function names. A field `error` is shown as `error.message`.
//!
//! Deliberately absent: a blocking mode, and sinks over the network (a collector reads stdout).

pub mod fields;
mod file;
mod json;
mod layer;
mod levels;
mod plan;
mod pretty;
mod queue;
mod schema;
mod sink;
mod writer;

use std::io::IsTerminal as _;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt as _;

pub use fields::LogField;
pub use file::LogFile;
use layer::{JsonLayer, Shared};
pub use levels::LogLevels;
use plan::{Plans, Slot};
use pretty::Pretty;
use queue::Queue;
use schema::Schema;
pub use schema::{ECS_VERSION, LogCatalogue, LogSchema};
use sink::{Out, Sink, Stdout};
use writer::Writer;

use crate::context;
use crate::metrics::Registry;
use crate::redaction::Scrubber;
use crate::{TelemetryError, builtin};

/// How lines look on stdout; a file always has JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For a person: moment, level, logger, message, fields. Coloured on a terminal, unless
    /// `NO_COLOR` is set.
    Pretty,
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "json" => Ok(Self::Json),
            "pretty" => Ok(Self::Pretty),
            _ => Err(TelemetryError::LogSetting { what: "format", expected: "json or pretty" }),
        }
    }
}

/// How a service logs.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// From which level on each logger speaks.
    pub levels: LogLevels,
    /// The keys of a line.
    pub schema: LogSchema,
    /// How lines look on stdout.
    pub format: LogFormat,
    /// The service's own fields, beside [`fields::FIELDS`].
    pub fields: &'static [LogField],
    /// Whether lines go to stdout.
    pub stdout: bool,
    /// The file that lines go to, if any.
    pub file: Option<LogFile>,
    /// Pairs of a `tracing` target (a crate or module path) and the logger it and its modules are
    /// shown as, such as `("bakery_oven", "bakery.oven")`. The longest match decides.
    pub loggers: Vec<(String, String)>,
    /// Lines waiting for the writer may take this many bytes, and as many those being written.
    pub queue_bytes: usize,
    /// Whether a panic is logged as one line instead of being printed on stderr.
    pub log_panics: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            levels: LogLevels::default(),
            schema: LogSchema::default(),
            format: LogFormat::default(),
            fields: &[],
            stdout: true,
            file: None,
            loggers: Vec::new(),
            queue_bytes: DEFAULT_QUEUE_BYTES,
            log_panics: true,
        }
    }
}

/// Holds what a busy core logs while the writer waits for its turn on it (some 30,000 lines).
pub const DEFAULT_QUEUE_BYTES: usize = 16 << 20;

/// Changes levels and flushes while the program runs. Cheap to clone.
#[derive(Clone)]
pub struct LogHandle {
    shared: Arc<Shared>,
}

impl LogHandle {
    /// The levels in force.
    #[must_use]
    pub fn levels(&self) -> LogLevels {
        self.shared.levels.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other levels in force, for all loggers at once.
    pub fn set_levels(&self, levels: LogLevels) {
        *self.shared.levels.write().unwrap_or_else(PoisonError::into_inner) = levels;
        tracing::callsite::rebuild_interest_cache();
    }

    /// The loggers there are, by name: those of the service's map and any that has spoken.
    #[must_use]
    pub fn loggers(&self) -> Vec<String> {
        let mapped = self.shared.loggers.iter().map(|(_, logger)| logger.clone());
        let mut names: Vec<_> = mapped.chain(self.shared.plans.loggers()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Opens the log file anew, as a tool that has moved it away asks for. A file that was moved is
    /// noticed without it, before the next line.
    pub fn reopen(&self) {
        self.shared.queue.reopen();
    }

    /// Waits until all lines so far are written; `false` when `deadline` came first.
    pub fn flush(&self, deadline: Duration) -> bool {
        self.shared.queue.flush(deadline)
    }

    pub(crate) fn close(&self, deadline: Duration) -> bool {
        self.shared.queue.close();
        self.shared.queue.flush(deadline)
    }
}

/// Who is speaking, as each line says.
pub(crate) struct Speaker<'a> {
    pub(crate) service: &'a str,
    pub(crate) version: &'a str,
    /// What the loggers of this crate begin with.
    pub(crate) prefix: String,
}

/// Starts the writer and returns the subscriber that feeds it.
pub(crate) fn start(
    options: LogOptions,
    speaker: &Speaker<'_>,
    scrubber: Scrubber,
    registry: &Registry,
) -> Result<(LogHandle, Dispatch), TelemetryError> {
    let catalogue = LogCatalogue::new(&speaker.prefix, options.fields)?;
    let schema = Schema::new(options.schema, catalogue, speaker.service, speaker.version);
    let sinks = open_sinks(&options, &schema, registry)?;
    let lines = builtin::LOG_LINES.prefixed(registry.prefix());
    let dropped = builtin::LOG_DROPPED.prefixed(registry.prefix());
    let counters = |spec: &crate::metrics::MetricSpec| {
        std::array::from_fn(|i| registry.counter(spec, &[builtin::LEVELS[i]]))
    };
    let ids = context::NAMES.map(|name| Slot::new(name, &schema, &scrubber));
    let shared = Arc::new(Shared {
        id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        queue: Queue::new(options.queue_bytes),
        levels: options.levels.into(),
        loggers: own_loggers(&speaker.prefix, options.loggers),
        scrubber,
        schema,
        plans: Plans::default(),
        ids,
        lines: counters(&lines),
        dropped: counters(&dropped),
    });
    let logger = format!("{}.telemetry", speaker.prefix);
    Writer { shared: Arc::clone(&shared), sinks, logger }.spawn()?;
    let layer = JsonLayer { shared: Arc::clone(&shared) };
    let subscriber = tracing_subscriber::registry().with(layer);
    Ok((LogHandle { shared }, Dispatch::new(subscriber)))
}

/// 0 is nobody's.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

fn open_sinks(
    options: &LogOptions,
    schema: &Schema,
    registry: &Registry,
) -> Result<Vec<Sink>, TelemetryError> {
    let errors = builtin::LOG_WRITE_ERRORS.prefixed(registry.prefix());
    let unwritten = builtin::LOG_UNWRITTEN.prefixed(registry.prefix());
    let sink = |name, out| {
        let counter = |spec| registry.counter(spec, &[name]);
        Sink::new(name, out, counter(&errors), counter(&unwritten))
    };
    let mut sinks = Vec::new();
    if options.stdout {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let coloured = !no_colour && std::io::stdout().is_terminal();
        let pretty = (options.format == LogFormat::Pretty).then(|| Pretty::new(schema, coloured));
        let stdout = Stdout::new(pretty)
            .map_err(|source| TelemetryError::System { what: "standard output", source })?;
        sinks.push(sink("stdout", Out::Stdout(stdout)));
    }
    if let Some(file) = &options.file {
        let file = file::RotatedFile::open(file.clone()).map_err(unopened)?;
        sinks.push(sink("file", Out::File(file)));
    }
    Ok(sinks)
}

/// The loggers of this crate's own lines, unless the service maps them itself.
fn own_loggers(prefix: &str, mut given: Vec<(String, String)>) -> Vec<(String, String)> {
    let root = module_path!().split("::").next().unwrap_or("");
    for (module, logger) in [("", "telemetry"), ("::http", "access"), ("::health", "health")] {
        let target = format!("{root}{module}");
        if !given.iter().any(|(held, _)| *held == target) {
            given.push((target, format!("{prefix}.{logger}")));
        }
    }
    given
}

fn unopened(error: std::io::Error) -> TelemetryError {
    TelemetryError::LogFile(error.to_string())
}

/// Makes a panic one error line, flushed before the thread goes on dying.
pub(crate) fn install_panic_hook(handle: &LogHandle, logger: &str) {
    let handle = handle.clone();
    let logger = logger.to_owned();
    std::panic::set_hook(Box::new(move |panic| {
        writer::write_panic(&handle.shared, &logger, panic);
        handle.flush(Duration::from_secs(1));
    }));
}
