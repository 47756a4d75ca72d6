//! What a call site holds: a resolved series, ready to be written to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::shards::{Arena, Cells};
use crate::traces::TraceId;

/// Marks a gauge or observed counter that shows nothing. A NaN that no arithmetic produces.
pub(super) const ABSENT: u64 = 0x7ff8_dead_dead_dead;

/// A number that only grows.
#[derive(Clone)]
pub struct Counter {
    pub(super) arena: Arc<Arena>,
    /// `None` when the registry refused the series: counts nowhere.
    pub(super) cells: Option<Cells>,
}

impl Counter {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `amount`.
    #[inline]
    pub fn add(&self, amount: u64) {
        if let Some(cells) = self.cells {
            self.arena.with_own(cells, |own| own.add(0, amount));
        }
    }

    /// The present total over all threads; for tests and for state pages, not for hot paths.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.cells.map_or(0, |cells| self.arena.sum(cells))
    }
}

/// A number that goes up and down.
#[derive(Clone)]
pub struct Gauge {
    pub(super) bits: Arc<AtomicU64>,
}

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds `amount`, which may be negative. A gauge that shows nothing starts at 0.
    pub fn add(&self, amount: f64) {
        let _ = self.bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
            let now = if bits == ABSENT { 0.0 } else { f64::from_bits(bits) };
            Some((now + amount).to_bits())
        });
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1.0);
    }

    /// Subtracts one.
    pub fn dec(&self) {
        self.add(-1.0);
    }

    /// Shows nothing until it is set again: a device that is gone has no temperature.
    pub fn clear(&self) {
        self.bits.store(ABSENT, Ordering::Relaxed);
    }

    /// The present value; `None` while it shows nothing.
    #[must_use]
    pub fn get(&self) -> Option<f64> {
        let bits = self.bits.load(Ordering::Relaxed);
        (bits != ABSENT).then(|| f64::from_bits(bits))
    }

    /// Adds one now and subtracts it when the returned guard is dropped, however that happens.
    #[must_use]
    pub fn hold(&self) -> GaugeHold {
        self.inc();
        GaugeHold(self.clone())
    }
}

/// One unit held in a [`Gauge`].
pub struct GaugeHold(Gauge);

impl Drop for GaugeHold {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A counter whose total is kept elsewhere (by the kernel, by a driver) and copied in.
#[derive(Clone)]
pub struct ObservedCounter {
    pub(super) bits: Arc<AtomicU64>,
}

impl ObservedCounter {
    /// Copies the total in. A lower total is taken as it is: the source was reset.
    pub fn set(&self, total: f64) {
        self.bits.store(total.to_bits(), Ordering::Relaxed);
    }

    /// Shows nothing until it is set again: whoever counted is gone.
    pub fn clear(&self) {
        self.bits.store(ABSENT, Ordering::Relaxed);
    }
}

/// Observations counted by upper bound.
#[derive(Clone)]
pub struct Histogram {
    pub(super) arena: Arc<Arena>,
    pub(super) cells: Option<Cells>,
    pub(super) layout: HistogramLayout,
}

/// Where the parts of a histogram lie in its run of cells: the bucket counts (one per bound, then
/// `+Inf`), the sum, then one exemplar record per bucket.
#[derive(Clone, Copy)]
pub(super) struct HistogramLayout {
    pub(super) bounds: &'static [f64],
}

/// Trace id (high, low), value, microseconds since 1970.
pub(super) const EXEMPLAR: usize = 4;

impl HistogramLayout {
    pub(super) fn buckets(self) -> usize {
        self.bounds.len() + 1
    }

    pub(super) fn sum(self) -> usize {
        self.buckets()
    }

    pub(super) fn exemplar(self, bucket: usize) -> usize {
        self.sum() + 1 + bucket * (EXEMPLAR + 1)
    }

    pub(super) fn cells(self) -> usize {
        self.exemplar(self.buckets())
    }

    #[inline]
    fn bucket_of(self, value: f64) -> usize {
        self.bounds.iter().map(|bound| usize::from(value > *bound)).sum()
    }
}

impl Histogram {
    /// Counts one observation. NaN is left out: it belongs to no bucket and would spoil the sum.
    #[inline]
    pub fn observe(&self, value: f64) {
        self.record(value, None);
    }

    /// Counts one observation and leaves `trace` behind as the exemplar of its bucket.
    #[inline]
    pub fn observe_traced(&self, value: f64, trace: TraceId, at: SystemTime) {
        self.record(value, Some((trace, at)));
    }

    #[inline]
    fn record(&self, value: f64, exemplar: Option<(TraceId, SystemTime)>) {
        let Some(cells) = self.cells else { return };
        if value.is_nan() {
            return;
        }
        let bucket = self.layout.bucket_of(value);
        self.arena.with_own(cells, |own| {
            own.add(bucket, 1);
            own.add_f64(self.layout.sum(), value);
            if let Some((trace, at)) = exemplar {
                let (high, low) = trace.halves();
                let micros = at.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_micros() as u64);
                let record: [u64; EXEMPLAR] = [high, low, value.to_bits(), micros];
                own.write_record(self.layout.exemplar(bucket), record);
            }
        });
    }

    /// The number of observations so far over all threads.
    #[must_use]
    pub fn count(&self) -> u64 {
        let Some(cells) = self.cells else { return 0 };
        let mut total = 0;
        self.arena.each_column(cells, |own| {
            for cell in own.iter().take(self.layout.buckets()) {
                total += cell.load(Ordering::Relaxed);
            }
        });
        total
    }
}
