//! The catalogue rows of this crate itself, without the service's prefix.
//!
//! A service's documentation and rule checks read them through [`specs`]; process metrics keep
//! their standard names and take no prefix.

use crate::metrics::{DURATION_BUCKETS, LabelSpec, MetricSpec, Unit};

/// Methods that requests are counted under; any other is `other`.
pub const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "other"];

/// How a request ended. `error` is a status of 500 or above, a deadline, or a client that left.
pub const OUTCOMES: &[&str] = &["success", "error"];

/// The error types of this crate itself; a service adds its own.
pub const ERROR_TYPES: &[&str] = &["cancelled", "body", "timeout", "panic", "internal", "service"];

/// Status codes whose series exist from the start; another is added when it is first answered.
pub const STATUS_CODES: &[u16] = &[200, 400, 404, 405, 408, 413, 429, 499, 500, 503, 504];

const METHOD: LabelSpec = LabelSpec::closed("method", METHODS);
const ENDPOINT: LabelSpec = LabelSpec::open("endpoint");

pub(crate) const REQUESTS: MetricSpec =
    MetricSpec::counter("requests_total", "Requests by matched route and outcome.").labels(&[
        METHOD,
        ENDPOINT,
        LabelSpec::closed("status", OUTCOMES),
    ]);
pub(crate) const REQUEST_DURATION: MetricSpec = MetricSpec::histogram(
    "request_duration_seconds",
    "Time from the first byte of the request to the end of the answer's body.",
    DURATION_BUCKETS,
)
.unit(Unit::Seconds)
.labels(&[METHOD, ENDPOINT]);
pub(crate) const RESPONSES: MetricSpec =
    MetricSpec::counter("responses_total", "Answers by status code; 499 is a client that left.")
        .labels(&[LabelSpec::open("status_code")])
        .max_series(64);
pub(crate) const REQUEST_ERRORS: MetricSpec =
    MetricSpec::counter("request_errors_total", "Requests that ended in an error, by its type.")
        .labels(&[LabelSpec::open("error_type")])
        .max_series(64);
pub(crate) const IN_FLIGHT: MetricSpec =
    MetricSpec::gauge("requests_in_flight", "Requests being answered now.");
pub(crate) const CONNECTIONS: MetricSpec =
    MetricSpec::gauge("active_connections", "Client connections open now.");

pub(crate) const HEALTH_STATUS: MetricSpec = MetricSpec::gauge(
    "health_check_status",
    "Last result of a health check: 1 ok, 0.5 degraded, 0 failed.",
)
.labels(&[LabelSpec::open("check")])
.max_series(64);
pub(crate) const HEALTH_DURATION: MetricSpec = MetricSpec::gauge(
    "health_check_duration_seconds",
    "How long the last run of a health check took.",
)
.unit(Unit::Seconds)
.labels(&[LabelSpec::open("check")])
.max_series(64);
pub(crate) const HEALTH_LAST_SUCCESS: MetricSpec = MetricSpec::gauge(
    "health_check_last_success_timestamp_seconds",
    "When a health check last succeeded, in seconds since 1970.",
)
.unit(Unit::Seconds)
.labels(&[LabelSpec::open("check")])
.max_series(64);
pub(crate) const HEALTH_RUNS: MetricSpec =
    MetricSpec::counter("health_check_runs_total", "Runs of a health check by result.")
        .labels(&[
            LabelSpec::open("check"),
            LabelSpec::closed("result", &["ok", "degraded", "failed", "deadline"]),
        ])
        .max_series(256);
pub(crate) const HEALTH_STALLS: MetricSpec = MetricSpec::counter(
    "health_runtime_stalls_total",
    "Times that the runtime stood still for longer than liveness allows.",
);

const OBJECTIVE: LabelSpec = LabelSpec::closed("objective", &["availability", "latency", "other"]);

pub(crate) const SLO_RATIO: MetricSpec = MetricSpec::gauge(
    "slo_objective_ratio",
    "Share of good events in the objective's window; absent without events.",
)
.unit(Unit::Ratio)
.labels(&[OBJECTIVE])
.absent_until_set();
pub(crate) const SLO_BUDGET: MetricSpec = MetricSpec::gauge(
    "slo_error_budget_remaining_ratio",
    "Share of the objective's error budget that is left: 1 untouched, 0 spent, below 0 overspent.",
)
.unit(Unit::Ratio)
.labels(&[OBJECTIVE])
.absent_until_set();
pub(crate) const SLO_BURN: MetricSpec = MetricSpec::gauge(
    "slo_burn_rate",
    "How fast the objective's error budget is spent: 1 spends it exactly in its window.",
)
.labels(&[OBJECTIVE, LabelSpec::closed("window", &["5m", "30m", "1h", "6h", "3d"])])
.absent_until_set();

pub(crate) const BUILD_INFO: MetricSpec =
    MetricSpec::gauge("build_info", "Always 1; the labels say what is running.")
        .labels(&[LabelSpec::open("service"), LabelSpec::open("version")])
        .max_series(2);
pub(crate) const LOG_LINES: MetricSpec =
    MetricSpec::counter("telemetry_log_lines_total", "Log lines accepted, by level.")
        .labels(&[LabelSpec::closed("level", LEVELS)]);
pub(crate) const LOG_DROPPED: MetricSpec = MetricSpec::counter(
    "telemetry_log_lines_dropped_total",
    "Log lines lost because the writer could not keep up, by level.",
)
.labels(&[LabelSpec::closed("level", LEVELS)]);
pub(crate) const LOG_WRITE_ERRORS: MetricSpec = MetricSpec::counter(
    "telemetry_log_write_errors_total",
    "Failed writes to a log sink, by sink.",
)
.labels(&[LabelSpec::closed("sink", SINKS)]);
pub(crate) const LOG_UNWRITTEN: MetricSpec = MetricSpec::counter(
    "telemetry_log_lines_unwritten_total",
    "Log lines that a failing sink did not take, by sink; another sink may have them.",
)
.labels(&[LabelSpec::closed("sink", SINKS)]);
pub(crate) const SPANS: MetricSpec = MetricSpec::counter(
    "telemetry_spans_total",
    "Spans by what became of them: exported; dropped because the queue was full; refused or lost by \
     the collector (failed); forgotten before it was known whether their work is kept (unheld).",
)
.labels(&[LabelSpec::closed("result", &["exported", "dropped", "failed", "unheld"])]);
pub(crate) const SPAN_EXPORTS: MetricSpec =
    MetricSpec::counter("telemetry_span_exports_total", "Batches sent to the collector by result.")
        .labels(&[LabelSpec::closed("result", &["ok", "failed"])]);
pub(crate) const COLLECTOR_UP: MetricSpec = MetricSpec::gauge(
    "telemetry_collector_up",
    "Whether the collector took the last batch of spans; absent before the first.",
)
.absent_until_set();
pub(crate) const COLLECTOR_CHANGES: MetricSpec = MetricSpec::counter(
    "telemetry_collector_changes_total",
    "Times that spans began to be lost (down) and reached the collector again (up).",
)
.labels(&[LabelSpec::closed("to", &["down", "up"])]);

/// Where log lines go.
pub const SINKS: &[&str] = &["stdout", "file"];
pub(crate) const AUDIT_RECORDS: MetricSpec = MetricSpec::counter(
    "audit_records_total",
    "Audit records by what became of them: written, refused to somebody who waited for it, lost \
     after all attempts.",
)
.labels(&[LabelSpec::closed("result", &["written", "failed", "lost"])]);
pub(crate) const AUDIT_LAST_WRITE: MetricSpec = MetricSpec::gauge(
    "audit_last_write_timestamp_seconds",
    "When audit records were last synced to the disk, in seconds since 1970.",
)
.unit(Unit::Seconds)
.absent_until_set();

/// The levels of log lines.
pub const LEVELS: &[&str] = &["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

pub(crate) const SERIES: MetricSpec =
    MetricSpec::gauge("telemetry_series", "Series on this listener.");
pub(crate) const SERIES_OVERFLOW: MetricSpec = MetricSpec::counter(
    "telemetry_series_overflow_total",
    "Requests for a series beyond a metric's cap, answered with `_overflow`.",
)
.labels(&[LabelSpec::open("metric")])
.observed();
pub(crate) const SERIES_REFUSED: MetricSpec = MetricSpec::counter(
    "telemetry_series_refused_total",
    "Requests for a series that the catalogue does not allow; a programming error.",
)
.observed();

pub(crate) const CPU_SECONDS: MetricSpec = MetricSpec::counter(
    "process_cpu_seconds_total",
    "Total user and system CPU time spent in seconds.",
)
.unit(Unit::Seconds)
.observed();
pub(crate) const RESIDENT: MetricSpec =
    MetricSpec::gauge("process_resident_memory_bytes", "Resident memory size in bytes.")
        .unit(Unit::Bytes)
        .absent_until_set();
pub(crate) const VIRTUAL: MetricSpec =
    MetricSpec::gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")
        .unit(Unit::Bytes)
        .absent_until_set();
pub(crate) const OPEN_FDS: MetricSpec =
    MetricSpec::gauge("process_open_fds", "Number of open file descriptors.").absent_until_set();
pub(crate) const MAX_FDS: MetricSpec =
    MetricSpec::gauge("process_max_fds", "Maximum number of open file descriptors.")
        .absent_until_set();
pub(crate) const THREADS: MetricSpec =
    MetricSpec::gauge("process_threads", "Number of operating system threads.").absent_until_set();
pub(crate) const START_TIME: MetricSpec = MetricSpec::gauge(
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
)
.unit(Unit::Seconds)
.absent_until_set();

pub(crate) const TOKIO_WORKERS: MetricSpec =
    MetricSpec::gauge("tokio_workers", "Worker threads of the runtime that answers requests.")
        .absent_until_set();
pub(crate) const TOKIO_TASKS: MetricSpec =
    MetricSpec::gauge("tokio_alive_tasks", "Tasks of the runtime that are not over.")
        .absent_until_set();
pub(crate) const TOKIO_QUEUE: MetricSpec = MetricSpec::gauge(
    "tokio_global_queue_depth",
    "Tasks that wait in the queue all workers share.",
)
.absent_until_set();
pub(crate) const TOKIO_BUSY: MetricSpec = MetricSpec::counter(
    "tokio_busy_seconds_total",
    "Time the workers were not parked, all together.",
)
.unit(Unit::Seconds)
.observed();
pub(crate) const TOKIO_PARKS: MetricSpec =
    MetricSpec::counter("tokio_parks_total", "Times a worker found nothing to do and slept.")
        .observed();

const DEVICE: &[LabelSpec] = &[LabelSpec::open("device")];

pub(crate) const GPU_DEVICES: MetricSpec =
    MetricSpec::gauge("gpu_devices", "GPUs that answered the last poll; 0 without a driver.");
pub(crate) const GPU_UP: MetricSpec =
    MetricSpec::gauge("gpu_up", "Whether the driver answered the last poll.");
pub(crate) const GPU_LAST_POLL: MetricSpec = MetricSpec::gauge(
    "gpu_last_poll_timestamp_seconds",
    "When the GPUs were last asked, in seconds since 1970.",
)
.unit(Unit::Seconds)
.absent_until_set();
pub(crate) const GPU_POLL_DURATION: MetricSpec =
    MetricSpec::gauge("gpu_poll_duration_seconds", "How long the last poll of the GPUs took.")
        .unit(Unit::Seconds)
        .absent_until_set();
pub(crate) const GPU_POLL_FAILURES: MetricSpec = MetricSpec::counter(
    "gpu_poll_failures_total",
    "Polls in which a driver or device that should answer did not; none where there is no driver.",
);
pub(crate) const GPU_LOST: MetricSpec = MetricSpec::counter(
    "gpu_devices_lost_total",
    "Times that a GPU which had answered no longer did.",
);
pub(crate) const GPU_MEMORY_USED: MetricSpec =
    MetricSpec::gauge("gpu_memory_usage_bytes", "Device memory in use, by all processes.")
        .unit(Unit::Bytes)
        .labels(DEVICE)
        .absent_until_set()
        .max_series(64);
pub(crate) const GPU_MEMORY_TOTAL: MetricSpec =
    MetricSpec::gauge("gpu_memory_total_bytes", "Device memory there is.")
        .unit(Unit::Bytes)
        .labels(DEVICE)
        .absent_until_set()
        .max_series(64);
pub(crate) const GPU_MEMORY_FREE: MetricSpec =
    MetricSpec::gauge("gpu_memory_free_bytes", "Device memory that can be had.")
        .unit(Unit::Bytes)
        .labels(DEVICE)
        .absent_until_set()
        .max_series(64);
pub(crate) const GPU_UTILISATION: MetricSpec =
    MetricSpec::gauge("gpu_utilization_ratio", "Share of time in which the device was busy.")
        .unit(Unit::Ratio)
        .labels(DEVICE)
        .absent_until_set()
        .max_series(64);
pub(crate) const GPU_TEMPERATURE: MetricSpec =
    MetricSpec::gauge("gpu_temperature_celsius", "Temperature of the device.")
        .unit(Unit::Celsius)
        .labels(DEVICE)
        .absent_until_set()
        .max_series(64);
pub(crate) const GPU_POWER: MetricSpec =
    MetricSpec::gauge("gpu_power_watts", "Power the device draws.")
        .unit(Unit::Watts)
        .labels(DEVICE)
        .absent_until_set()
        .max_series(64);
pub(crate) const GPU_ENERGY: MetricSpec = MetricSpec::counter(
    "gpu_energy_joules_total",
    "Energy the device has used since its driver was loaded.",
)
.unit(Unit::Joules)
.labels(DEVICE)
.observed()
.absent_until_set()
.max_series(64);
pub(crate) const GPU_ECC: MetricSpec = MetricSpec::counter(
    "gpu_ecc_errors_total",
    "Memory errors in the life of the device, as it counts them itself.",
)
.labels(&[LabelSpec::open("device"), LabelSpec::closed("error", &["corrected", "uncorrected"])])
.observed()
.absent_until_set()
.max_series(128);
pub(crate) const GPU_XID: MetricSpec = MetricSpec::counter(
    "gpu_xid_errors_total",
    "Critical errors that the driver reported while this process listened, by NVIDIA's XID code.",
)
.labels(&[LabelSpec::open("device"), LabelSpec::closed("xid", XIDS)])
.max_series(2048);
pub(crate) const GPU_LAST_XID: MetricSpec =
    MetricSpec::gauge("gpu_last_xid", "XID code of the device's last critical error.")
        .labels(DEVICE)
        .absent_until_set()
        .max_series(64);

/// XID codes counted by their own: those that NVIDIA's catalogue of XID errors tells an operator
/// to act on, and the faults of programs that are seen most.
pub const XIDS: &[&str] = &[
    "13", "31", "32", "38", "43", "45", "48", "61", "62", "63", "64", "68", "69", "74", "79", "92",
    "94", "95", "109", "110", "119", "120", "121", "140", "other",
];

const GPU: &[MetricSpec] = &[
    GPU_DEVICES,
    GPU_UP,
    GPU_LAST_POLL,
    GPU_POLL_DURATION,
    GPU_POLL_FAILURES,
    GPU_LOST,
    GPU_MEMORY_USED,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_FREE,
    GPU_UTILISATION,
    GPU_TEMPERATURE,
    GPU_POWER,
    GPU_ENERGY,
    GPU_ECC,
    GPU_XID,
    GPU_LAST_XID,
];

/// The rows of the registry of [`crate::gpu::GpuMonitor`], under `prefix`.
#[must_use]
pub fn gpu_specs(prefix: &str) -> Vec<MetricSpec> {
    GPU.iter().map(|spec| spec.clone().prefixed(prefix)).collect()
}

pub(crate) const REGISTRY: &[MetricSpec] = &[SERIES, SERIES_OVERFLOW, SERIES_REFUSED];

const APPLICATION: &[MetricSpec] = &[
    REQUESTS,
    REQUEST_DURATION,
    RESPONSES,
    REQUEST_ERRORS,
    IN_FLIGHT,
    CONNECTIONS,
    HEALTH_STATUS,
    HEALTH_DURATION,
    HEALTH_LAST_SUCCESS,
    HEALTH_RUNS,
    HEALTH_STALLS,
    SLO_RATIO,
    SLO_BUDGET,
    SLO_BURN,
    BUILD_INFO,
    LOG_LINES,
    LOG_DROPPED,
    LOG_WRITE_ERRORS,
    LOG_UNWRITTEN,
    SPANS,
    SPAN_EXPORTS,
    COLLECTOR_UP,
    COLLECTOR_CHANGES,
    TOKIO_WORKERS,
    TOKIO_TASKS,
    TOKIO_QUEUE,
    TOKIO_BUSY,
    TOKIO_PARKS,
    AUDIT_RECORDS,
    AUDIT_LAST_WRITE,
];

const PROCESS: &[MetricSpec] =
    &[CPU_SECONDS, RESIDENT, VIRTUAL, OPEN_FDS, MAX_FDS, THREADS, START_TIME];

/// The rows that every [`crate::metrics::Registry`] adds about itself, under `prefix`.
#[must_use]
pub fn registry_specs(prefix: &str) -> Vec<MetricSpec> {
    REGISTRY.iter().map(|spec| spec.clone().prefixed(prefix)).collect()
}

/// The rows that [`crate::Telemetry::start`] adds to a service's own, under `prefix`, beside those
/// of [`registry_specs`].
#[must_use]
pub fn specs(prefix: &str) -> Vec<MetricSpec> {
    APPLICATION
        .iter()
        .map(|spec| spec.clone().prefixed(prefix))
        .chain(PROCESS.iter().cloned())
        .collect()
}
