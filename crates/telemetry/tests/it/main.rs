//! The crate as a service meets it.
#![cfg(test)]

mod audit;
mod collector;
mod collector_faults;
mod gpu;
mod health;
mod http;
mod logs;
mod metrics;
#[path = "../stub_nvml/mod.rs"]
mod stub_nvml;
mod traces;

use std::path::Path;
use std::time::Duration;

use microdiff_telemetry::logs::LogFile;
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

/// Enough for a loaded machine; reached only when something is wrong.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Telemetry that logs into `file` alone.
pub(crate) fn options(file: &Path) -> TelemetryOptions {
    let mut options = TelemetryOptions::new("bakery", "1.2.3", "bakery", METRICS);
    options.logs.stdout = false;
    options.logs.file = Some(LogFile::new(file));
    options
}

/// Ends telemetry and returns its log lines.
pub(crate) fn lines(guard: Guard, file: &Path) -> Vec<Value> {
    assert!(guard.shutdown(LONG));
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The value of the sample whose name and labels are exactly `series`.
pub(crate) fn sample(telemetry: &Telemetry, series: &str) -> Option<f64> {
    let page = telemetry.registry().encode(microdiff_telemetry::metrics::Format::Text);
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}
