//! Native histograms: from a value to the index of its exponential bucket.
//!
//! Bucket `i` of schema `s` holds `(base^(i-1), base^i]` with `base = 2^(2^-s)`. The index comes
//! from the bits of the value alone (its exponent, and one comparison within its octave), so that
//! a value on a bound falls where Prometheus puts it, without a logarithm and its rounding.
//!
//! A series has a fixed run of cells, chosen once from the classic bounds of its metric: from an
//! eighth of the lowest positive bound to at least four times the highest, at schema 3 (9 % a
//! bucket) or, where that would be more than [`MAX_CELLS`] cells, a coarser one. What is smaller
//! counts in the zero bucket, whose width is told; what is larger counts in the last bucket, so a
//! quantile up there is capped, as that of classic buckets is at their last bound. A metric with a
//! negative bound has no native histogram: these are for sizes and times.
//!
//! Source: `io/prometheus/client/metrics.proto` and the specification of native histograms on
//! prometheus.io; the bounds are those of `nativeHistogramBounds[3]` in client_golang.

/// The finest schema, at which the bounds are tabulated.
const FINEST: u32 = 3;
/// Most cells of one series, the zero bucket aside.
pub(super) const MAX_CELLS: usize = 256;
/// Octaves below the lowest positive classic bound and above the highest.
const OCTAVES_BELOW: i32 = 3;
const OCTAVES_ABOVE: i32 = 2;

const MANTISSA: u64 = (1 << 52) - 1;

/// Bounds within one octave at schema 3, as fractions in [0.5, 1).
const BOUNDS: [f64; 8] = [
    0.5,
    0.545_253_866_332_628_8,
    0.594_603_557_501_360_5,
    0.648_419_777_325_504_8,
    0.707_106_781_186_547_5,
    0.771_105_412_703_970_4,
    0.840_896_415_253_714_5,
    0.917_004_043_204_671_2,
];

/// The mantissas of [`BOUNDS`], and one that no mantissa exceeds.
static MANTISSAS: [u64; 9] = {
    let mut mantissas = [u64::MAX; 9];
    let mut i = 0;
    while i < BOUNDS.len() {
        mantissas[i] = BOUNDS[i].to_bits() & MANTISSA;
        i += 1;
    }
    mantissas
};

/// By the top four bits of a mantissa: how many bounds lie below every mantissa with these bits. At
/// most one further bound lies among them, because a sixteenth is less than a bucket.
static BELOW: [u8; 16] = {
    let mut below = [0; 16];
    let mut top = 0;
    while top < below.len() {
        let mut bound = 0;
        while bound < BOUNDS.len() && MANTISSAS[bound] < (top as u64) << 48 {
            below[top] += 1;
            bound += 1;
        }
        top += 1;
    }
    below
};

/// The index at schema 3 of a positive, finite, normal value.
#[inline]
fn finest_index(bits: u64) -> i32 {
    let exponent = (bits >> 52) as i32 - 1023;
    let mantissa = bits & MANTISSA;
    let below = BELOW[(mantissa >> 48) as usize & 15];
    let within = i32::from(below) + i32::from(MANTISSAS[usize::from(below)] < mantissa);
    exponent * 8 + within
}

/// The run of exponential buckets that the series of one metric have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Native {
    /// As in the exposition: 3 is the finest.
    pub(super) schema: u32,
    /// Upper bound of the zero bucket; a power of two.
    pub(super) zero_threshold: f64,
    /// Index of the first bucket above the zero bucket.
    pub(super) first: i32,
    /// Number of buckets above the zero bucket.
    pub(super) cells: usize,
}

impl Native {
    /// The run for a metric with these ascending classic bounds; `None` where one is negative, none
    /// is positive, or they lie too far apart.
    pub(super) fn of(bounds: &[f64]) -> Option<Self> {
        let lowest = bounds.iter().copied().find(|bound| *bound > 0.0)?;
        let (first, highest) = (*bounds.first()?, *bounds.last()?);
        if first < 0.0 || !lowest.is_normal() || !highest.is_normal() {
            return None;
        }
        let low = (exponent(lowest) - OCTAVES_BELOW).max(-1022);
        let high = (exponent(highest) + 1 + OCTAVES_ABOVE).min(1023);
        let octaves = usize::try_from(high - low).ok()?;
        let schema = (0..=FINEST).rev().find(|schema| octaves << schema <= MAX_CELLS)?;
        Some(Self {
            schema,
            zero_threshold: two_to(low),
            first: (low << schema) + 1,
            cells: octaves << schema,
        })
    }

    /// The cell of a value that is not NaN: 0 for the zero bucket, then one for each bucket.
    #[inline]
    pub(super) fn cell_of(&self, value: f64) -> usize {
        if value <= self.zero_threshold {
            return 0;
        }
        // Infinity has the largest exponent and is capped like any value beyond the run.
        let finest = finest_index(value.to_bits());
        let index = ((finest - 1) >> (FINEST - self.schema)) + 1;
        ((index - self.first + 1).max(1) as usize).min(self.cells)
    }

    /// The lower, excluded bound of a cell above the zero bucket.
    pub(super) fn lower_bound(&self, cell: usize) -> f64 {
        let index = (self.first + cell as i32 - 2) << (FINEST - self.schema);
        let fraction = BOUNDS[index.rem_euclid(8) as usize];
        fraction * two_to(index.div_euclid(8)) * 2.0
    }
}

fn exponent(normal: f64) -> i32 {
    (normal.to_bits() >> 52 & 0x7ff) as i32 - 1023
}

/// A power of two with a normal result.
fn two_to(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023).clamp(1, 2046) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::DURATION_BUCKETS;
    use super::*;

    #[test]
    fn the_tables_leave_at_most_one_bound_to_compare() {
        for top in 0..16_u64 {
            let among = MANTISSAS.iter().filter(|m| **m >= top << 48 && **m < (top + 1) << 48);
            assert!(among.count() <= 1);
        }
        for (i, bound) in BOUNDS.iter().enumerate() {
            let exact = 2_f64.powf(i as f64 / 8.0 - 1.0);
            assert!((bound / exact - 1.0).abs() <= f64::EPSILON, "{bound} is not {exact}");
        }
    }

    #[test]
    fn a_value_on_a_bound_belongs_below_it() {
        assert_eq!(finest_index(1.0_f64.to_bits()), 0);
        assert_eq!(finest_index(1.0_f64.next_up().to_bits()), 1);
        assert_eq!(finest_index(2.0_f64.to_bits()), 8);
        assert_eq!(finest_index(0.5_f64.to_bits()), -8);
        for (i, bound) in BOUNDS.iter().enumerate() {
            assert_eq!(finest_index((bound * 2.0).to_bits()), i as i32);
            assert_eq!(finest_index((bound * 2.0).next_up().to_bits()), i as i32 + 1);
        }
    }

    #[test]
    fn the_run_reaches_past_the_classic_bounds_at_both_ends() {
        let native = Native::of(DURATION_BUCKETS).unwrap();
        assert_eq!((native.schema, native.cells), (3, 216));
        assert!(native.zero_threshold <= 0.0001 / 8.0);
        assert!(native.lower_bound(native.cells + 1) >= 4.0 * 160.0);
        assert_eq!(native.cell_of(0.0), 0);
        assert_eq!(native.cell_of(-1.0), 0);
        assert_eq!(native.cell_of(native.zero_threshold), 0);
        assert_eq!(native.cell_of(native.zero_threshold.next_up()), 1);
        assert_eq!(native.cell_of(f64::INFINITY), native.cells);
        assert_eq!(native.cell_of(f64::MAX), native.cells);
    }

    #[test]
    fn a_wide_metric_gets_coarser_buckets_and_a_negative_one_none() {
        let wide = Native::of(&[1.0, 1e12]).unwrap();
        assert!(wide.schema < FINEST && wide.cells <= MAX_CELLS);
        assert_eq!(Native::of(&[-1.0, 1.0]), None);
        assert_eq!(Native::of(&[0.0]), None);
        assert_eq!(Native::of(&[1e-300, 1e300]), None);
        assert!(Native::of(&[0.0, 0.5, 1.0]).is_some());
    }

    proptest! {
        #[test]
        fn a_value_lies_between_the_bounds_of_its_cell(value in 1e-6_f64..1e4, scale in 0..3) {
            let bounds: &[f64] = [DURATION_BUCKETS, &[1.0, 1e9], &[1e-9, 1e15]][scale as usize];
            let native = Native::of(bounds).unwrap();
            let cell = native.cell_of(value);
            let below_the_next = value <= native.lower_bound(cell + 1);
            prop_assert!(cell == native.cells || below_the_next);
            prop_assert!(cell == 0 || value > native.lower_bound(cell));
        }

        #[test]
        fn any_number_has_a_cell(value: f64) {
            let native = Native::of(DURATION_BUCKETS).unwrap();
            prop_assert!(native.cell_of(value) <= native.cells);
        }
    }
}
