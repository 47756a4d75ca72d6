//! From series to the page: Prometheus text 0.0.4 and OpenMetrics 1.0.
//!
//! What does not change between scrapes (names, labels, bounds) is rendered once per series, when
//! it is made; a scrape copies it and writes numbers. Bucket bounds read the same in both formats
//! (`le="10.0"`), so that a rule holds whichever one was scraped.
//!
//! Sources: prometheus.io "Exposition formats" (text 0.0.4), OpenMetrics 1.0.0 sections 4 and 5.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use super::handle::{ABSENT, EXEMPLAR, HistogramLayout};
use super::registry::{Family, Series, Storage};
use super::shards::{Arena, Cells, read_record};
use super::spec::{MetricKind, MetricSpec};
use crate::traces::TraceId;

/// An exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0, with units and exemplars.
    OpenMetrics,
}

impl Format {
    /// The format a scraper prefers by its `Accept` header; text when it names none we have.
    #[must_use]
    pub fn negotiate(accept: Option<&str>) -> Self {
        let mut best = (Self::Text, 0.0);
        for range in accept.unwrap_or("").split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or("");
            let mut quality = 1.0_f64;
            let mut version = None;
            for part in parts {
                match part.split_once('=') {
                    Some(("q", q)) => quality = q.trim().parse().unwrap_or(0.0),
                    Some(("version", v)) => version = Some(v.trim()),
                    _ => {}
                }
            }
            let known_version = matches!(version, None | Some("1.0.0" | "0.0.1"));
            let format = match kind {
                "application/openmetrics-text" if known_version => Self::OpenMetrics,
                "text/plain" | "text/*" | "*/*" => Self::Text,
                _ => continue,
            };
            if quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }

    /// The `Content-Type` of the answer.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The unchanging part of every line of a series, ending in the space before the number.
pub(super) struct Rendered {
    /// One for a counter or gauge; buckets, sum, count for a histogram.
    lines: Vec<Box<str>>,
}

impl Rendered {
    pub(super) fn new(spec: &MetricSpec, values: &[String]) -> Self {
        let mut labels = String::new();
        for (label, value) in spec.labels.iter().zip(values) {
            push_label(&mut labels, label.name, value);
        }
        let line = |suffix: &str, labels: &str| -> Box<str> {
            if labels.is_empty() {
                format!("{}{suffix} ", spec.name).into()
            } else {
                format!("{}{suffix}{{{labels}}} ", spec.name).into()
            }
        };
        let mut lines = Vec::new();
        if spec.kind == MetricKind::Histogram {
            for bound in spec.buckets.iter().copied().chain([f64::INFINITY]) {
                let mut with_bound = labels.clone();
                let mut text = String::new();
                push_f64(&mut text, bound);
                push_label(&mut with_bound, "le", &text);
                lines.push(line("_bucket", &with_bound));
            }
            lines.push(line("_sum", &labels));
            lines.push(line("_count", &labels));
        } else {
            lines.push(line("", &labels));
        }
        Self { lines }
    }

    fn line(&self, index: usize) -> &str {
        self.lines.get(index).map_or("", |line| line)
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

/// The shortest text that reads back as the same number; always with a point or an exponent.
pub(super) fn push_f64(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        // Writing to a String cannot fail.
        let _ = write!(out, "{value:?}");
    }
}

/// The same without the point where nothing follows it, as in a gauge that counts.
fn push_value(out: &mut String, value: f64) {
    push_f64(out, value);
    if out.ends_with(".0") {
        out.truncate(out.len() - 2);
    }
}

fn push_u64(out: &mut String, value: u64) {
    out.push_str(itoa::Buffer::new().format(value));
}

pub(super) fn encode(families: &[Family], arena: &Arena, format: Format) -> String {
    let mut page = Page { out: String::with_capacity(64 * 1024), totals: arena.totals(), arena };
    for family in families {
        let state = family.read();
        if state.series.iter().all(|series| series.shows_nothing()) {
            continue;
        }
        page.header(&family.spec, format);
        for series in &state.series {
            match (&series.storage, family.spec.kind) {
                (Storage::Value(bits), _) => page.value(series, bits.load(Ordering::Relaxed)),
                (Storage::Cells(cells), MetricKind::Histogram) => {
                    let layout = HistogramLayout { bounds: family.spec.buckets };
                    page.histogram(series, *cells, layout, format);
                }
                (Storage::Cells(cells), _) => {
                    let total = page.total(*cells, 0);
                    page.out.push_str(series.rendered.line(0));
                    push_u64(&mut page.out, total);
                    page.out.push('\n');
                }
            }
        }
    }
    if format == Format::OpenMetrics {
        page.out.push_str("# EOF\n");
    }
    page.out
}

impl Series {
    fn shows_nothing(&self) -> bool {
        matches!(&self.storage, Storage::Value(bits) if bits.load(Ordering::Relaxed) == ABSENT)
    }
}

struct Page<'a> {
    out: String,
    /// Sums of all cells, computed column by column, which is how they lie in memory.
    totals: Vec<u64>,
    arena: &'a Arena,
}

impl Page<'_> {
    fn header(&mut self, spec: &MetricSpec, format: Format) {
        let name = match format {
            Format::Text => spec.name.as_ref(),
            Format::OpenMetrics => spec.family(),
        };
        let _ = writeln!(self.out, "# TYPE {name} {}", spec.kind.as_str());
        if format == Format::OpenMetrics && !spec.unit.suffix().is_empty() {
            let _ = writeln!(self.out, "# UNIT {name} {}", spec.unit.suffix());
        }
        let _ = write!(self.out, "# HELP {name} ");
        for c in spec.help.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '"' if format == Format::OpenMetrics => self.out.push_str("\\\""),
                c => self.out.push(c),
            }
        }
        self.out.push('\n');
    }

    fn total(&self, cells: Cells, index: usize) -> u64 {
        self.totals.get(cells.position() + index).copied().unwrap_or(0)
    }

    fn value(&mut self, series: &Series, bits: u64) {
        if bits != ABSENT {
            self.out.push_str(series.rendered.line(0));
            push_value(&mut self.out, f64::from_bits(bits));
            self.out.push('\n');
        }
    }

    fn histogram(
        &mut self,
        series: &Series,
        cells: Cells,
        layout: HistogramLayout,
        format: Format,
    ) {
        let mut cumulative = 0_u64;
        for bucket in 0..layout.buckets() {
            let count = self.total(cells, bucket);
            cumulative = cumulative.wrapping_add(count);
            self.out.push_str(series.rendered.line(bucket));
            push_u64(&mut self.out, cumulative);
            if format == Format::OpenMetrics && count > 0 {
                self.exemplar(cells, layout.exemplar(bucket));
            }
            self.out.push('\n');
        }
        let mut sum = 0.0;
        self.arena.each_column(cells, |own| {
            if let Some(cell) = own.get(layout.sum()) {
                sum += f64::from_bits(cell.load(Ordering::Relaxed));
            }
        });
        self.out.push_str(series.rendered.line(layout.buckets()));
        push_value(&mut self.out, sum);
        self.out.push('\n');
        self.out.push_str(series.rendered.line(layout.buckets() + 1));
        // The buckets of this page, not a cell of its own: the two agree by construction.
        push_u64(&mut self.out, cumulative);
        self.out.push('\n');
    }

    /// The newest exemplar of a bucket over all threads.
    fn exemplar(&mut self, cells: Cells, index: usize) {
        let mut newest: Option<[u64; EXEMPLAR]> = None;
        self.arena.each_column(cells, |own| {
            if let Some(record) = read_record::<EXEMPLAR>(own, index)
                && newest.is_none_or(|held| record[3] > held[3])
            {
                newest = Some(record);
            }
        });
        if let Some([high, low, value, micros]) = newest {
            let trace = TraceId::from_halves(high, low);
            let _ = write!(self.out, " # {{trace_id=\"{trace}\"}} ");
            push_value(&mut self.out, f64::from_bits(value));
            let _ = write!(self.out, " {}.{:06}", micros / 1_000_000, micros % 1_000_000);
        }
    }
}
