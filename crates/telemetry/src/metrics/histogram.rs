//! Histograms: observations counted by classic and by native buckets, with exemplars.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::native::{MAX_CELLS, Native};
use super::shards::Run;
use crate::traces::TraceId;

/// Observations counted by upper bound.
#[derive(Clone)]
pub struct Histogram {
    /// `None` when the registry refused the series: counts nowhere.
    pub(super) run: Option<Run>,
    pub(super) layout: Arc<HistogramLayout>,
}

/// Where the parts of a histogram lie in its run of cells: the bucket counts (one per bound, then
/// `+Inf`), the sum, one exemplar record per bucket, then the cells of the native histogram.
pub(super) struct HistogramLayout {
    pub(super) bounds: &'static [f64],
    pub(super) native: Option<Native>,
    /// By native cell: the classic bounds that lie below all its values.
    below: [u8; MAX_CELLS + 1],
}

/// Trace id (high, low), value, moment (see [`pack`]).
pub(super) const EXEMPLAR: usize = 4;

/// Bits of a packed moment that hold the nanoseconds of its second.
const NANO_BITS: u32 = 30;

/// A moment as one number that sorts as it does: the seconds since 1970 above the nanoseconds. No
/// division, unlike microseconds.
#[inline]
fn pack(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs() << NANO_BITS) | u64::from(since.subsec_nanos())
}

/// The microseconds since 1970 of a packed moment.
pub(super) fn micros(packed: u64) -> u64 {
    (packed >> NANO_BITS) * 1_000_000 + (packed & ((1 << NANO_BITS) - 1)) / 1_000
}

impl HistogramLayout {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        let native = Native::of(bounds);
        let mut below = [0; MAX_CELLS + 1];
        if let Some(native) = &native {
            for (cell, below) in below.iter_mut().enumerate().take(native.cells + 1).skip(1) {
                let lower = native.lower_bound(cell);
                *below = bounds.iter().filter(|bound| **bound <= lower).count() as u8;
            }
        }
        Self { bounds, native, below }
    }

    pub(super) fn buckets(&self) -> usize {
        self.bounds.len() + 1
    }

    pub(super) fn sum(&self) -> usize {
        self.buckets()
    }

    pub(super) fn exemplar(&self, bucket: usize) -> usize {
        self.sum() + 1 + bucket * (EXEMPLAR + 1)
    }

    /// The zero bucket of the native histogram; the others follow.
    pub(super) fn native_cells(&self) -> usize {
        self.exemplar(self.buckets())
    }

    pub(super) fn cells(&self) -> usize {
        self.native_cells() + self.native.map_or(0, |native| native.cells + 1)
    }

    /// The classic bucket of a value, of which the first `below` bounds are known to be smaller.
    #[inline]
    fn bucket_from(&self, below: usize, value: f64) -> usize {
        // Nearly always one comparison decides; as a number, because a branch on it is a guess.
        let next = self.bounds.get(below).copied().unwrap_or(f64::INFINITY);
        let mut bucket = below + usize::from(value > next);
        while self.bounds.get(bucket).is_some_and(|bound| value > *bound) {
            bucket += 1;
        }
        bucket
    }
}

impl Histogram {
    /// Counts one observation. NaN is left out: it belongs to no bucket and would spoil the sum.
    #[inline]
    pub fn observe(&self, value: f64) {
        self.record(value, None);
    }

    /// Counts one observation and leaves `trace` behind as the exemplar of its bucket. The moment
    /// is the caller's, who mostly knows it already: asking the clock costs more than all the rest.
    #[inline]
    pub fn observe_traced(&self, value: f64, trace: TraceId, at: SystemTime) {
        self.record(value, Some((trace, at)));
    }

    #[inline]
    fn record(&self, value: f64, exemplar: Option<(TraceId, SystemTime)>) {
        let Some(run) = &self.run else { return };
        if value.is_nan() {
            return;
        }
        let layout = &*self.layout;
        let native = layout.native.map(|native| native.cell_of(value));
        let below = native.and_then(|cell| layout.below.get(cell)).map_or(0, |below| *below);
        let bucket = layout.bucket_from(usize::from(below), value);
        run.with_own(|own| {
            own.add(bucket, 1);
            own.add_f64(layout.sum(), value);
            if let Some(cell) = native {
                own.add(layout.native_cells() + cell, 1);
            }
            if let Some((trace, at)) = exemplar {
                let (high, low) = trace.halves();
                own.write_record(layout.exemplar(bucket), [high, low, value.to_bits(), pack(at)]);
            }
        });
    }

    /// The number of observations so far over all threads.
    #[must_use]
    pub fn count(&self) -> u64 {
        let Some(run) = &self.run else { return 0 };
        let mut total = 0;
        run.each_column(|own| {
            for cell in own.iter().take(self.layout.buckets()) {
                total += cell.load(Ordering::Relaxed);
            }
        });
        total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::DURATION_BUCKETS;
    use super::*;

    proptest! {
        #[test]
        fn the_way_over_the_native_cell_finds_the_classic_bucket(
            exponent in -9.0_f64..5.0,
            on_a_bound in 0..40_usize,
        ) {
            let layout = HistogramLayout::new(DURATION_BUCKETS);
            let value = DURATION_BUCKETS.get(on_a_bound).copied().unwrap_or(10_f64.powf(exponent));
            let cell = layout.native.unwrap().cell_of(value);
            let plain = DURATION_BUCKETS.iter().filter(|bound| value > **bound).count();
            prop_assert_eq!(layout.bucket_from(usize::from(layout.below[cell]), value), plain);
        }
    }

    #[test]
    fn the_parts_of_a_run_do_not_overlap() {
        let layout = HistogramLayout::new(&[1.0, 2.0]);
        assert_eq!((layout.sum(), layout.exemplar(0), layout.exemplar(2)), (3, 4, 14));
        assert_eq!(layout.native_cells(), 19);
        assert_eq!(layout.cells(), 20 + layout.native.unwrap().cells);
        let plain = HistogramLayout::new(&[-1.0, 1.0]);
        assert_eq!((plain.native, plain.cells()), (None, 19));
    }
}
