//! Counting and observing through a handle that the caller holds.

use std::hint::black_box;
use std::time::SystemTime;

use anyhow::Result;
use microdiff_telemetry::metrics::{LabelSpec, MetricSpec, Moment, Registry};
use microdiff_telemetry::traces::TraceId;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::histogram::Histogram;

use crate::python;
use crate::timing::{Case, compare, table};

/// The upper bounds of the contract's duration histograms.
pub const BOUNDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 20.0, 40.0, 80.0, 160.0,
];
const COUNTER: MetricSpec =
    MetricSpec::counter("bench_events_total", "Events.").labels(&[LabelSpec::open("kind")]);
const HISTOGRAM: MetricSpec = MetricSpec::histogram("bench_duration", "Durations.", BOUNDS)
    .labels(&[LabelSpec::open("kind")]);
const TIMES: u64 = 2_000_000;

/// Durations from a tenth of a millisecond to a few seconds, as a service sees them.
fn value(i: u64) -> f64 {
    let step = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as f64;
    0.0001 * 1.01_f64.powi((step as i32) % 1024)
}

pub fn run() -> Result<String> {
    let values: &'static [f64] = (0..1024).map(value).collect::<Vec<_>>().leak();
    let counters = counters()?;
    let histograms = histograms(values)?;
    let python = python::figures()?;
    let mut out = String::new();
    for (title, cases, key) in [
        ("Counter through a held handle, ns", &counters, "counter_ns"),
        ("Histogram of 20 bounds through a held handle, ns", &histograms, "histogram_ns"),
    ] {
        let one = compare(cases, 1, || ());
        let two = compare(cases, 2, || ());
        let mut rows: Vec<_> = cases
            .iter()
            .zip(one.iter().zip(two))
            .map(|(case, (one, two))| (case.name.to_owned(), vec![*one, two]))
            .collect();
        rows.push(("Python `prometheus_client`".to_owned(), vec![python.get(key), f64::NAN]));
        out += &table(title, &["one thread", "each of two"], &rows);
        out += "\n";
    }
    Ok(out)
}

fn counters() -> Result<Vec<Case>> {
    let registry = Registry::new("bench", &[COUNTER])?;
    let own = registry.counter(&COUNTER, &["a"]);
    let client = Counter::<u64>::default();
    let vector =
        prometheus::IntCounterVec::new(prometheus::Opts::new("events", "Events."), &["kind"])?;
    let classic = vector.with_label_values(&["a"]);
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let facade =
        metrics::with_local_recorder(&recorder, || metrics::counter!("events", "kind" => "a"));
    Ok(vec![
        Case::new("this crate", TIMES, move |n| {
            let own = black_box(&own);
            (0..n).for_each(|_| own.inc());
        }),
        Case::new("`prometheus-client`", TIMES, move |n| {
            (0..n).for_each(|_| {
                black_box(&client).inc();
            });
        }),
        Case::new("`prometheus`", TIMES, move |n| (0..n).for_each(|_| black_box(&classic).inc())),
        Case::new("`metrics` + exporter", TIMES, move |n| {
            (0..n).for_each(|_| black_box(&facade).increment(1));
        }),
    ])
}

fn histograms(values: &'static [f64]) -> Result<Vec<Case>> {
    let registry = Registry::new("bench", &[HISTOGRAM])?;
    let traced = registry.histogram(&HISTOGRAM, &["a"]);
    let plain = registry.histogram(&HISTOGRAM, &["b"]);
    let trace = TraceId::random();
    let client = Histogram::new(BOUNDS.iter().copied());
    let exemplars = HistogramWithExemplars::<Vec<(String, String)>>::new(BOUNDS.iter().copied());
    let label = vec![("trace_id".to_owned(), trace.to_string())];
    let options = prometheus::HistogramOpts::new("duration", "Durations.").buckets(BOUNDS.to_vec());
    let classic = prometheus::Histogram::with_opts(options)?;
    let recorder =
        metrics_exporter_prometheus::PrometheusBuilder::new().set_buckets(BOUNDS)?.build_recorder();
    let facade = metrics::with_local_recorder(&recorder, || metrics::histogram!("duration"));
    let at = move |i: u64| values[(i & 1023) as usize];
    Ok(vec![
        Case::new("this crate, with exemplar", TIMES, move |n| {
            let now = Moment::from(SystemTime::now());
            (0..n).for_each(|i| black_box(&traced).observe_traced(at(i), trace, now));
        }),
        Case::new("this crate", TIMES, move |n| {
            (0..n).for_each(|i| black_box(&plain).observe(at(i)));
        }),
        Case::new("`prometheus-client`, with exemplar", TIMES / 4, move |n| {
            let now = Some(SystemTime::now());
            (0..n).for_each(|i| black_box(&exemplars).observe(at(i), Some(label.clone()), now));
        }),
        Case::new("`prometheus-client`", TIMES, move |n| {
            (0..n).for_each(|i| black_box(&client).observe(at(i)));
        }),
        Case::new("`prometheus`", TIMES, move |n| {
            (0..n).for_each(|i| black_box(&classic).observe(at(i)));
        }),
        // The exporter keeps each sample until it is rendered, so it gets fewer.
        Case::new("`metrics` + exporter", TIMES / 20, move |n| {
            (0..n).for_each(|i| black_box(&facade).record(at(i)));
        }),
    ])
}
