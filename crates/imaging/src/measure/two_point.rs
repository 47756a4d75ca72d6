//! Phase → two-point probability function S2, by the Fourier transform.
//!
//! S2(r) is the probability that two voxels r apart both lie in the phase: S2(0) is the volume
//! fraction, and far apart, without order, it tends to its square (Torquato 2002, Random
//! Heterogeneous Materials, 2.2). All pairs are counted at once as the autocorrelation of the
//! phase. Two real rows go through one complex transform; only the half of the lags that symmetry
//! does not give is transformed back. Single precision: errors stay near 1e-7 of S2(0).

use crate::ImagingError;
use crate::arguments::check_range;
use crate::memory::zeroed;
use crate::segment::Bits;
use rayon::prelude::*;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};
use std::sync::Arc;

/// Columns gathered together for the transforms along z: one cache line.
const GATHERED: usize = 8;
/// Smallest factor of an axis that transforms quickly is what remains when these are taken out.
const QUICK: [usize; 3] = [2, 3, 5];

/// How S2 is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwoPointOptions {
    /// Largest lag in voxels, below half of the shortest axis.
    pub max_lag: usize,
    /// Whether the volume repeats beyond its edges. Otherwise pairs that reach beyond are left
    /// out, which takes a volume enlarged by `max_lag`.
    pub periodic: bool,
}

/// Two-point probabilities at whole lags from 0 to the largest.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoPoint {
    /// Mean over all lag vectors whose length rounds to the lag.
    pub radial: Vec<f64>,
    /// Along z, y and x.
    pub along: [Vec<f64>; 3],
}

/// Counts the pairs of a phase. Refuses a largest lag of half the shortest axis or more. Takes 4
/// bytes per voxel of the volume, enlarged if it is not periodic.
pub fn two_point(phase: &Bits, options: &TwoPointOptions) -> Result<TwoPoint, ImagingError> {
    let shape = phase.shape();
    let shortest = shape.into_iter().fold(usize::MAX, usize::min);
    let most = (shortest - 1) / 2;
    check_range("max_lag", options.max_lag as f64, [0.0, most as f64], "voxels")?;
    let enlarged = if options.periodic { shape } else { shape.map(|n| quick(n + options.max_lag)) };
    let mut spectrum = Spectrum::new(enlarged);
    spectrum.forward(phase);
    spectrum.power_along_z();
    let pages = spectrum.lags(shape, options);
    Ok(gather(&pages, options.max_lag))
}

/// The next number from `n` on without large prime factors.
fn quick(n: usize) -> usize {
    let mut n = n;
    loop {
        let mut rest = n;
        for factor in QUICK {
            while rest.is_multiple_of(factor) {
                rest /= factor;
            }
        }
        if rest == 1 {
            return n;
        }
        n += 1;
    }
}

/// Transform of a real volume: the half of the frequencies along x that determines the rest.
struct Spectrum {
    shape: [usize; 3],
    half: usize,
    values: Vec<Complex<f32>>,
    /// Forward and inverse transforms along z, y, x.
    forward: [Arc<dyn Fft<f32>>; 3],
    inverse: [Arc<dyn Fft<f32>>; 3],
}

/// Sums of S2 over the lags of one height: by distance, and along the axes.
struct LagPage {
    sums: Vec<[f64; 2]>,
    along: [Vec<(usize, f64)>; 3],
}

type Row<'a> = &'a mut [Complex<f32>];

impl Spectrum {
    fn new(shape: [usize; 3]) -> Self {
        let mut planner = FftPlanner::new();
        let forward = shape.map(|n| planner.plan_fft_forward(n));
        let inverse = shape.map(|n| planner.plan_fft_inverse(n));
        let half = shape[2] / 2 + 1;
        Self { shape, half, values: zeroed(shape[0] * shape[1] * half), forward, inverse }
    }

    /// Transforms the phase along x and y.
    fn forward(&mut self, phase: &Bits) {
        let [_, ny, nx] = self.shape;
        let [pages, rows, columns] = phase.shape();
        let half = self.half;
        let [_, along_y, along_x] = &self.forward;
        self.values.par_chunks_mut(ny * half).take(pages).enumerate().for_each_init(
            || Work::new(nx, ny, &[along_y, along_x]),
            |work, (z, page)| {
                for (pair, two) in page.chunks_mut(2 * half).enumerate().take(rows.div_ceil(2)) {
                    work.pair.fill(Complex::default());
                    for (k, y) in (2 * pair..(2 * pair + 2).min(rows)).enumerate() {
                        phase.runs_of_row(z, y, |start, end| {
                            let run = &mut work.pair[start as usize..(end as usize).min(columns)];
                            run.iter_mut()
                                .for_each(|v| if k == 0 { v.re = 1.0 } else { v.im = 1.0 });
                        });
                    }
                    along_x.process_with_scratch(&mut work.pair, &mut work.scratch);
                    part_pair(&work.pair, two.chunks_mut(half));
                }
                work.along_y(along_y, page, half);
            },
        );
    }

    /// Transforms along z, takes the squared magnitude and transforms back; only the heights up
    /// to half are right afterwards, the others follow from symmetry.
    fn power_along_z(&mut self) {
        let [nz, ny, _] = self.shape;
        let half = self.half;
        let along_z = &self.forward[0];
        // The rows of each y, bottom to top.
        let mut upright: Vec<Vec<Row<'_>>> = Vec::new();
        upright.resize_with(ny, || Vec::with_capacity(nz));
        for page in self.values.chunks_mut(ny * half) {
            upright.iter_mut().zip(page.chunks_mut(half)).for_each(|(rows, row)| rows.push(row));
        }
        upright.into_par_iter().for_each_init(
            || Work::new(nz, GATHERED, &[along_z]),
            |work, mut rows| {
                for first in (0..half).step_by(GATHERED) {
                    let columns = first..(first + GATHERED).min(half);
                    work.power(along_z, &mut rows, columns, nz);
                }
            },
        );
    }

    /// Transforms back along y and x and sums the pairs of each height up to the largest lag.
    fn lags(&mut self, shape: [usize; 3], options: &TwoPointOptions) -> Vec<LagPage> {
        let [nz, ny, nx] = self.shape;
        let (half, lag) = (self.half, options.max_lag);
        let [_, along_y, along_x] = &self.inverse;
        let scale = Scale::new([nz, ny, nx], shape, options);
        self.values
            .par_chunks_mut(ny * half)
            .take(lag + 1)
            .enumerate()
            .map_init(
                || Work::new(nx, ny, &[along_y, along_x]),
                |work, (z, page)| {
                    work.along_y(along_y, page, half);
                    let mut sums = LagPage::new(lag);
                    let row = |dy: isize| {
                        let y = dy.rem_euclid(ny as isize) as usize;
                        &page[y * half..(y + 1) * half]
                    };
                    for dy in (-(lag as isize)..=lag as isize).step_by(2) {
                        // The last row has no partner but itself.
                        let next = (dy + 1).min(lag as isize);
                        work.rows_back(along_x, [row(dy), row(next)]);
                        sums.add_row(&scale, [z as isize, dy], |x| work.pair[x].re);
                        if next > dy {
                            sums.add_row(&scale, [z as isize, next], |x| work.pair[x].im);
                        }
                    }
                    sums
                },
            )
            .collect()
    }
}

/// What turns sums of the inverse transform into probabilities by lag.
struct Scale {
    lag: usize,
    /// Values in a transformed row.
    row: usize,
    /// Lag that the square root of a squared length rounds to.
    rounded: Vec<u32>,
    /// One over the possible pairs at each lag along z, y and x.
    along: [Vec<f64>; 3],
}

impl Scale {
    fn new(transformed: [usize; 3], shape: [usize; 3], options: &TwoPointOptions) -> Self {
        let lag = options.max_lag;
        // A length rounds to at most the largest lag as long as its square is at most this.
        let rounded = (0..=lag * lag + lag).map(|s| (s as f64).sqrt().round() as u32).collect();
        let along = std::array::from_fn(|k| {
            let possible = |d: usize| if options.periodic { shape[k] } else { shape[k] - d };
            // The transforms there and back multiply by the number of values.
            (0..=lag).map(|d| 1.0 / (possible(d) as f64 * transformed[k] as f64)).collect()
        });
        Self { lag, row: transformed[2], rounded, along }
    }
}

/// Transform of two real rows `a + i b` → the first parts of their transforms, as far as `rows`
/// reach.
fn part_pair<'a>(pair: &[Complex<f32>], rows: impl Iterator<Item = Row<'a>>) {
    // The mirror image of frequency 0 is itself.
    let mirrors = || pair.first().into_iter().chain(pair.iter().rev()).map(Complex::conj);
    for (which, row) in rows.enumerate() {
        for (value, (here, mirror)) in row.iter_mut().zip(pair.iter().zip(mirrors())) {
            *value = if which == 0 {
                (here + mirror) * 0.5
            } else {
                let difference = (here - mirror) * 0.5;
                Complex::new(difference.im, -difference.re)
            };
        }
    }
}

/// What one task transforms in.
struct Work {
    pair: Vec<Complex<f32>>,
    gathered: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Work {
    fn new(row: usize, columns: usize, transforms: &[&Arc<dyn Fft<f32>>]) -> Self {
        let scratch = transforms.iter().map(|t| t.get_inplace_scratch_len()).max().unwrap_or(0);
        let zeros = |n: usize| vec![Complex::default(); n];
        Self {
            pair: zeros(row),
            gathered: zeros(columns * GATHERED.max(row)),
            scratch: zeros(scratch),
        }
    }

    /// Transforms the columns of a page in place.
    fn along_y(&mut self, along_y: &Arc<dyn Fft<f32>>, page: Row<'_>, half: usize) {
        let ny = page.len() / half;
        for first in (0..half).step_by(GATHERED) {
            let count = GATHERED.min(half - first);
            let gathered = &mut self.gathered[..ny * count];
            for (y, row) in page.chunks(half).enumerate() {
                for (k, value) in row[first..first + count].iter().enumerate() {
                    gathered[k * ny + y] = *value;
                }
            }
            along_y.process_with_scratch(gathered, &mut self.scratch);
            for (y, row) in page.chunks_mut(half).enumerate() {
                for (k, value) in row[first..first + count].iter_mut().enumerate() {
                    *value = gathered[k * ny + y];
                }
            }
        }
    }

    /// Power of the columns along z, transformed back: the transform of the real power is the
    /// conjugate of what the inverse gives, and two columns share one.
    fn power(
        &mut self,
        along_z: &Arc<dyn Fft<f32>>,
        rows: &mut [Row<'_>],
        columns: std::ops::Range<usize>,
        nz: usize,
    ) {
        let count = columns.len();
        let gathered = &mut self.gathered[..nz * count];
        for (z, row) in rows.iter().enumerate() {
            for (k, value) in row[columns.clone()].iter().enumerate() {
                gathered[k * nz + z] = *value;
            }
        }
        along_z.process_with_scratch(gathered, &mut self.scratch);
        let kept = nz / 2 + 1;
        for (pair, two) in gathered.chunks_mut(2 * nz).enumerate() {
            for z in 0..nz {
                let second = two.get(nz + z).map_or(0.0, Complex::norm_sqr);
                self.pair[z] = Complex::new(two[z].norm_sqr(), second);
            }
            along_z.process_with_scratch(&mut self.pair, &mut self.scratch);
            part_pair(&self.pair, two.chunks_mut(nz).map(|column| &mut column[..kept]));
            for (k, column) in two.chunks(nz).enumerate() {
                for (row, value) in rows.iter_mut().zip(column).take(kept) {
                    row[columns.start + 2 * pair + k] = value.conj();
                }
            }
        }
    }

    /// Transforms two half rows back along x: the real parts of `pair` are the first, the imaginary
    /// parts the second.
    fn rows_back(&mut self, along_x: &Arc<dyn Fft<f32>>, rows: [&[Complex<f32>]; 2]) {
        let n = self.pair.len();
        let [first, second] = rows;
        for (k, (a, b)) in first.iter().zip(second).enumerate() {
            self.pair[k] = Complex::new(a.re - b.im, a.im + b.re);
            if k > 0 {
                self.pair[n - k] = Complex::new(a.re + b.im, b.re - a.im);
            }
        }
        along_x.process_with_scratch(&mut self.pair, &mut self.scratch);
    }
}

impl LagPage {
    fn new(lag: usize) -> Self {
        Self { sums: vec![[0.0; 2]; lag + 1], along: std::array::from_fn(|_| Vec::new()) }
    }

    /// Adds the lags (z, y, ·), whose pairs `pairs` tells by place along x.
    fn add_row(&mut self, scale: &Scale, [z, y]: [isize; 2], pairs: impl Fn(usize) -> f32) {
        let [along_z, along_y, along_x] = &scale.along;
        let aside = (z * z + y * y) as usize;
        let unit = along_z[z.unsigned_abs()] * along_y[y.unsigned_abs()];
        // The lags below the plane are those above it, mirrored.
        let weight = if z == 0 { 1.0 } else { 2.0 };
        if let Some(left) = scale.rounded.len().checked_sub(aside + 1) {
            let reach = left.isqrt().min(scale.lag) as isize;
            for x in -reach..=reach {
                let place = if x < 0 { scale.row.wrapping_add_signed(x) } else { x as usize };
                let value = f64::from(pairs(place)) * unit * along_x[x.unsigned_abs()];
                let length = scale.rounded[aside + x.unsigned_abs().pow(2)];
                let [sum, count] = &mut self.sums[length as usize];
                *sum += weight * value;
                *count += weight;
            }
        }
        let first = f64::from(pairs(0)) * unit * along_x[0];
        if y == 0 {
            self.along[0].push((z as usize, first));
        }
        if z == 0 && y >= 0 {
            self.along[1].push((y as usize, first));
        }
        if z == 0 && y == 0 {
            let along = |x: usize| f64::from(pairs(x)) * unit * along_x[x];
            self.along[2].extend((0..=scale.lag).map(|x| (x, along(x))));
        }
    }
}

/// Sums in the order of the heights, so that the result does not depend on the threads.
fn gather(pages: &[LagPage], max_lag: usize) -> TwoPoint {
    let mut sums = vec![[0.0f64; 2]; max_lag + 1];
    let mut along: [Vec<f64>; 3] = std::array::from_fn(|_| vec![0.0; max_lag + 1]);
    for page in pages {
        for (total, add) in sums.iter_mut().zip(&page.sums) {
            total[0] += add[0];
            total[1] += add[1];
        }
        for (out, values) in along.iter_mut().zip(&page.along) {
            values.iter().for_each(|&(lag, value)| out[lag] = value);
        }
    }
    let radial = sums.iter().map(|[sum, count]| sum / count.max(1.0)).collect();
    TwoPoint { radial, along }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(bits: &Bits, offset: [isize; 3], periodic: bool) -> f64 {
        let shape = bits.shape();
        let mut pairs = 0u32;
        for i in 0..shape.iter().product() {
            let at = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
            let to: [usize; 3] = std::array::from_fn(|k| {
                let to = at[k] as isize + offset[k];
                let n = shape[k] as isize;
                if periodic {
                    to.rem_euclid(n) as usize
                } else {
                    usize::try_from(to).unwrap_or(usize::MAX)
                }
            });
            pairs += u32::from(bits.contains(at) && bits.contains(to));
        }
        let possible =
            |k: usize| (shape[k] - if periodic { 0 } else { offset[k].unsigned_abs() }) as f64;
        f64::from(pairs) / (possible(0) * possible(1) * possible(2))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn agrees_with_counting(
            shape in [7..12usize, 7..12usize, 7..14usize],
            values in prop::collection::vec(prop::bool::weighted(0.3), 11 * 11 * 13),
            periodic: bool,
        ) {
            let bits = Bits::from_mask(&values[..shape.iter().product()], shape).unwrap();
            let options = TwoPointOptions { max_lag: 3, periodic };
            let found = two_point(&bits, &options).unwrap();
            let mut sums = [[0.0; 2]; 4];
            for i in 0..343isize {
                let offset = [i / 49 - 3, i / 7 % 7 - 3, i % 7 - 3];
                let far = offset.iter().map(|d| (d * d) as f64).sum::<f64>().sqrt().round() as usize;
                if far <= 3 {
                    sums[far][0] += counted(&bits, offset, periodic);
                    sums[far][1] += 1.0;
                }
            }
            for (lag, [sum, count]) in sums.into_iter().enumerate() {
                prop_assert!((found.radial[lag] - sum / count).abs() < 1e-5);
                for axis in 0..3 {
                    let mut offset = [0; 3];
                    offset[axis] = lag as isize;
                    let wanted = counted(&bits, offset, periodic);
                    prop_assert!((found.along[axis][lag] - wanted).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn lags_beyond_half_are_refused() {
        let bits = Bits::from_mask(&[true; 512], [8; 3]).unwrap();
        assert!(two_point(&bits, &TwoPointOptions { max_lag: 4, periodic: true }).is_err());
        let full = two_point(&bits, &TwoPointOptions { max_lag: 3, periodic: false }).unwrap();
        assert!(full.radial.iter().all(|p| (p - 1.0).abs() < 1e-5), "{full:?}");
    }
}
