//! The table of metrics, held against what the service really shows.

use crate::engine::bundled;
use crate::server::{PATIENCE, Server, form, read, scan, start_with};
use microdiff_server::catalogue::{METRICS, PREFIX};
use microdiff_telemetry::builtin;
use microdiff_telemetry::metrics::{MetricKind, MetricSpec};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Rows that a service without faults, GPU and collector leaves at zero or absent, by the test that
/// sees them move.
const ELSEWHERE: &[(&str, &[&str])] = &[
    (
        "server: faults",
        &[
            "microdiff_jobs_requeued_total",
            "microdiff_queue_rejections_total",
            "microdiff_queue_depth",
            "microdiff_model_canary_deviation",
        ],
    ),
    (
        "server: observability",
        &[
            "microdiff_out_of_distribution_total",
            "microdiff_posterior_predictive_flagged_total",
            "microdiff_flight_evictions_total",
        ],
    ),
    ("server: quality", &["microdiff_descriptor_drift"]),
    ("telemetry: slo", &["microdiff_slo_burn_rate"]),
    ("telemetry: health", &["microdiff_health_runtime_stalls_total"]),
    (
        "telemetry: log_sinks",
        &[
            "microdiff_telemetry_log_lines_dropped_total",
            "microdiff_telemetry_log_write_errors_total",
            "microdiff_telemetry_log_lines_unwritten_total",
        ],
    ),
    (
        "telemetry: traces, collector_faults",
        &[
            "microdiff_telemetry_spans_total",
            "microdiff_telemetry_span_exports_total",
            "microdiff_telemetry_collector_up",
            "microdiff_telemetry_collector_changes_total",
        ],
    ),
    // Tasks wait there for microseconds: no test can time a scrape to it.
    ("none", &["microdiff_tokio_global_queue_depth"]),
    (
        "telemetry: gpu",
        &[
            "microdiff_gpu_devices",
            "microdiff_gpu_up",
            "microdiff_gpu_poll_failures_total",
            "microdiff_gpu_devices_lost_total",
            "microdiff_gpu_memory_usage_bytes",
            "microdiff_gpu_memory_total_bytes",
            "microdiff_gpu_memory_free_bytes",
            "microdiff_gpu_utilization_ratio",
            "microdiff_gpu_temperature_celsius",
            "microdiff_gpu_power_watts",
            "microdiff_gpu_energy_joules_total",
            "microdiff_gpu_ecc_errors_total",
            "microdiff_gpu_xid_errors_total",
            "microdiff_gpu_last_xid",
        ],
    ),
    (
        "telemetry: metrics",
        &["microdiff_telemetry_series_overflow_total", "microdiff_telemetry_series_refused_total"],
    ),
];

/// Every row that a page of this service may have.
fn declared() -> Vec<MetricSpec> {
    let own = METRICS.iter().cloned();
    own.chain(builtin::specs(PREFIX))
        .chain(builtin::gpu_specs(PREFIX))
        .chain(builtin::registry_specs(PREFIX))
        .collect()
}

/// The row that a sample belongs to, by its name and the names of its labels.
fn row_of<'a>(rows: &'a [MetricSpec], sample: &str) -> Option<&'a MetricSpec> {
    let (series, _) = sample.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let row = rows.iter().find(|row| match row.kind {
        MetricKind::Histogram => name
            .strip_prefix(row.name.as_ref())
            .is_some_and(|part| ["_bucket", "_sum", "_count"].contains(&part)),
        _ => name == row.name,
    })?;
    // No label value of this service holds a quote.
    let labels = labels.trim_end_matches('}').split('"').step_by(2);
    let names = labels.filter_map(|name| name.trim_start_matches(',').strip_suffix('='));
    let own: BTreeSet<&str> = row.labels.iter().map(|label| label.name).collect();
    let bucket = name.ends_with("_bucket").then_some("le");
    let wanted: BTreeSet<&str> = own.into_iter().chain(bucket).collect();
    (names.collect::<BTreeSet<_>>() == wanted).then_some(row)
}

/// Names of the rows of which some series is neither zero nor absent.
async fn moved(server: &Server, rows: &[MetricSpec]) -> BTreeSet<String> {
    let pages = server.metrics().await + &server.gpu_metrics().await;
    let samples = pages.lines().filter(|line| !line.starts_with('#'));
    let mut found = BTreeSet::new();
    for sample in samples {
        let row = row_of(rows, sample).unwrap_or_else(|| panic!("not in the catalogue: {sample}"));
        if !sample.ends_with(" 0") {
            found.insert(row.name.to_string());
        }
    }
    found
}

#[tokio::test]
async fn every_declared_metric_moves_and_every_shown_one_is_declared() {
    let rows = declared();
    let elsewhere: BTreeSet<&str> =
        ELSEWHERE.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    for name in &elsewhere {
        assert!(rows.iter().any(|row| row.name == *name), "{name} is no row");
    }
    let server = start_with(bundled(), Arc::new(TempDir::new().unwrap()), |config| {
        config.quality.evaluate = true;
        config.quality.every_seconds = 0;
    })
    .await;
    let (status, job) = read(server.post("?wait=60", form(scan())).await).await;
    assert_eq!(status, 200, "{job}");
    let (status, job) = read(server.post("?wait=60", form(vec![1])).await).await;
    assert_eq!(status, 422, "{job}");
    let mut unmoved: Vec<&str> = Vec::new();
    let all = async {
        loop {
            // Leaves a connection open.
            assert_eq!(server.get("/health").await.0, 200);
            let moved = moved(&server, &rows).await;
            let known = |name: &&str| elsewhere.contains(name) || moved.contains(*name);
            unmoved = rows.iter().map(|row| row.name.as_ref()).filter(|n| !known(n)).collect();
            if unmoved.is_empty() {
                return;
            }
            // The evaluation has the lowest priority; polling must leave it a core.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let all = tokio::time::timeout(10 * PATIENCE, all).await;
    assert!(all.is_ok(), "declared, and never seen to move: {unmoved:?}");
    server.drain().await;
}
