//! Metrics: from a static catalogue to numbers to a page that Prometheus reads.
//!
//! The service declares its metrics as rows ([`MetricSpec`]); a [`Registry`] is built from them,
//! and nothing that is not a row can be exposed. A handle ([`Counter`], [`Gauge`], [`Histogram`])
//! is resolved once per label set and kept; recording through it neither hashes, formats,
//! allocates nor locks. [`Format`] is what a scraper asked for. Every histogram has classic buckets,
//! exact at the bounds that rules use, and a native one for quantiles.
//!
//! Deliberately absent: summaries, counters that can be reset, metric names made at run time.

mod cells;
mod encode;
mod format;
mod handle;
mod histogram;
mod lint;
mod native;
mod protobuf;
mod registry;
mod shards;
mod slots;
mod spec;
mod totals;

pub use format::Format;
pub(crate) use format::prefers;
pub use handle::{Counter, Gauge, GaugeHold, ObservedCounter};
pub use histogram::{Histogram, Moment};
pub use registry::{Registry, SeriesCount};
pub use spec::{
    DEFAULT_MAX_SERIES, Initial, LabelSpec, LabelValues, MetricKind, MetricSpec, Source, Stability,
    Unit,
};

/// Upper bounds in seconds for the duration of a request or of a job's phase: a tenth of a
/// millisecond to about three minutes, so that an objective of 10 s or 40 s is a bound itself.
pub const DURATION_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 20.0, 40.0, 80.0, 160.0,
];
