//! Two-point statistics of the pore phase: autocovariance at physical lags, mean chords, height
//! profile. All from the bits, non-periodic, pairs outside the part not counted.

use crate::segment::bits::{Bits, both, pairs, shifted};
use crate::segment::part::Part;
use crate::simd::{InstructionSet, vectorised};
use rayon::prelude::*;

/// Lags along z, in µm.
pub(crate) const LAGS_Z_UM: [f64; 7] = [10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 130.0];
/// Lags across z, in µm.
pub(crate) const LAGS_XY_UM: [f64; 9] = [10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 130.0, 160.0, 200.0];
/// A lag is available up to this share of the extent it lies along.
const LARGEST_LAG: f64 = 0.6;
/// Directions in a slice, over half a turn.
const DIRECTIONS: usize = 8;
/// Lags, evenly spaced up to half the extent, at which a rise is looked for.
const RISE_LAGS: usize = 32;
/// At most about this many slices enter the lateral statistics.
const SLICES: usize = 96;

/// Pore phase with the part it lies in, both as bits.
pub(crate) struct Phase<'a> {
    pores: &'a Bits,
    columns: Bits,
    part_columns: u64,
    pore_voxels: u64,
}

impl<'a> Phase<'a> {
    /// Takes the pore phase of a part.
    pub(crate) fn new(pores: &'a Bits, part: &Part) -> Self {
        let (columns, part_columns) = (part.page(), part.columns());
        Self { pores, columns, part_columns, pore_voxels: pores.count() }
    }

    /// Normalised autocovariance (1 at lag 0, 0 without correlation) along z at
    /// [`LAGS_Z_UM`]; 0 where not available.
    pub(crate) fn along_z(&self, voxel_um: f64) -> [f64; 7] {
        let nz = self.pores.shape()[0];
        LAGS_Z_UM.map(|lag| {
            let lag = lag / voxel_um;
            if self.pore_voxels == 0 || lag > LARGEST_LAG * nz as f64 {
                return 0.0;
            }
            let (whole, rest) = (lag.floor() as usize, lag.fract());
            let near = self.covariance_z(whole);
            if rest == 0.0 {
                near
            } else {
                near * (1.0 - rest) + rest * self.covariance_z(whole + 1)
            }
        })
    }

    fn covariance_z(&self, lag: usize) -> f64 {
        let nz = self.pores.shape()[0];
        let set = InstructionSet::detect();
        let hits: u64 = (0..nz.saturating_sub(lag))
            .into_par_iter()
            .map(|z| {
                vectorised(
                    set,
                    #[inline(always)]
                    || both(self.pores.page(z), self.pores.page(z + lag)),
                )
            })
            .sum();
        self.normalised(hits, self.part_columns * (nz - lag.min(nz)) as u64)
    }

    fn normalised(&self, hits: u64, possible: u64) -> f64 {
        let phi = self.porosity();
        let variance = phi * (1.0 - phi);
        if possible == 0 || variance <= 0.0 {
            return 0.0;
        }
        ((hits as f64 / possible as f64 - phi * phi) / variance).clamp(-1.0, 1.0)
    }

    fn porosity(&self) -> f64 {
        let voxels = self.part_columns * self.pores.shape()[0] as u64;
        self.pore_voxels as f64 / voxels.max(1) as f64
    }

    /// The same within slices at [`LAGS_XY_UM`], mean over directions.
    pub(crate) fn across_z(&self, voxel_um: f64) -> [f64; 9] {
        let [nz, ny, nx] = self.pores.shape();
        let step = nz.div_ceil(SLICES).max(1);
        let slices: Vec<usize> = (0..nz).step_by(step).collect();
        LAGS_XY_UM.map(|lag| {
            let lag = lag / voxel_um;
            if self.pore_voxels == 0 || lag > LARGEST_LAG * ny.min(nx) as f64 {
                return 0.0;
            }
            let mut offsets: Vec<(usize, isize)> = (0..DIRECTIONS)
                .map(|k| {
                    let angle = std::f64::consts::PI * k as f64 / DIRECTIONS as f64;
                    ((lag * angle.sin()).round() as usize, (lag * angle.cos()).round() as isize)
                })
                .collect();
            offsets.sort_unstable();
            offsets.dedup();
            let (hits, possible) = offsets
                .par_iter()
                .map(|&(dy, dx)| self.slice_pairs(&slices, dy, dx))
                .reduce(|| (0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
            self.normalised(hits, possible)
        })
    }

    /// Largest rise of the autocovariance from one lag to a longer one, along z; 0 without pores.
    /// A random phase falls and stays; a regular one comes back.
    pub(crate) fn rise_along_z(&self) -> f64 {
        self.rise(self.pores.shape()[0], |lag| self.covariance_z(lag))
    }

    /// The same along y and along x.
    pub(crate) fn rises_across_z(&self) -> [f64; 2] {
        let [nz, ny, nx] = self.pores.shape();
        let step = nz.div_ceil(SLICES).max(1);
        let slices: Vec<usize> = (0..nz).step_by(step).collect();
        let covariance = |dy, dx| {
            let (hits, possible) = self.slice_pairs(&slices, dy, dx);
            self.normalised(hits, possible)
        };
        [self.rise(ny, |lag| covariance(lag, 0)), self.rise(nx, |lag| covariance(0, lag as isize))]
    }

    fn rise(&self, extent: usize, covariance: impl Fn(usize) -> f64 + Send + Sync) -> f64 {
        if self.pore_voxels == 0 {
            return 0.0;
        }
        let longest = extent / 2;
        let step = longest.div_ceil(RISE_LAGS).max(1);
        let lags: Vec<usize> = (1..=longest).step_by(step).collect();
        let values: Vec<f64> = lags.into_par_iter().map(covariance).collect();
        let (mut least, mut rise) = (1.0f64, 0.0f64);
        for value in values {
            least = least.min(value);
            rise = rise.max(value - least);
        }
        rise
    }

    fn slice_pairs(&self, slices: &[usize], dy: usize, dx: isize) -> (u64, u64) {
        let ny = self.pores.shape()[1];
        let of_page = |bits: &Bits, z: usize| {
            let rows = (0..ny.saturating_sub(dy)).map(|y| [bits.row(z, y), bits.row(z, y + dy)]);
            vectorised(
                InstructionSet::detect(),
                #[inline(always)]
                || rows.map(|[near, far]| pairs(near, far, dx)).sum::<u64>(),
            )
        };
        let hits = slices.iter().map(|&z| of_page(self.pores, z)).sum();
        (hits, of_page(&self.columns, 0) * slices.len() as u64)
    }

    /// Mean length in voxels of chords in pores, along z and across z (mean of both). Chords cut
    /// by the border count as they are.
    pub(crate) fn mean_chords(&self) -> Option<[f64; 2]> {
        if self.pore_voxels == 0 {
            return None;
        }
        let [nz, ny, _] = self.pores.shape();
        let starts = (0..nz)
            .into_par_iter()
            .map(|z| {
                let mut starts = [0u64; 3];
                for y in 0..ny {
                    let row = self.pores.row(z, y);
                    for (w, &word) in row.iter().enumerate().filter(|(_, word)| **word != 0) {
                        let below = if z > 0 { self.pores.row(z - 1, y)[w] } else { 0 };
                        let before = if y > 0 { self.pores.row(z, y - 1)[w] } else { 0 };
                        let left = shifted(row, w, -1);
                        for (start, previous) in starts.iter_mut().zip([below, before, left]) {
                            *start += u64::from((word & !previous).count_ones());
                        }
                    }
                }
                starts
            })
            .reduce(|| [0; 3], |a, b| std::array::from_fn(|i| a[i] + b[i]));
        let [z, y, x] = starts.map(|starts| self.pore_voxels as f64 / starts.max(1) as f64);
        Some([z, (y + x) / 2.0])
    }

    /// Porosity of each slice.
    pub(crate) fn profile(&self) -> Vec<f64> {
        let area = self.part_columns.max(1) as f64;
        (0..self.pores.shape()[0]).map(|z| self.pores.count_page(z) as f64 / area).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn striped(period: usize) -> Bits {
        let mut bits = Bits::new([60, 20, 70]);
        for z in 0..60 {
            for y in 0..20 {
                if z % period < period / 2 {
                    bits.fill(z * 20 + y, 0, 70);
                }
            }
        }
        bits
    }

    #[test]
    fn layers_repeat_along_z_and_never_across() {
        let bits = striped(12);
        let part = Part::whole([60, 20, 70]);
        let phase = Phase::new(&bits, &part);
        // Voxel 5 µm: the lag of 60 µm is one period, 30 µm half of one.
        let z = phase.along_z(5.0);
        assert!((z[4] - 1.0).abs() < 1e-9, "{z:?}");
        assert!((z[2] + 1.0).abs() < 0.05, "{z:?}");
        assert_eq!(z[6], 0.0f64.max(z[6]));
        assert!(phase.across_z(5.0)[..3].iter().all(|s| (s - 1.0).abs() < 1e-9));
        assert_eq!(phase.mean_chords(), Some([6.0, 45.0]));
        assert_eq!(phase.profile()[..7], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn nothing_is_zero_and_finite() {
        let bits = Bits::new([8, 8, 8]);
        let part = Part::whole([8, 8, 8]);
        let phase = Phase::new(&bits, &part);
        assert_eq!(phase.along_z(5.0), [0.0; 7]);
        assert_eq!(phase.across_z(5.0), [0.0; 9]);
        assert_eq!(phase.mean_chords(), None);
    }
}
