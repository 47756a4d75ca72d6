//! Phase → two-point probability function S2, by the Fourier transform.
//!
//! S2(r) is the probability that two voxels r apart both lie in the phase: S2(0) is the volume
//! fraction, and far apart, without order, it tends to its square (Torquato 2002, Random
//! Heterogeneous Materials, 2.2). All pairs are counted at once as the autocorrelation of the
//! phase. A radial mean asks for no more than the mean of the eight lags that differ only in
//! signs; the power spectrum is folded likewise, so that an eighth of it is transformed back.
//! Single precision: errors stay near 1e-7 of S2(0).

use crate::ImagingError;
use crate::arguments::check_range;
use crate::fourier::{Block, COLUMNS, Scratch, Transform};
use crate::measure::power::{folded_power, room_for_power};
use crate::memory::zeroed;
use crate::segment::Bits;
use rayon::prelude::*;

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
/// bytes per voxel of the volume, enlarged if it is not periodic, and half a byte more.
pub fn two_point(phase: &Bits, options: &TwoPointOptions) -> Result<TwoPoint, ImagingError> {
    two_point_in(phase, options, &mut Vec::new())
}

/// The same in memory that is there already, whatever it holds, which spares the first touch of
/// new memory. What is too short is replaced.
pub fn two_point_in(
    phase: &Bits,
    options: &TwoPointOptions,
    room: &mut Vec<f32>,
) -> Result<TwoPoint, ImagingError> {
    let shape = phase.shape();
    let enlarged = enlarged(shape, options)?;
    if room.len() < room_for_power(enlarged) {
        *room = zeroed(room_for_power(enlarged));
    }
    let power = folded_power(phase, enlarged, (options.max_lag, room));
    let scale = Scale::new(enlarged, shape, options);
    Ok(gather(&power.lags(&scale), options.max_lag))
}

/// As much memory as [`two_point_in`] needs, in huge pages; until then it may serve for other
/// volumes. Refuses what [`two_point`] refuses.
pub fn two_point_room(
    shape: [usize; 3],
    options: &TwoPointOptions,
) -> Result<Vec<f32>, ImagingError> {
    Ok(zeroed(room_for_power(enlarged(shape, options)?)))
}

/// The volume to transform; refuses a largest lag of half the shortest axis or more.
fn enlarged(shape: [usize; 3], options: &TwoPointOptions) -> Result<[usize; 3], ImagingError> {
    let shortest = shape.into_iter().fold(usize::MAX, usize::min);
    let most = shortest.saturating_sub(1) / 2;
    check_range("max_lag", options.max_lag as f64, [0.0, most as f64], "voxels")?;
    Ok(if options.periodic { shape } else { shape.map(|n| quick(n + options.max_lag)) })
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

/// Folded power of a volume, transformed back along y and x: for each frequency along z the lags
/// (y, x), sixteen x together.
pub(super) struct FoldedPower {
    /// Values along z of the whole transform.
    pub(super) len: usize,
    /// Blocks of x in a row.
    pub(super) groups: usize,
    /// By frequency along z, y, x.
    pub(super) values: Vec<[f32; COLUMNS]>,
}

impl FoldedPower {
    /// Transforms back along z and sums the lags of each y.
    fn lags(&self, scale: &Scale) -> Vec<LagPage> {
        let rows = scale.lag + 1;
        let transform = Transform::new(self.len);
        (0..rows)
            .into_par_iter()
            .map_init(
                || (vec![Block::default(); self.len], Scratch::default()),
                |(columns, scratch), y| {
                    let mut page = LagPage::new(scale.lag);
                    for group in (0..self.groups).step_by(2) {
                        // Two real and even columns, one of them as the imaginary part.
                        let second = (group + 1).min(self.groups - 1);
                        for k in 0..=self.len / 2 {
                            let row = (k * rows + y) * self.groups;
                            let (re, im) = (self.values[row + group], self.values[row + second]);
                            columns[k] = Block { re, im };
                            if k > 0 {
                                columns[self.len - k] = Block { re, im };
                            }
                        }
                        transform.apply(columns, scratch);
                        for (z, block) in columns.iter().enumerate().take(rows) {
                            page.add(scale, [z, y, group * COLUMNS], &block.re);
                            if second > group {
                                page.add(scale, [z, y, second * COLUMNS], &block.im);
                            }
                        }
                    }
                    page
                },
            )
            .collect()
    }
}

/// Sums of S2 over the lags of one y: by distance, and along the axes.
struct LagPage {
    sums: Vec<[f64; 2]>,
    along: [Vec<(usize, f64)>; 3],
}

/// What turns sums of the inverse transform into probabilities by lag.
struct Scale {
    lag: usize,
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
        Self { lag, rounded, along }
    }
}

impl LagPage {
    fn new(lag: usize) -> Self {
        Self { sums: vec![[0.0; 2]; lag + 1], along: std::array::from_fn(|_| Vec::new()) }
    }

    /// Adds the lags from (z, y, x) on along x, each the mean of its mirror images.
    fn add(&mut self, scale: &Scale, [z, y, x]: [usize; 3], values: &[f32; COLUMNS]) {
        let [along_z, along_y, along_x] = &scale.along;
        let unit = along_z[z] * along_y[y];
        let images = |lag: usize| if lag == 0 { 1.0 } else { 2.0 };
        let aside = images(z) * images(y);
        let square = z * z + y * y;
        for ((x, &value), &along) in (x..).zip(values).zip(along_x.iter().skip(x)) {
            let value = f64::from(value) * unit * along;
            if let Some(&length) = scale.rounded.get(square + x * x) {
                let [sum, count] = &mut self.sums[length as usize];
                *sum += aside * images(x) * value;
                *count += aside * images(x);
            }
            for (axis, [lag, one, other]) in
                [[z, y, x], [y, z, x], [x, z, y]].into_iter().enumerate()
            {
                if one == 0 && other == 0 {
                    self.along[axis].push((lag, value));
                }
            }
        }
    }
}

/// Sums in the order of the pages, so that the result does not depend on the threads.
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
            // Not zeros, so that what is not written shows.
            let mut room = two_point_room(shape, &options).unwrap();
            room.fill(f32::NAN);
            let before = room.as_ptr();
            prop_assert_eq!(&two_point_in(&bits, &options, &mut room).unwrap(), &found);
            prop_assert_eq!(room.as_ptr(), before);
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
