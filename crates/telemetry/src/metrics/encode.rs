//! From series to the page: Prometheus text 0.0.4 and OpenMetrics 1.0.
//!
//! What does not change between scrapes (names, labels, bounds) is rendered once per series, when
//! it is made; a scrape copies it and writes numbers. Bucket bounds read the same in both formats
//! (`le="10.0"`), so that a rule holds whichever one was scraped.
//!
//! Sources: prometheus.io "Exposition formats" (text 0.0.4), OpenMetrics 1.0.0 sections 4 and 5.

use std::sync::atomic::Ordering;

use super::Format;
use super::handle::ABSENT;
use super::histogram::HistogramLayout;
use super::protobuf;
use super::registry::{Family, Series, Storage};
use super::shards::{Arena, Cells};
use super::spec::{MetricKind, MetricSpec};
use super::totals::Totals;

/// The unchanging part of a series on each page.
pub(super) struct Rendered {
    /// Every line up to the space before its number, one after the other: one line for a counter or
    /// gauge; buckets, sum, count for a histogram.
    text: Box<str>,
    /// Where each line but the last ends.
    ends: Box<[u32]>,
    /// The label pairs of the protobuf message.
    pub(super) labels: Box<[u8]>,
}

impl Rendered {
    pub(super) fn new(spec: &MetricSpec, values: &[String]) -> Self {
        let mut labels = String::new();
        for (label, value) in spec.labels.iter().zip(values) {
            push_label(&mut labels, label.name, value);
        }
        let mut text = String::new();
        let mut ends = Vec::new();
        let mut line = |suffix: &str, labels: &str| {
            if !text.is_empty() {
                ends.push(text.len() as u32);
            }
            text.push_str(&spec.name);
            text.push_str(suffix);
            if !labels.is_empty() {
                text.push('{');
                text.push_str(labels);
                text.push('}');
            }
            text.push(' ');
        };
        if spec.kind == MetricKind::Histogram {
            for bound in spec.buckets.iter().copied().chain([f64::INFINITY]) {
                let mut with_bound = labels.clone();
                push_label(&mut with_bound, "le", &bound_text(bound));
                line("_bucket", &with_bound);
            }
            line("_sum", &labels);
            line("_count", &labels);
        } else {
            line("", &labels);
        }
        let labels = protobuf::label_pairs(spec, values).into();
        Self { text: text.into(), ends: ends.into(), labels }
    }

    fn line(&self, index: usize) -> &[u8] {
        let start = match index.checked_sub(1) {
            Some(before) => self.ends.get(before).map_or(self.text.len(), |end| *end as usize),
            None => 0,
        };
        let end = self.ends.get(index).map_or(self.text.len(), |end| *end as usize);
        self.text.as_bytes().get(start..end).unwrap_or(&[])
    }
}

fn push_label(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn bound_text(bound: f64) -> String {
    let mut text = Vec::new();
    push_f64(&mut text, bound);
    String::from_utf8(text).unwrap_or_default()
}

/// The shortest text that reads back as the same number; always with a point or an exponent.
fn push_f64(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    }
}

/// The same as an integer where it is one, as in a gauge that counts.
fn push_value(out: &mut Vec<u8>, value: f64) {
    /// Below this every integer is a number of its own.
    const EXACT: f64 = (1_u64 << 53) as f64;
    let negative_zero = value == 0.0 && value.is_sign_negative();
    if value.trunc() == value && value.abs() < EXACT && !negative_zero {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        push_f64(out, value);
    }
}

fn push_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The page for a scraper.
pub(super) fn encode(families: &[Family], arena: &Arena, format: Format) -> Vec<u8> {
    let totals = Totals::of(arena);
    if format == Format::Protobuf {
        return protobuf::encode(families, &totals);
    }
    let mut page = Page { out: Vec::with_capacity(64 * 1024), totals, format };
    for family in families {
        let state = family.read();
        if state.series.iter().all(Series::shows_nothing) {
            continue;
        }
        page.header(&family.spec);
        for series in &state.series {
            match &series.storage {
                Storage::Value(bits) => page.value(series, bits.load(Ordering::Relaxed)),
                Storage::Count(cells) => page.count(series, *cells),
                Storage::Histogram(cells, layout) => page.histogram(series, *cells, layout),
            }
        }
    }
    if format == Format::OpenMetrics {
        page.out.extend_from_slice(b"# EOF\n");
    }
    page.out
}

impl Series {
    pub(super) fn shows_nothing(&self) -> bool {
        matches!(&self.storage, Storage::Value(bits) if bits.load(Ordering::Relaxed) == ABSENT)
    }
}

struct Page<'a> {
    out: Vec<u8>,
    totals: Totals<'a>,
    format: Format,
}

impl Page<'_> {
    fn header(&mut self, spec: &MetricSpec) {
        let open = self.format == Format::OpenMetrics;
        let name = if open { spec.family() } else { spec.name.as_ref() };
        self.meta("TYPE", name, spec.kind.as_str());
        if open && !spec.unit.suffix().is_empty() {
            self.meta("UNIT", name, spec.unit.suffix());
        }
        let mut help = String::with_capacity(spec.help.len());
        for c in spec.help.chars() {
            match c {
                '\\' => help.push_str("\\\\"),
                '\n' => help.push_str("\\n"),
                '"' if open => help.push_str("\\\""),
                c => help.push(c),
            }
        }
        self.meta("HELP", name, &help);
    }

    fn meta(&mut self, what: &str, name: &str, text: &str) {
        for part in ["# ", what, " ", name, " ", text, "\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    fn value(&mut self, series: &Series, bits: u64) {
        if bits != ABSENT {
            self.out.extend_from_slice(series.rendered.line(0));
            push_value(&mut self.out, f64::from_bits(bits));
            self.out.push(b'\n');
        }
    }

    fn count(&mut self, series: &Series, cells: Cells) {
        self.out.extend_from_slice(series.rendered.line(0));
        push_u64(&mut self.out, self.totals.get(cells, 0));
        self.out.push(b'\n');
    }

    fn histogram(&mut self, series: &Series, cells: Cells, layout: &HistogramLayout) {
        let mut cumulative = 0_u64;
        for bucket in 0..layout.buckets() {
            let count = self.totals.get(cells, bucket);
            cumulative = cumulative.wrapping_add(count);
            self.out.extend_from_slice(series.rendered.line(bucket));
            push_u64(&mut self.out, cumulative);
            if self.format == Format::OpenMetrics && count > 0 {
                self.exemplar(cells, layout, bucket);
            }
            self.out.push(b'\n');
        }
        self.out.extend_from_slice(series.rendered.line(layout.buckets()));
        push_value(&mut self.out, self.totals.sum(cells, layout));
        self.out.push(b'\n');
        self.out.extend_from_slice(series.rendered.line(layout.buckets() + 1));
        // The buckets of this page, not a cell of its own: the two agree by construction.
        push_u64(&mut self.out, cumulative);
        self.out.push(b'\n');
    }

    fn exemplar(&mut self, cells: Cells, layout: &HistogramLayout, bucket: usize) {
        let Some(exemplar) = self.totals.exemplar(cells, layout, bucket) else { return };
        self.out.extend_from_slice(b" # {trace_id=\"");
        self.out.extend_from_slice(exemplar.trace.to_string().as_bytes());
        self.out.extend_from_slice(b"\"} ");
        push_value(&mut self.out, exemplar.value);
        let (seconds, micros) = (exemplar.micros / 1_000_000, exemplar.micros % 1_000_000);
        self.out.extend_from_slice(format!(" {seconds}.{micros:06}").as_bytes());
    }
}
