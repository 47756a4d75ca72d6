//! From series to `io.prometheus.client.MetricFamily` messages, each after its length.
//!
//! The only format that carries native histograms; a histogram here has its classic buckets too,
//! and the exemplars stand in those. Written by hand: seven small messages do not need a generator.
//!
//! Source: `io/prometheus/client/metrics.proto` of prometheus/client_model, whose field numbers
//! the constants repeat; the encoding is that of protobuf.dev, "Encoding".

use std::sync::atomic::Ordering;

use super::histogram::HistogramLayout;
use super::native::Native;
use super::registry::{Family, Series, Storage};
use super::shards::Cells;
use super::spec::{MetricKind, MetricSpec};
use super::totals::{Exemplar, Totals};

/// All families that show something.
pub(super) fn encode(families: &[Family], totals: &Totals<'_>) -> Vec<u8> {
    let mut page = Vec::with_capacity(64 * 1024);
    let (mut message, mut metric) = (Message::default(), Message::default());
    for family in families {
        let state = family.read();
        if state.series.iter().all(Series::shows_nothing) {
            continue;
        }
        message.0.clear();
        header(&mut message, &family.spec);
        for series in state.series.iter().filter(|series| !series.shows_nothing()) {
            metric.0.clear();
            write_metric(&mut metric, &family.spec, series, totals);
            message.bytes(4, &metric.0);
        }
        push_varint(&mut page, message.0.len() as u64);
        page.extend_from_slice(&message.0);
    }
    page
}

/// The `label` fields of a `Metric`.
pub(super) fn label_pairs(spec: &MetricSpec, values: &[String]) -> Vec<u8> {
    let mut labels = Message::default();
    for (label, value) in spec.labels.iter().zip(values) {
        labels.message(1, |pair| {
            pair.bytes(1, label.name.as_bytes());
            pair.bytes(2, value.as_bytes());
        });
    }
    labels.0
}

/// The fields of a `MetricFamily` before its metrics. A counter keeps its `_total`: this format
/// has no rule of its own for names.
fn header(family: &mut Message, spec: &MetricSpec) {
    family.bytes(1, spec.name.as_bytes());
    family.bytes(2, spec.help.as_bytes());
    let kind = match spec.kind {
        MetricKind::Counter => 0,
        MetricKind::Gauge => 1,
        MetricKind::Histogram => 4,
    };
    family.varint(3, kind);
    if !spec.unit.suffix().is_empty() {
        family.bytes(5, spec.unit.suffix().as_bytes());
    }
}

fn write_metric(metric: &mut Message, spec: &MetricSpec, series: &Series, totals: &Totals<'_>) {
    metric.0.extend_from_slice(&series.rendered.labels);
    let value = match &series.storage {
        Storage::Value(bits) => f64::from_bits(bits.load(Ordering::Relaxed)),
        Storage::Count(cells) => totals.get(*cells, 0) as f64,
        Storage::Histogram(cells, layout) => {
            return metric.message(7, |message| write_histogram(message, *cells, layout, totals));
        }
    };
    let field = if spec.kind == MetricKind::Counter { 3 } else { 2 };
    // A gauge cleared since it was looked at shows its marker, which reads as NaN.
    metric.message(field, |message| message.double(1, value));
}

fn write_histogram(
    message: &mut Message,
    cells: Cells,
    layout: &HistogramLayout,
    totals: &Totals<'_>,
) {
    let classic: u64 = (0..layout.buckets()).map(|bucket| totals.get(cells, bucket)).sum();
    // Beside a running observation the two may differ by what is under way. Prometheus refuses a
    // native histogram whose count is not the sum of its buckets, so that sum it is.
    let count = layout.native.map_or(classic, |native| {
        (0..=native.cells).map(|cell| totals.get(cells, layout.native_cells() + cell)).sum()
    });
    message.varint(1, count);
    message.double(2, totals.sum(cells, layout));
    let mut cumulative = 0_u64;
    for (bucket, bound) in layout.bounds.iter().copied().chain([f64::INFINITY]).enumerate() {
        let own = totals.get(cells, bucket);
        cumulative += own;
        message.message(3, |message| {
            let shown = if bound.is_infinite() { count } else { cumulative.min(count) };
            message.varint(1, shown);
            message.double(2, bound);
            if own > 0
                && let Some(exemplar) = totals.exemplar(cells, layout, bucket)
            {
                message.message(3, |message| write_exemplar(message, &exemplar));
            }
        });
    }
    if let Some(native) = layout.native {
        let counts = (0..native.cells)
            .map(|cell| totals.get(cells, layout.native_cells() + 1 + cell))
            .collect::<Vec<u64>>();
        let zero = totals.get(cells, layout.native_cells());
        write_native(message, native, zero, &counts);
    }
}

fn write_exemplar(message: &mut Message, exemplar: &Exemplar) {
    message.message(1, |pair| {
        pair.bytes(1, b"trace_id");
        pair.bytes(2, exemplar.trace.to_string().as_bytes());
    });
    message.double(2, exemplar.value);
    message.message(3, |at| {
        at.varint(1, exemplar.micros / 1_000_000);
        at.varint(2, exemplar.micros % 1_000_000 * 1000);
    });
}

/// The filled buckets only: spans of neighbours, each count as its difference from the last.
fn write_native(message: &mut Message, native: Native, zero: u64, counts: &[u64]) {
    message.varint(5, zigzag(i64::from(native.schema)));
    message.double(6, native.zero_threshold);
    message.varint(7, zero);
    let mut spans: Vec<(i64, u64)> = Vec::new();
    let mut deltas = Vec::new();
    let mut last_count = 0_i64;
    // The index after the last filled bucket; the first offset counts from bucket 0.
    let mut expected = 0_i64;
    for (cell, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let index = i64::from(native.first) + cell as i64;
        match spans.last_mut() {
            Some((_, length)) if index == expected => *length += 1,
            _ => spans.push((index - expected, 1)),
        }
        expected = index + 1;
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        push_varint(&mut deltas, zigzag(count - last_count));
        last_count = count;
    }
    for (offset, length) in spans {
        message.message(12, |span| {
            span.varint(1, zigzag(offset));
            span.varint(2, length);
        });
    }
    if !deltas.is_empty() {
        message.bytes(13, &deltas);
    }
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The fields of a message under way.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, field: u32, value: u64) {
        self.tag(field, 0);
        push_varint(&mut self.0, value);
    }

    fn double(&mut self, field: u32, value: f64) {
        self.tag(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, 2);
        push_varint(&mut self.0, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.tag(field, 2);
        let start = self.0.len();
        write(self);
        // The length is known only now: a byte is nearly always enough for it, else the rest moves.
        let mut length = Vec::with_capacity(10);
        push_varint(&mut length, (self.0.len() - start) as u64);
        self.0.splice(start..start, length);
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        push_varint(&mut self.0, u64::from(field << 3 | wire_type));
    }
}
