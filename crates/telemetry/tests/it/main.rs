//! The crate as a service meets it.
#![cfg(test)]

mod allocations;
mod audit;
mod collector;
mod collector_faults;
mod flight;
mod gpu;
mod health;
mod http;
mod log_sinks;
mod logs;
#[path = "../metric_family/mod.rs"]
mod metric_family;
mod metrics;
mod protobuf;
mod slo;
mod traces;

use std::path::Path;
use std::time::Duration;

use microdiff_telemetry::logs::{LogCatalogue, LogField, LogFile, LogSchema};
use microdiff_telemetry::metrics::{LabelSpec, MetricSpec, Unit};
use microdiff_telemetry::{Guard, Telemetry, TelemetryOptions};
use serde_json::Value;

pub(crate) const CAKES: MetricSpec = MetricSpec::counter("bakery_cakes_total", "Cakes \"baked\".")
    .labels(&[LabelSpec::closed("size", &["small", "large", "other"])]);
pub(crate) const HEAT: MetricSpec = MetricSpec::gauge("bakery_heat_celsius", "Heat of an oven.")
    .unit(Unit::Celsius)
    .labels(&[LabelSpec::open("oven")])
    .max_series(2);
pub(crate) const BAKING: MetricSpec =
    MetricSpec::histogram("bakery_baking_seconds", "Time in the oven.", &[0.5, 1.0, 10.0])
        .unit(Unit::Seconds);
pub(crate) static METRICS: &[MetricSpec] = &[CAKES, HEAT, BAKING];

/// The fields of the bakery's own lines.
pub(crate) static LOG_FIELDS: &[LogField] = &[
    LogField::integer("size", "Size of a cake."),
    LogField::boolean("alive", "Whether the yeast is."),
    LogField::text("password", "Never shown."),
    LogField::text("text", "Anything."),
    LogField::text("fields.level", "A field by the name of one of the line's own."),
    LogField::number("heat", "Heat of the oven.").unit("°C"),
];

/// Enough for a loaded machine; reached only when something is wrong.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Telemetry that logs into `file` alone.
pub(crate) fn options(file: &Path) -> TelemetryOptions {
    let mut options = TelemetryOptions::new("bakery", "1.2.3", "bakery", METRICS);
    options.logs.fields = LOG_FIELDS;
    options.logs.stdout = false;
    options.logs.file = Some(LogFile::new(file));
    options
}

/// Ends telemetry and returns its log lines, each of which has declared fields only.
pub(crate) fn lines(guard: Guard, file: &Path) -> Vec<Value> {
    lines_of(guard, file, LogSchema::Native)
}

/// [`lines`], in another schema.
pub(crate) fn lines_of(guard: Guard, file: &Path, schema: LogSchema) -> Vec<Value> {
    assert!(guard.shutdown(LONG));
    read_lines(&std::fs::read_to_string(file).unwrap(), schema)
}

/// Checks and parses lines.
pub(crate) fn read_lines(text: &str, schema: LogSchema) -> Vec<Value> {
    let catalogue = LogCatalogue::new("bakery", LOG_FIELDS).unwrap();
    let read = |line: &str| {
        catalogue.check(schema, line).unwrap_or_else(|wrong| panic!("{wrong}"));
        serde_json::from_str(line).unwrap()
    };
    text.lines().map(read).collect()
}

/// The value of the sample whose name and labels are exactly `series`.
pub(crate) fn sample(telemetry: &Telemetry, series: &str) -> Option<f64> {
    let page = telemetry.registry().text();
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}
