//! What a metric is before it has a value: one row of the catalogue.
//!
//! Rows are `const` data, so that documentation, rule checks and registration all read the same
//! table. A row holds no value and knows no registry.

use std::borrow::Cow;

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by upper bound.
    Histogram,
}

impl MetricKind {
    /// The word used in a `# TYPE` line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The base unit of a metric; except for [`Unit::None`] it is a part of the metric's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// A count, a state, or a quantity whose name says enough.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share from 0 to 1.
    Ratio,
    /// Degrees Celsius.
    Celsius,
    /// Watts.
    Watts,
    /// Joules.
    Joules,
}

impl Unit {
    /// The suffix in the metric's name and in `# UNIT`; empty for [`Unit::None`].
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
            Self::Celsius => "celsius",
            Self::Watts => "watts",
            Self::Joules => "joules",
        }
    }
}

/// Which values a label may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelValues {
    /// Exactly these. An unlisted value becomes `other` where `other` is listed, else it is refused.
    Closed(&'static [&'static str]),
    /// Known only at run time (a route template, a device); bounded by the metric's series cap.
    Open,
}

/// One label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelSpec {
    /// The label's name.
    pub name: &'static str,
    /// The values it may take.
    pub values: LabelValues,
}

impl LabelSpec {
    /// A label with a closed set of values.
    #[must_use]
    pub const fn closed(name: &'static str, values: &'static [&'static str]) -> Self {
        Self { name, values: LabelValues::Closed(values) }
    }

    /// A label whose values are found at run time.
    #[must_use]
    pub const fn open(name: &'static str) -> Self {
        Self { name, values: LabelValues::Open }
    }
}

/// How far a user may build on a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stability {
    /// Name, labels and meaning change only with a major version.
    Stable,
    /// May change with any version.
    Experimental,
}

/// What a series shows before anything was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Initial {
    /// Zero, from start-up on, for every known combination of labels.
    Zero,
    /// Nothing: zero would be a lie (a temperature, an accuracy).
    Absent,
}

/// Who keeps the value of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// This crate counts.
    Counted,
    /// Somebody else counts (the kernel, a driver) and the total is copied in.
    Observed,
}

/// One row of the catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSpec {
    /// The full name as exposed, with `_total` for counters.
    pub name: Cow<'static, str>,
    /// The kind.
    pub kind: MetricKind,
    /// The base unit.
    pub unit: Unit,
    /// One sentence for whoever reads the metric.
    pub help: &'static str,
    /// The labels, in the order in which values are given.
    pub labels: &'static [LabelSpec],
    /// Upper bounds of a histogram, ascending, without `+Inf`.
    pub buckets: &'static [f64],
    /// How far a user may build on it.
    pub stability: Stability,
    /// What it shows before anything was recorded.
    pub initial: Initial,
    /// Who keeps the value.
    pub source: Source,
    /// The most series this metric may have; one more becomes `_overflow`.
    pub max_series: usize,
}

/// The series cap of a metric that names none.
pub const DEFAULT_MAX_SERIES: usize = 1_000;

impl MetricSpec {
    const fn new(name: &'static str, kind: MetricKind, help: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            kind,
            unit: Unit::None,
            help,
            labels: &[],
            buckets: &[],
            stability: Stability::Stable,
            initial: Initial::Zero,
            source: Source::Counted,
            max_series: DEFAULT_MAX_SERIES,
        }
    }

    /// A counter; `name` ends in `_total`.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, MetricKind::Counter, help)
    }

    /// A gauge.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, MetricKind::Gauge, help)
    }

    /// A histogram with these upper bounds, ascending, without `+Inf`.
    #[must_use]
    pub const fn histogram(
        name: &'static str,
        help: &'static str,
        buckets: &'static [f64],
    ) -> Self {
        let mut spec = Self::new(name, MetricKind::Histogram, help);
        spec.buckets = buckets;
        spec
    }

    /// With these labels.
    #[must_use]
    pub const fn labels(mut self, labels: &'static [LabelSpec]) -> Self {
        self.labels = labels;
        self
    }

    /// In this unit; the name must carry it.
    #[must_use]
    pub const fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Marked as one that may still change.
    #[must_use]
    pub const fn experimental(mut self) -> Self {
        self.stability = Stability::Experimental;
        self
    }

    /// Showing nothing until it is first set.
    #[must_use]
    pub const fn absent_until_set(mut self) -> Self {
        self.initial = Initial::Absent;
        self
    }

    /// A counter whose total is kept elsewhere and copied in.
    #[must_use]
    pub const fn observed(mut self) -> Self {
        self.source = Source::Observed;
        self
    }

    /// With this cap on the number of series.
    #[must_use]
    pub const fn max_series(mut self, max: usize) -> Self {
        self.max_series = max;
        self
    }

    /// The same row under `prefix_name`, for metrics that a library declares and a service names.
    #[must_use]
    pub fn prefixed(mut self, prefix: &str) -> Self {
        if !prefix.is_empty() {
            self.name = Cow::Owned(format!("{prefix}_{}", self.name));
        }
        self
    }

    /// The family name in OpenMetrics: a counter's name without `_total`.
    #[must_use]
    pub fn family(&self) -> &str {
        match self.kind {
            MetricKind::Counter => self.name.strip_suffix("_total").unwrap_or(&self.name),
            MetricKind::Gauge | MetricKind::Histogram => &self.name,
        }
    }

    /// Whether all label values are known beforehand (true for a metric without labels).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.labels.iter().all(|label| matches!(label.values, LabelValues::Closed(_)))
    }

    /// Every combination of label values of a closed metric, in the order of the declaration;
    /// empty when a label is open.
    #[must_use]
    pub fn known_series(&self) -> Vec<Vec<&'static str>> {
        let mut rows: Vec<Vec<&'static str>> = vec![Vec::new()];
        for label in self.labels {
            let LabelValues::Closed(values) = label.values else { return Vec::new() };
            rows = rows
                .iter()
                .flat_map(|row| {
                    values.iter().map(move |value| {
                        let mut longer = row.clone();
                        longer.push(*value);
                        longer
                    })
                })
                .collect();
        }
        rows
    }
}
