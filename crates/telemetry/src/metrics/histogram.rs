//! Histograms: observations counted by classic and by native buckets, with exemplars.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::native::Native;
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
    steps: Steps,
}

/// Where values go, by their exponent and the top four bits of their mantissa: at most one native
/// and one classic bound lie within such a step, so that two comparisons settle a value.
struct Steps {
    /// The leading bits of the first step.
    first: u64,
    /// Empty for a metric whose bounds lie too close together, or that has no native buckets.
    table: Box<[Step]>,
}

#[derive(Clone, Copy)]
struct Step {
    /// The native cell of the step's lowest value.
    native: u32,
    /// Classic bounds below the step.
    classic: u32,
    /// The bits of the highest value in that native cell.
    split: u64,
    /// The next classic bound.
    bound: f64,
}

/// Bits of a value below those that choose its step.
const REST: u32 = 48;

impl Steps {
    fn new(bounds: &[f64], native: Option<&Native>) -> Self {
        let none = Self { first: 0, table: Box::default() };
        let Some(native) = native else { return none };
        let first = native.zero_threshold.to_bits() >> REST;
        let end = native.lower_bound(native.cells + 1).to_bits() >> REST;
        let table: Option<Box<[Step]>> =
            (first..end).map(|lead| Step::new(lead << REST, bounds, native)).collect();
        table.map_or(none, |table| Self { first, table })
    }
}

impl Step {
    /// `None` when a second bound lies within the step.
    fn new(low: u64, bounds: &[f64], native: &Native) -> Option<Self> {
        let high = low | ((1 << REST) - 1);
        let below = |value: f64| bounds.iter().filter(|bound| **bound < value).count();
        let cell = |bits| native.cell_of(f64::from_bits(bits));
        let classic = below(f64::from_bits(low));
        // The last value of the first cell, by bisection.
        let (mut split, mut beyond) = (low, high + 1);
        while beyond - split > 1 {
            let middle = split + (beyond - split) / 2;
            if cell(middle) == cell(low) { split = middle } else { beyond = middle }
        }
        if below(f64::from_bits(high)) > classic + 1 || cell(high) > cell(low) + 1 {
            return None;
        }
        let bound = bounds.get(classic).copied().unwrap_or(f64::INFINITY);
        Some(Self { native: cell(low) as u32, classic: classic as u32, split, bound })
    }
}

/// Trace id (high, low), value, [`Moment`].
pub(super) const EXEMPLAR: usize = 4;

/// Bits of a packed moment that hold the nanoseconds of its second.
const NANO_BITS: u32 = 30;

/// A moment as one number that sorts as it does: the seconds since 1970 above the nanoseconds. No
/// division, unlike microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl From<SystemTime> for Moment {
    #[inline]
    fn from(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self((since.as_secs() << NANO_BITS) | u64::from(since.subsec_nanos()))
    }
}

/// The microseconds since 1970 of a packed moment.
pub(super) fn micros(packed: u64) -> u64 {
    (packed >> NANO_BITS) * 1_000_000 + (packed & ((1 << NANO_BITS) - 1)) / 1_000
}

impl HistogramLayout {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        let native = Native::of(bounds);
        Self { bounds, native, steps: Steps::new(bounds, native.as_ref()) }
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

    /// The classic bucket and the native cell of a value that is not NaN.
    #[inline]
    fn place(&self, value: f64) -> (usize, Option<usize>) {
        let bits = value.to_bits();
        let lead = (bits >> REST).wrapping_sub(self.steps.first);
        // As numbers, because a branch on either would be a guess.
        match self.steps.table.get(lead as usize) {
            Some(step) => {
                let bucket = step.classic as usize + usize::from(value > step.bound);
                (bucket, Some(step.native as usize + usize::from(bits > step.split)))
            }
            None => self.place_beyond(value),
        }
    }

    /// The same for a value below or above all steps, or without them.
    #[cold]
    fn place_beyond(&self, value: f64) -> (usize, Option<usize>) {
        let bucket = self.bounds.iter().filter(|bound| value > **bound).count();
        (bucket, self.native.map(|native| native.cell_of(value)))
    }
}

impl Histogram {
    /// Counts one observation. NaN is left out: it belongs to no bucket and would spoil the sum.
    #[inline]
    pub fn observe(&self, value: f64) {
        self.record(value, None);
    }

    /// Counts one observation and leaves `trace` behind as the exemplar of its bucket, unless this
    /// thread left one there within the same second: a scraper takes one of many. The moment is the
    /// caller's, who mostly knows it already: asking the clock costs more than all the rest.
    #[inline]
    pub fn observe_traced(&self, value: f64, trace: TraceId, at: impl Into<Moment>) {
        self.record(value, Some((trace, at.into())));
    }

    #[inline]
    fn record(&self, value: f64, exemplar: Option<(TraceId, Moment)>) {
        let Some(run) = &self.run else { return };
        if value.is_nan() {
            return;
        }
        let layout = &*self.layout;
        let (bucket, native) = layout.place(value);
        run.with_own(|own| {
            own.add(bucket, 1);
            own.add_f64(layout.sum(), value);
            if let Some(cell) = native {
                own.add(layout.native_cells() + cell, 1);
            }
            if let Some((trace, Moment(at))) = exemplar {
                let index = layout.exemplar(bucket);
                if own.get(index + EXEMPLAR) >> NANO_BITS != at >> NANO_BITS {
                    let (high, low) = trace.halves();
                    own.write_record(index, [high, low, value.to_bits(), at]);
                }
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
        fn the_steps_lead_where_counting_does(
            exponent in -9.0_f64..5.0,
            on_a_bound in 0..40_usize,
            cell in 1..400_usize,
            choice in 0..4,
        ) {
            for bounds in [DURATION_BUCKETS, &[0.25, 1.0, 1.01, 100.0], &[0.0, 0.5, 1.0]] {
                let layout = HistogramLayout::new(bounds);
                let value = match choice {
                    0 => bounds.get(on_a_bound).copied().unwrap_or(0.0),
                    1 => -(10_f64.powf(exponent)),
                    2 => layout.native.unwrap().lower_bound(cell),
                    _ => 10_f64.powf(exponent),
                };
                for value in [value, value.next_up(), value.next_down()] {
                    prop_assert_eq!(layout.place(value), layout.place_beyond(value), "{}", value);
                }
            }
        }
    }

    #[test]
    fn bounds_far_enough_apart_have_steps() {
        assert!(!HistogramLayout::new(DURATION_BUCKETS).steps.table.is_empty());
        assert!(HistogramLayout::new(&[0.25, 1.0, 1.01, 1.02]).steps.table.is_empty());
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
