//! The registry and its pages.

use std::time::{Duration, UNIX_EPOCH};

use microdiff_telemetry::metrics::{Format, MetricSpec, Registry};
use microdiff_telemetry::traces::TraceId;
use proptest::prelude::*;

use crate::{BAKING, CAKES, HEAT, METRICS};

fn registry() -> Registry {
    Registry::new("bakery", METRICS).unwrap()
}

fn page(registry: &Registry, format: Format) -> String {
    String::from_utf8(registry.encode(format)).unwrap()
}

fn page_of(registry: &Registry, format: Format, name: &str) -> String {
    let page = page(registry, format);
    let lines: Vec<_> = page.lines().filter(|line| line.contains(name)).collect();
    lines.join("\n")
}

#[test]
fn known_series_are_zero_from_the_start() {
    assert_eq!(
        page_of(&registry(), Format::Text, "bakery_cakes"),
        "# TYPE bakery_cakes_total counter\n\
         # HELP bakery_cakes_total Cakes \"baked\".\n\
         bakery_cakes_total{size=\"small\"} 0\n\
         bakery_cakes_total{size=\"large\"} 0\n\
         bakery_cakes_total{size=\"other\"} 0"
    );
}

#[test]
fn a_histogram_with_an_exemplar_reads_as_openmetrics_wants_it() {
    let registry = registry();
    let baking = registry.histogram(&BAKING, &[]);
    let trace = TraceId::parse("0af7651916cd43dd8448eb211c80319c").unwrap();
    baking.observe(0.5);
    baking.observe_traced(0.75, trace, UNIX_EPOCH + Duration::from_micros(1_500_000));
    baking.observe(100.0);
    baking.observe(f64::NAN);
    assert_eq!(
        page_of(&registry, Format::OpenMetrics, "bakery_baking"),
        "# TYPE bakery_baking_seconds histogram\n\
         # UNIT bakery_baking_seconds seconds\n\
         # HELP bakery_baking_seconds Time in the oven.\n\
         bakery_baking_seconds_bucket{le=\"0.5\"} 1\n\
         bakery_baking_seconds_bucket{le=\"1.0\"} 2 \
         # {trace_id=\"0af7651916cd43dd8448eb211c80319c\"} 0.75 1.500000\n\
         bakery_baking_seconds_bucket{le=\"10.0\"} 2\n\
         bakery_baking_seconds_bucket{le=\"+Inf\"} 3\n\
         bakery_baking_seconds_sum 101.25\n\
         bakery_baking_seconds_count 3"
    );
    let page = page(&registry, Format::OpenMetrics);
    assert!(page.ends_with("\n# EOF\n") && page.matches("# EOF").count() == 1);
    assert!(page.contains("# TYPE bakery_cakes counter\n"));
    assert!(page.contains("# HELP bakery_cakes Cakes \\\"baked\\\".\n"));
    assert!(!registry.text().contains("# {"), "text has no exemplars");
}

#[test]
fn what_is_not_in_the_catalogue_cannot_be_emitted() {
    let registry = registry();
    let stranger = MetricSpec::counter("bakery_bread_total", "Bread.");
    assert!(registry.try_counter(&stranger, &[]).is_err());
    assert!(registry.try_counter(&CAKES, &[]).is_err(), "wrong number of labels");
    assert!(registry.try_gauge(&CAKES, &["small"]).is_err(), "wrong kind");
    registry.counter(&stranger, &[]).inc();
    registry.gauge(&CAKES, &["small"]).set(7.0);
    let page = registry.text();
    assert!(!page.contains("bread"));
    assert!(page.contains("bakery_cakes_total{size=\"small\"} 0\n"));
    assert_eq!(registry.refused(), 2);
    assert!(page.contains("bakery_telemetry_series_refused_total 2\n"));
}

#[test]
fn an_unlisted_value_of_a_closed_label_is_other() {
    let registry = registry();
    registry.counter(&CAKES, &["gigantic"]).inc();
    assert_eq!(registry.counter(&CAKES, &["other"]).get(), 1);
    assert_eq!(registry.refused(), 0);
}

#[test]
fn beyond_its_cap_a_metric_overflows_and_says_so() {
    let registry = registry();
    for (oven, heat) in [("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0)] {
        registry.gauge(&HEAT, &[oven]).set(heat);
    }
    registry.gauge(&HEAT, &["a"]).add(10.0);
    let page = registry.text();
    assert!(page.contains("{oven=\"a\"} 11\n") && page.contains("{oven=\"b\"} 2\n"));
    assert!(page.contains("{oven=\"_overflow\"} 4\n") && !page.contains("\"c\""));
    let overflow = "bakery_telemetry_series_overflow_total{metric=\"bakery_heat_celsius\"} 2\n";
    assert!(page.contains(overflow));
}

#[test]
fn a_cleared_gauge_is_absent_and_a_held_one_comes_back() {
    let registry = registry();
    let heat = registry.gauge(&HEAT, &["a"]);
    heat.set(180.0);
    heat.clear();
    assert!(!registry.text().contains("bakery_heat"));
    {
        let _hold = heat.hold();
        assert_eq!(heat.get(), Some(1.0));
    }
    assert_eq!(heat.get(), Some(0.0));
}

#[test]
fn threads_together_lose_nothing_and_a_scrape_never_goes_back() {
    let registry = registry();
    let (counter, histogram) =
        (registry.counter(&CAKES, &["small"]), registry.histogram(&BAKING, &[]));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (counter, histogram) = (counter.clone(), histogram.clone());
            std::thread::spawn(move || {
                for _ in 0..20_000 {
                    counter.inc();
                    histogram.observe(2.0);
                }
            })
        })
        .collect();
    let mut before = 0;
    while threads.iter().any(|thread| !thread.is_finished()) {
        let now = counter.get();
        assert!(now >= before);
        before = now;
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((counter.get(), histogram.count()), (80_000, 80_000));
    let page = registry.text();
    assert!(page.contains("bakery_baking_seconds_sum 160000\n"));
    assert!(page.contains("bakery_baking_seconds_bucket{le=\"1.0\"} 0\n"));
    assert!(page.contains("bakery_baking_seconds_bucket{le=\"10.0\"} 80000\n"));
}

/// Reads one label value back as the text format says.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => out.push(match chars.next().unwrap() {
                'n' => '\n',
                other => other,
            }),
            (c, false) => out.push(c),
        }
    }
    out
}

proptest! {
    #[test]
    fn any_label_value_survives_the_page(value in "\\PC{0,20}[\\\\\"\n]{0,3}[a-z]{0,3}") {
        let registry = registry();
        registry.gauge(&HEAT, &[&value]).set(1.0);
        let page = registry.text();
        let line = page.lines().find(|line| line.starts_with("bakery_heat_celsius{")).unwrap();
        let shown = line.strip_prefix("bakery_heat_celsius{oven=\"").unwrap();
        let shown = shown.strip_suffix("\"} 1").unwrap();
        prop_assert_eq!(unescape(shown), value);
    }

    #[test]
    fn any_number_survives_the_page(value: f64) {
        let registry = registry();
        registry.gauge(&HEAT, &["a"]).set(value);
        let page = registry.text();
        let shown = page.lines().find_map(|l| l.strip_prefix("bakery_heat_celsius{oven=\"a\"} "));
        let back: f64 = shown.unwrap().parse().unwrap();
        prop_assert!(back == value || (back.is_nan() && value.is_nan()));
    }
}
