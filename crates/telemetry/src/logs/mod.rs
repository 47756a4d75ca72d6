//! Logs: from `tracing` events to one JSON object a line.
//!
//! An event becomes a line in the thread that logs, goes into a bounded queue, and is written by a
//! thread of its own to stdout and to a rotated file. Logging never waits: without room the line is
//! dropped, counted, and the loss is reported in the log as soon as there is room again.
//!
//! A line's keys: `timestamp`, `level`, `logger`, `message`, `module`, `function`, `line`, then the
//! event's fields and those of the spans around it (inner ones win), then `service`, `version`.
//! `function`: the event's field of that name; else the innermost span made in the same module
//! (with `#[instrument]` that is the function); else the last segment of the module path, because
//! `tracing` does not know function names. A field `error` is shown as `error.message`.
//!
//! Deliberately absent: a blocking mode, and sinks over the network (a collector reads stdout).

mod file;
mod json;
mod layer;
mod levels;
mod queue;
mod writer;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt as _;

pub use file::LogFile;
use layer::{JsonLayer, Shared};
pub use levels::LogLevels;
use queue::Queue;
use writer::Writer;

use crate::metrics::Registry;
use crate::redaction::Scrubber;
use crate::{TelemetryError, builtin};

/// How a service logs.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// From which level on each logger speaks.
    pub levels: LogLevels,
    /// Whether lines go to stdout.
    pub stdout: bool,
    /// The file that lines go to, if any.
    pub file: Option<LogFile>,
    /// Pairs of a `tracing` target (a crate or module path) and the logger it and its modules are
    /// shown as, such as `("bakery_oven", "bakery.oven")`. The longest match decides.
    pub loggers: Vec<(String, String)>,
    /// Lines waiting for the writer may take this many bytes.
    pub queue_bytes: usize,
    /// Whether a panic is logged as one line instead of being printed on stderr.
    pub log_panics: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            levels: LogLevels::default(),
            stdout: true,
            file: None,
            loggers: Vec::new(),
            queue_bytes: 4 << 20,
            log_panics: true,
        }
    }
}

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
    let mut tail = Vec::new();
    json::push_key(&mut tail, "service");
    json::push_string(&mut tail, speaker.service);
    json::push_key(&mut tail, "version");
    json::push_string(&mut tail, speaker.version);
    tail.extend_from_slice(b"}\n");
    let lines = builtin::LOG_LINES.prefixed(registry.prefix());
    let dropped = builtin::LOG_DROPPED.prefixed(registry.prefix());
    let counters = |spec: &crate::metrics::MetricSpec| {
        std::array::from_fn(|i| registry.counter(spec, &[builtin::LEVELS[i]]))
    };
    let shared = Arc::new(Shared {
        queue: Queue::new(options.queue_bytes),
        levels: options.levels.into(),
        loggers: own_loggers(&speaker.prefix, options.loggers),
        scrubber,
        tail,
        lines: counters(&lines),
        dropped: counters(&dropped),
    });
    let errors = builtin::LOG_WRITE_ERRORS.prefixed(registry.prefix());
    Writer {
        shared: Arc::clone(&shared),
        stdout: options.stdout,
        file: options.file.map(file::RotatedFile::open).transpose().map_err(unopened)?,
        errors: ["stdout", "file"].map(|sink| registry.counter(&errors, &[sink])),
        logger: format!("{}.telemetry", speaker.prefix),
    }
    .spawn()?;
    let layer = JsonLayer { shared: Arc::clone(&shared) };
    let subscriber = tracing_subscriber::registry().with(layer);
    Ok((LogHandle { shared }, Dispatch::new(subscriber)))
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
