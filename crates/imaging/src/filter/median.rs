//! Median over the 3×3×3 neighbourhood, edge voxels repeated outwards.
//!
//! Each row sorts its nine neighbouring rows once per column; a column is shared by three
//! neighbours along x. Of the 27 values, seen as three sorted columns whose rows are sorted too,
//! seven are always below the median and seven above, so the median is the 7th of the remaining
//! thirteen. Branch-free over the lanes of a register.

use crate::ImagingError;
use crate::arguments::check_shape;
use crate::lanes::{Lanes, Plain};
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Wide, Widest};
use crate::memory::zeroed;
use crate::simd::{InstructionSet, vectorised};
use rayon::prelude::*;

/// A voxel type the filter reads; the result is `u16`, wide enough to average the 8-bit levels.
pub trait Grey: Copy + PartialEq + Send + Sync {
    /// Distance between neighbouring levels in the `u16` scale.
    const QUANTUM: u16;
    /// The value in the `u16` scale.
    fn widen(self) -> u16;
}

impl Grey for u8 {
    const QUANTUM: u16 = 256;
    fn widen(self) -> u16 {
        u16::from(self) << 8
    }
}

impl Grey for u16 {
    const QUANTUM: u16 = 1;
    fn widen(self) -> u16 {
        self
    }
}

/// Median-filters a (z, y, x) volume; 8-bit levels come out times 256. Refuses a volume whose
/// length is not the shape's.
pub fn median3<T: Grey>(data: &[T], shape: [usize; 3]) -> Result<Vec<u16>, ImagingError> {
    check_shape(shape, data.len())?;
    let mut out = zeroed(data.len());
    filter(InstructionSet::detect(), data, shape, &mut out);
    Ok(out)
}

/// The same into a volume that is there already, which spares the first touch of a new one.
pub fn median3_into<T: Grey>(
    data: &[T],
    shape: [usize; 3],
    out: &mut [u16],
) -> Result<(), ImagingError> {
    check_shape(shape, data.len())?;
    check_shape(shape, out.len())?;
    filter(InstructionSet::detect(), data, shape, out);
    Ok(())
}

fn filter<T: Grey>(set: InstructionSet, data: &[T], shape: [usize; 3], out: &mut [u16]) {
    let [nz, ny, nx] = shape;
    out.par_chunks_mut(ny * nx).enumerate().for_each_init(
        || Rows::new(nx),
        |rows, (z, page)| {
            let zs = [z.saturating_sub(1), z, (z + 1).min(nz - 1)];
            let source = zs.map(|z| &data[z * ny * nx..(z + 1) * ny * nx]);
            vectorised(
                set,
                #[inline(always)]
                || match set {
                    InstructionSet::Portable => rows.page::<T, Plain>(source, page),
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx2 => rows.page::<T, Wide>(source, page),
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx512 => rows.page::<T, Widest>(source, page),
                },
            );
        },
    );
}

/// Most lanes of any register.
const MOST_LANES: usize = 32;

/// Rows padded by one voxel on the left and at least one on the right.
struct Rows {
    nx: usize,
    /// For three neighbouring y, by turns: the three rows along z, sorted.
    upright: [[Vec<u16>; 3]; 3],
    /// The nine of them, sorted.
    sorted: [Vec<u16>; 9],
}

impl Rows {
    fn new(nx: usize) -> Self {
        let width = (nx + 2).next_multiple_of(MOST_LANES) + MOST_LANES;
        let row = || vec![0; width];
        Self {
            nx,
            upright: std::array::from_fn(|_| std::array::from_fn(|_| row())),
            sorted: std::array::from_fn(|_| row()),
        }
    }

    /// Filters a page, given itself and the pages below and above.
    #[inline(always)]
    fn page<T: Grey, L: Lanes<Value = u16>>(&mut self, source: [&[T]; 3], out: &mut [u16]) {
        let nx = self.nx;
        let ny = out.len() / nx;
        self.load::<T, L>(0, source.map(|page| &page[..nx]));
        for y in 0..ny {
            let next = (y + 1).min(ny - 1);
            if next > y {
                self.load::<T, L>(next, source.map(|page| &page[next * nx..(next + 1) * nx]));
            }
            self.sort::<L>([y.saturating_sub(1), y, next].map(|y| y % 3));
            self.median::<L>(&mut out[y * nx..(y + 1) * nx]);
        }
    }

    /// Sorts the three rows of `y` along z.
    #[inline(always)]
    fn load<T: Grey, L: Lanes<Value = u16>>(&mut self, y: usize, rows: [&[T]; 3]) {
        let nx = self.nx;
        let upright = &mut self.upright[y % 3];
        for (padded, row) in upright.iter_mut().zip(rows) {
            for (to, from) in padded[1..=nx].iter_mut().zip(row) {
                *to = from.widen();
            }
            padded[0] = padded[1];
            let last = padded[nx];
            padded[nx + 1..].fill(last);
        }
        let [low, middle, high] = upright;
        let width = low.len();
        for x in (0..width).step_by(L::COUNT) {
            let mut three = [L::load(low, x), L::load(middle, x), L::load(high, x)];
            order(&mut three, 0, 1);
            order(&mut three, 1, 2);
            order(&mut three, 0, 1);
            three[0].store(low, x);
            three[1].store(middle, x);
            three[2].store(high, x);
        }
    }

    /// Merges three sorted triples to a sorted nine, column by column.
    #[inline(always)]
    fn sort<L: Lanes<Value = u16>>(&mut self, slots: [usize; 3]) {
        let width = self.sorted[0].len();
        let [a, b, c] = slots.map(|slot| &self.upright[slot]);
        for x in (0..width).step_by(L::COUNT) {
            let mut nine = [
                L::load(&a[0], x),
                L::load(&a[1], x),
                L::load(&a[2], x),
                L::load(&b[0], x),
                L::load(&b[1], x),
                L::load(&b[2], x),
                L::load(&c[0], x),
                L::load(&c[1], x),
                L::load(&c[2], x),
            ];
            merge9(&mut nine);
            for (row, sorted) in self.sorted.iter_mut().zip(nine) {
                sorted.store(row, x);
            }
        }
    }

    #[inline(always)]
    fn median<L: Lanes<Value = u16>>(&self, out: &mut [u16]) {
        let mut x = 0;
        while x < out.len() {
            // Loops and not `map`, whose closures would not be compiled for the instruction set.
            let mut columns = [[L::load(&self.sorted[0], x); 9]; 3];
            for (shift, column) in columns.iter_mut().enumerate() {
                for (value, sorted) in column.iter_mut().zip(&self.sorted) {
                    *value = L::load(sorted, x + shift);
                }
            }
            let median = median_of_columns(columns);
            if x + L::COUNT <= out.len() {
                median.store(out, x);
            } else {
                let mut last = [0; MOST_LANES];
                median.store(&mut last, 0);
                let rest = &mut out[x..];
                rest.copy_from_slice(&last[..rest.len()]);
            }
            x += L::COUNT;
        }
    }
}

#[inline(always)]
fn order<L: Lanes, const N: usize>(values: &mut [L; N], low: usize, high: usize) {
    let (a, b) = (values[low], values[high]);
    values[low] = a.least(b);
    values[high] = a.most(b);
}

/// Sorts nine values of which each three are sorted: 16 of the 25 comparisons that any nine need.
/// Found by pruning; sorted for all 64 ways to fill the three with zeros and ones, which a test
/// repeats and which suffices (Knuth, TAOCP 3, 5.3.4, theorem Z).
#[inline(always)]
fn merge9<L: Lanes>(v: &mut [L; 9]) {
    const NETWORK: [(usize, usize); 16] = [
        (0, 3),
        (3, 6),
        (0, 3),
        (1, 4),
        (4, 7),
        (1, 4),
        (5, 8),
        (2, 5),
        (5, 8),
        (1, 3),
        (2, 4),
        (2, 6),
        (4, 6),
        (2, 3),
        (5, 7),
        (5, 6),
    ];
    for (low, high) in NETWORK {
        order(v, low, high);
    }
}

#[inline(always)]
fn median_of_columns<L: Lanes>(mut columns: [[L; 9]; 3]) -> L {
    let [left, middle, right] = &mut columns;
    for k in 0..9 {
        let (a, b, c) = (left[k], middle[k], right[k]);
        let (low, high) = (a.least(b), a.most(b));
        left[k] = low.least(c);
        middle[k] = low.most(high.least(c));
        right[k] = high.most(c);
    }
    // Outer candidates: two sorted fours, merged to a sorted eight (odd-even merge).
    let mut outer = [left[5], left[6], left[7], left[8], right[0], right[1], right[2], right[3]];
    for (low, high) in [(0, 4), (1, 5), (2, 6), (3, 7), (2, 4), (3, 5), (1, 2), (3, 4), (5, 6)] {
        order(&mut outer, low, high);
    }
    // Seventh of the sorted eight and the sorted five: the least of max(outer[i], inner[j]) over
    // i + j = 7, counting from one.
    let inner = [middle[2], middle[3], middle[4], middle[5], middle[6]];
    let mut median = outer[6];
    for (j, inner) in inner.into_iter().enumerate() {
        median = median.least(outer[5 - j].most(inner));
    }
    median
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(data: &[u16], shape: [usize; 3]) -> Vec<u16> {
        let [nz, ny, nx] = shape;
        let clamp = |i: usize, d: usize, n: usize| (i + d).saturating_sub(1).min(n - 1);
        let mut out = Vec::new();
        for z in 0..nz {
            for y in 0..ny {
                for x in 0..nx {
                    let mut all = Vec::new();
                    for k in 0..27 {
                        let (c, b, a) = (k / 9, k / 3 % 3, k % 3);
                        let (z, y, x) = (clamp(z, c, nz), clamp(y, b, ny), clamp(x, a, nx));
                        all.push(data[(z * ny + y) * nx + x]);
                    }
                    all.sort_unstable();
                    out.push(all[13]);
                }
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn agrees_with_sorting(
            shape in [1..5usize, 1..5usize, 1..40usize],
            values in prop::collection::vec(any::<u16>(), 5 * 5 * 40),
            levels in 2..=u16::MAX,
        ) {
            let len = shape.iter().product();
            let data: Vec<u16> = values[..len].iter().map(|v| v % levels).collect();
            let wanted = plain(&data, shape);
            for set in InstructionSet::available() {
                // Not zeros, so that a voxel that is not written shows.
                let mut out = vec![77; len];
                filter(set, &data, shape, &mut out);
                prop_assert_eq!(&out, &wanted);
            }
        }
    }

    #[test]
    fn a_single_outlier_is_removed() {
        let mut data = vec![7u8; 27];
        data[13] = 255;
        assert_eq!(median3(&data, [3, 3, 3]).unwrap(), vec![7 << 8; 27]);
        assert!(median3(&data, [3, 3, 4]).is_err());
        assert!(median3_into(&data, [3, 3, 3], &mut [0; 26]).is_err());
    }

    #[test]
    fn three_sorted_threes_merge() {
        for ones in (0..64).map(|k| [k / 16, k / 4 % 4, k % 4]) {
            let mut nine: [Plain; 9] = std::array::from_fn(|k| {
                let one = k % 3 >= 3 - ones[k / 3];
                Plain::load(&[u16::from(one); 8], 0)
            });
            merge9(&mut nine);
            let total: usize = ones.iter().sum();
            for (k, lanes) in nine.into_iter().enumerate() {
                let mut row = [9; 8];
                lanes.store(&mut row, 0);
                assert_eq!(row, [u16::from(k >= 9 - total); 8], "{ones:?}");
            }
        }
    }
}
