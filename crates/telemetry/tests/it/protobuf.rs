//! The protobuf page, read back by another implementation of the encoding.

use std::time::{Duration, UNIX_EPOCH};

use microdiff_telemetry::metrics::{Format, Registry};
use microdiff_telemetry::traces::TraceId;
use proptest::prelude::*;
use prost::Message as _;

use crate::metric_family as model;
use crate::{BAKING, CAKES, HEAT, METRICS};

fn families(registry: &Registry) -> Vec<model::MetricFamily> {
    let page = registry.encode(Format::Protobuf);
    let mut rest = page.as_slice();
    let mut families = Vec::new();
    while !rest.is_empty() {
        families.push(model::MetricFamily::decode_length_delimited(&mut rest).unwrap());
    }
    families
}

fn family(registry: &Registry, name: &str) -> model::MetricFamily {
    families(registry).into_iter().find(|family| family.name == name).unwrap()
}

fn histogram(registry: &Registry) -> model::Histogram {
    let family = family(registry, "bakery_baking_seconds");
    family.metric.into_iter().next().unwrap().histogram.unwrap()
}

/// Each filled bucket as its index and count.
fn native(histogram: &model::Histogram) -> Vec<(i32, i64)> {
    let mut deltas = histogram.positive_delta.iter();
    let (mut index, mut count, mut buckets) = (0, 0, Vec::new());
    for span in &histogram.positive_span {
        index += span.offset;
        for _ in 0..span.length {
            count += deltas.next().unwrap();
            buckets.push((index, count));
            index += 1;
        }
    }
    assert_eq!(deltas.next(), None);
    buckets
}

/// The index by the definition: bucket `i` of schema 3 ends at `2^(i/8)`.
fn index_of(value: f64) -> i32 {
    (value.log2() * 8.0).ceil() as i32
}

#[test]
fn counters_and_gauges_keep_name_help_unit_and_labels() {
    let registry = Registry::new("bakery", METRICS).unwrap();
    registry.counter(&CAKES, &["large"]).add(3);
    registry.gauge(&HEAT, &["a\"b\n"]).set(180.5);
    let cakes = family(&registry, "bakery_cakes_total");
    assert_eq!((cakes.r#type, cakes.help.as_str()), (0, "Cakes \"baked\"."));
    let large = &cakes.metric[1];
    assert_eq!((large.label[0].name.as_str(), large.label[0].value.as_str()), ("size", "large"));
    assert_eq!(large.counter, Some(model::Value { value: 3.0 }));
    let heat = family(&registry, "bakery_heat_celsius");
    assert_eq!((heat.r#type, heat.unit.as_str()), (1, "celsius"));
    assert_eq!(heat.metric[0].label[0].value, "a\"b\n");
    assert_eq!(heat.metric[0].gauge, Some(model::Value { value: 180.5 }));
    registry.gauge(&HEAT, &["a\"b\n"]).clear();
    assert!(families(&registry).iter().all(|family| family.name != "bakery_heat_celsius"));
}

#[test]
fn a_histogram_has_classic_and_native_buckets_and_exemplars() {
    let registry = Registry::new("bakery", METRICS).unwrap();
    let baking = registry.histogram(&BAKING, &[]);
    let trace = TraceId::parse("0af7651916cd43dd8448eb211c80319c").unwrap();
    for value in [0.0, 1.0, 1.01, 1.02, 2.0] {
        baking.observe(value);
    }
    baking.observe_traced(0.75, trace, UNIX_EPOCH + Duration::from_micros(1_500_000));
    let histogram = histogram(&registry);
    assert_eq!(histogram.sample_count, 6);
    assert!((histogram.sample_sum - 5.78).abs() < 1e-9);
    let classic: Vec<_> =
        histogram.bucket.iter().map(|one| (one.upper_bound, one.cumulative_count)).collect();
    assert_eq!(classic, [(0.5, 1), (1.0, 3), (10.0, 6), (f64::INFINITY, 6)]);
    let exemplar = histogram.bucket[1].exemplar.clone().unwrap();
    assert_eq!(exemplar.label[0].name, "trace_id");
    assert_eq!(exemplar.label[0].value, trace.to_string());
    assert_eq!(exemplar.value, 0.75);
    assert_eq!(exemplar.timestamp.unwrap(), model::Timestamp { seconds: 1, nanos: 500_000_000 });
    assert!(histogram.bucket[0].exemplar.is_none());
    assert_eq!((histogram.schema, histogram.zero_count), (3, 1));
    assert!(histogram.zero_threshold > 0.0);
    // 0.75 ends at 2^(-3/8); 1 is a bound itself; 1.01 and 1.02 share the next bucket.
    assert_eq!(native(&histogram), [(-3, 1), (0, 1), (1, 2), (8, 1)]);
}

#[test]
fn an_untouched_histogram_is_still_told_as_a_native_one() {
    let histogram = histogram(&Registry::new("bakery", METRICS).unwrap());
    assert_eq!((histogram.sample_count, histogram.zero_count), (0, 0));
    assert!(histogram.zero_threshold > 0.0 && histogram.positive_span.is_empty());
}

proptest! {
    #[test]
    fn every_observation_is_in_its_native_bucket(
        values in prop::collection::vec(0.1_f64..39.0, 1..60)
    ) {
        let registry = Registry::new("bakery", METRICS).unwrap();
        let baking = registry.histogram(&BAKING, &[]);
        let mut expected = std::collections::BTreeMap::new();
        for value in &values {
            baking.observe(*value);
            *expected.entry(index_of(*value)).or_insert(0_i64) += 1;
        }
        let histogram = histogram(&registry);
        prop_assert_eq!(histogram.sample_count, values.len() as u64);
        prop_assert_eq!(native(&histogram), expected.into_iter().collect::<Vec<_>>());
    }
}
