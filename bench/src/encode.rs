//! Rendering 10,000 counter series as text.

use std::hint::black_box;

use anyhow::{Result, ensure};
use microdiff_telemetry::metrics::{Format, LabelSpec, MetricSpec, Registry};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::python;
use crate::timing::{Case, compare, table};

const SERIES: usize = 10_000;
const COUNTER: MetricSpec = MetricSpec::counter("bench_events_total", "Events.")
    .labels(&[LabelSpec::open("kind"), LabelSpec::open("place")])
    .max_series(SERIES);

fn place(i: usize) -> String {
    format!("/v1/things/{i}")
}

pub fn run() -> Result<String> {
    let cases = cases()?;
    let mut rows: Vec<_> = cases
        .iter()
        .zip(compare(&cases, 1, || ()))
        .map(|(case, ns)| (case.name.to_owned(), vec![ns / 1e6]))
        .collect();
    let python = python::figures()?.get("encode_ms");
    rows.push(("Python `prometheus_client`".to_owned(), vec![python]));
    Ok(table("10,000 series as text, ms", &["one thread"], &rows) + "\n")
}

fn cases() -> Result<Vec<Case>> {
    let own = Registry::new("bench", &[COUNTER])?;
    let family = Family::<Vec<(String, String)>, Counter>::default();
    let mut client = prometheus_client::registry::Registry::default();
    client.register("events", "Events", family.clone());
    let classic = prometheus::Registry::new();
    let options = prometheus::Opts::new("events", "Events.");
    let vector = prometheus::IntCounterVec::new(options, &["kind", "place"])?;
    classic.register(Box::new(vector.clone()))?;
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    for i in 0..SERIES {
        let amount = 1 + (i as u64).wrapping_mul(7919) % 1_000_000;
        own.counter(&COUNTER, &["a", &place(i)]).add(amount);
        let labels = vec![("kind".to_owned(), "a".to_owned()), ("place".to_owned(), place(i))];
        family.get_or_create(&labels).inc_by(amount);
        vector.with_label_values(&["a", &place(i)]).inc_by(amount);
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("events", "kind" => "a", "place" => place(i)).increment(amount);
        });
    }
    let handle = recorder.handle();
    ensure!(own.encode(Format::Text).len() > SERIES * 20, "the series are missing");
    Ok(vec![
        Case::new("this crate", 20, move |n| {
            (0..n).for_each(|_| drop(black_box(own.encode(Format::Text))));
        }),
        Case::new("`prometheus-client`", 20, move |n| {
            for _ in 0..n {
                let mut page = String::new();
                let _ = encode(&mut page, &client);
                black_box(page);
            }
        }),
        Case::new("`prometheus`", 5, move |n| {
            let encoder = prometheus::TextEncoder::new();
            for _ in 0..n {
                black_box(encoder.encode_to_string(&classic.gather()).unwrap_or_default());
            }
        }),
        Case::new("`metrics` + exporter", 5, move |n| {
            (0..n).for_each(|_| drop(black_box(handle.render())));
        }),
    ])
}
