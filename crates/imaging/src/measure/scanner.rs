//! Grey values of a part → the statistics of the scanner that made them: noise and its correlation,
//! grey of pore cores, width of edges, shading and what stands still along the build direction.
//!
//! Made to compare simulated scans with real ones by one and the same yardstick, so it takes no
//! pores from anyone: a pore is what stays 20 % darker than solid after a light blur. Blind to the
//! real shape of pores: rough or powder-filled ones read as wider edges on both sides alike.

use crate::arguments::check_shape;
use crate::filter::gaussian;
use crate::filter::trend::remove_trend;
use crate::segment::bits::Bits;
use crate::segment::squared_distance;
use crate::{ImagingError, filter};

/// Least voxels along every axis: what the lags and margins need.
pub const LEAST_SCANNER_AXIS: usize = 24;
/// Blur that tells a pore from noise, voxels.
const PORE_BLUR: f64 = 1.0;
/// Relative grey below which a blurred voxel is in a pore: halfway to a core of 0.6.
const PORE_BELOW: f32 = 0.8;
/// A wider blur, voxels, and the relative grey below which it tells of partly fused metal that is
/// no pore and no solid either. Noise of 3 % blurred so wide has a standard deviation of 0.4 %.
const HAZE_BLUR: f64 = 3.0;
const HAZE_BELOW: f32 = 0.985;
/// Distance from any pore at which voxels count as undisturbed solid, voxels.
const CLEAR: u32 = 9;
/// Depth in a pore at which a voxel belongs to its core, voxels; the deepest with enough voxels.
const CORES: [u32; 3] = [5, 4, 3];
/// Fewest voxels a core is averaged over.
const FEWEST_CORE: usize = 200;
/// Reach of the edge profile into the pore and into the solid, voxels.
const EDGE: [i32; 2] = [6, 12];

/// What a scan shows of its scanner. Everything is relative to the grey of solid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScannerStatistics {
    /// Standard deviation of the noise in solid.
    pub noise: f64,
    /// Correlation of the noise at 1 and 2 voxels within a slice.
    pub in_plane: [f64; 2],
    /// Correlation of the noise at 1, 2 and 3 slices.
    pub along_z: [f64; 3],
    /// Grey of pore cores; absent without a pore wide enough to have one.
    pub pore_core: Option<f64>,
    /// Distance over which grey rises from 10 to 90 % of the way from core to solid, across the
    /// surface of all pores, voxels; absent like the core.
    pub edge_width: Option<f64>,
    /// Relative change of the slow trend from the middle to the rim of the slices.
    pub fall_off: f64,
    /// Standard deviation of what stands still along z, as rings do, the slow trend removed.
    pub standing: f64,
}

/// Measures a (z, y, x) volume that the part fills. Refuses an axis below [`LEAST_SCANNER_AXIS`]
/// and a constant volume.
pub fn scanner_statistics(
    grey: &[u16],
    shape: [usize; 3],
) -> Result<ScannerStatistics, ImagingError> {
    check_shape(shape, grey.len())?;
    if shape.iter().any(|&n| n < LEAST_SCANNER_AXIS) {
        let [z, y, x] = shape;
        return Err(ImagingError::TooSmall {
            shape: format!("{z} x {y} x {x}"),
            least: LEAST_SCANNER_AXIS,
        });
    }
    let mut flat = grey.to_vec();
    remove_trend(&mut flat, shape)?;
    let solid_level = f64::from(filter::level_at(&filter::histogram(&flat), 0.5));
    if solid_level <= 0.0 || flat.iter().all(|&value| value == flat[0]) {
        return Err(ImagingError::Constant { value: solid_level });
    }
    let relative: Vec<f32> =
        flat.iter().map(|&value| (f64::from(value) / solid_level) as f32).collect();
    let blurred = gaussian(&relative, shape, PORE_BLUR)?;
    let pore: Vec<bool> = blurred.iter().map(|&value| value < PORE_BELOW).collect();
    let pores = Bits::from_mask(&pore, shape)?;
    let inside = squared_distance(&pores)?;
    let outside = squared_distance(&pores.complement())?;
    let haze = gaussian(&relative, shape, HAZE_BLUR)?;
    let far = outside.iter().zip(&haze);
    let clear: Vec<bool> = far.map(|(&d, &h)| d >= CLEAR * CLEAR && h >= HAZE_BELOW).collect();
    let solid = Solid { relative: &relative, clear: &clear, shape };
    let (mean, variance) = solid.moments();
    let correlation = |lag| solid.covariance(mean, lag) / variance.max(1e-12);
    let plane = |lag: usize| 0.5 * (correlation([0, 0, lag]) + correlation([0, lag, 0]));
    let core = core(&relative, &inside);
    Ok(ScannerStatistics {
        noise: variance.sqrt() / mean,
        in_plane: [plane(1), plane(2)],
        along_z: [1, 2, 3].map(|lag| correlation([lag, 0, 0])),
        pore_core: core.map(|core| core / mean),
        edge_width: core.and_then(|core| edge_width(&relative, (&inside, &outside), [core, mean])),
        fall_off: fall_off(grey, &flat, shape),
        standing: solid.standing(mean) / mean,
    })
}

/// Undisturbed solid.
struct Solid<'a> {
    relative: &'a [f32],
    clear: &'a [bool],
    shape: [usize; 3],
}

impl Solid<'_> {
    fn moments(&self) -> (f64, f64) {
        let values = || self.relative.iter().zip(self.clear).filter(|(_, clear)| **clear);
        let count = values().count().max(1) as f64;
        let mean = values().map(|(value, _)| f64::from(*value)).sum::<f64>() / count;
        let square = values().map(|(value, _)| (f64::from(*value) - mean).powi(2)).sum::<f64>();
        (mean, square / count)
    }

    /// Of voxels `lag` (z, y, x) apart.
    fn covariance(&self, mean: f64, [lz, ly, lx]: [usize; 3]) -> f64 {
        let [nz, ny, nx] = self.shape;
        let (mut sum, mut count) = (0.0, 0usize);
        for z in 0..nz - lz {
            for y in 0..ny - ly {
                let start = (z * ny + y) * nx;
                let other = ((z + lz) * ny + y + ly) * nx + lx;
                for i in 0..nx - lx {
                    if self.clear[start + i] && self.clear[other + i] {
                        let [a, b] = [start + i, other + i].map(|at| f64::from(self.relative[at]));
                        sum += (a - mean) * (b - mean);
                        count += 1;
                    }
                }
            }
        }
        sum / count.max(1) as f64
    }

    /// Standard deviation over columns of what the lower and the upper part of the volume have in
    /// common: noise is not, a few slices apart.
    fn standing(&self, mean: f64) -> f64 {
        let [nz, ny, nx] = self.shape;
        let half = |slices: std::ops::Range<usize>| {
            let mut sums = vec![(0.0, 0usize); ny * nx];
            for z in slices {
                let page = z * ny * nx;
                for (at, sum) in sums.iter_mut().enumerate() {
                    if self.clear[page + at] {
                        sum.0 += f64::from(self.relative[page + at]) - mean;
                        sum.1 += 1;
                    }
                }
            }
            sums
        };
        let (lower, upper) = (half(0..nz / 2 - 3), half(nz / 2 + 3..nz));
        let (mut sum, mut count) = (0.0, 0usize);
        for (low, high) in lower.iter().zip(&upper) {
            if low.1 > nz / 4 && high.1 > nz / 4 {
                sum += low.0 / low.1 as f64 * high.0 / high.1 as f64;
                count += 1;
            }
        }
        (sum / count.max(1) as f64).max(0.0).sqrt()
    }
}

/// Mean grey of the deepest pore voxels there are enough of.
fn core(relative: &[f32], inside: &[u32]) -> Option<f64> {
    CORES.into_iter().find_map(|depth| {
        let deep = || relative.iter().zip(inside).filter(|(_, d)| **d >= depth * depth);
        let count = deep().count();
        (count >= FEWEST_CORE)
            .then(|| deep().map(|(value, _)| f64::from(*value)).sum::<f64>() / count as f64)
    })
}

/// 10–90 % width of the mean grey by distance from the surface of pores.
fn edge_width(
    relative: &[f32],
    (inside, outside): (&[u32], &[u32]),
    [core, solid]: [f64; 2],
) -> Option<f64> {
    let bins = (EDGE[0] + EDGE[1] + 1) as usize;
    let mut sums = vec![(0.0, 0usize); bins];
    for ((value, inside), outside) in relative.iter().zip(inside).zip(outside) {
        // The surface lies half a voxel from the centres on either side of it.
        let distance = if *inside > 0 {
            0.5 - f64::from(*inside).sqrt()
        } else {
            f64::from(*outside).sqrt() - 0.5
        };
        let bin = distance.floor() as i64 + i64::from(EDGE[0]);
        if let Some(sum) = usize::try_from(bin).ok().and_then(|bin| sums.get_mut(bin)) {
            sum.0 += f64::from(*value);
            sum.1 += 1;
        }
    }
    let profile: Vec<(f64, f64)> = sums
        .iter()
        .enumerate()
        .filter(|(_, (_, count))| *count > 0)
        .map(|(bin, (sum, count))| (bin as f64, sum / *count as f64))
        .collect();
    let crossing = |share: f64| {
        let level = core + share * (solid - core);
        profile.windows(2).rev().find_map(|pair| {
            let [(at, low), (next, high)] = [pair[0], pair[1]];
            (low <= level && level < high).then(|| at + (next - at) * (level - low) / (high - low))
        })
    };
    Some(crossing(0.9)? - crossing(0.1)?)
}

/// Change of the trend that was removed from a grey volume, from the middle of its slices to the
/// circle that touches their sides.
fn fall_off(grey: &[u16], flat: &[u16], [_, ny, nx]: [usize; 3]) -> f64 {
    let mut sums = [(0.0, 0.0); 2];
    let radius = 0.5 * ny.min(nx) as f64;
    for (at, (grey, flat)) in grey.iter().zip(flat).enumerate() {
        let (y, x) = (at / nx % ny, at % nx);
        let r = (y as f64 + 0.5 - 0.5 * ny as f64).hypot(x as f64 + 0.5 - 0.5 * nx as f64) / radius;
        let place = if r < 0.2 {
            0
        } else if (0.9..1.0).contains(&r) {
            1
        } else {
            continue;
        };
        sums[place].0 += f64::from(*grey);
        sums[place].1 += f64::from(*flat);
    }
    // What was removed is the same for pore and solid, so the ratio holds with pores in it.
    let [middle, rim] = sums.map(|(grey, flat)| grey / flat.max(1.0));
    rim / middle - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blurred_ball_in_quiet_metal_gives_back_its_core_and_edge() {
        let shape = [48, 48, 48];
        let ball = |at: usize| {
            let [z, y, x] = [at / 2304, at / 48 % 48, at % 48].map(|i| i as f64 - 23.5);
            if z * z + y * y + x * x < 144.0 { 0.5 } else { 1.0 }
        };
        let sharp: Vec<f32> = (0..48 * 48 * 48).map(|at| ball(at) as f32).collect();
        let soft = gaussian(&sharp, shape, 2.0).unwrap();
        // A chessboard of one grey level in a hundred: noise whose correlation alternates.
        let noisy = |(at, value): (usize, &f32)| {
            let odd = (at / 2304 + at / 48 % 48 + at % 48) % 2;
            (10_000.0 * value + if odd == 1 { 100.0 } else { -100.0 }) as u16
        };
        let grey: Vec<u16> = soft.iter().enumerate().map(noisy).collect();
        let found = scanner_statistics(&grey, shape).unwrap();
        assert!((found.noise - 0.01).abs() < 1e-3, "{found:?}");
        assert!((found.in_plane[0] + 1.0).abs() < 0.05, "{found:?}");
        assert!((found.along_z[1] - 1.0).abs() < 0.05, "{found:?}");
        assert!((found.pore_core.unwrap() - 0.5).abs() < 0.03, "{found:?}");
        // 2.56 standard deviations of the blur.
        assert!((found.edge_width.unwrap() - 5.13).abs() < 0.7, "{found:?}");
        assert!(found.fall_off.abs() < 0.01, "{found:?}");
    }

    #[test]
    fn too_small_and_constant_volumes_are_refused() {
        assert!(scanner_statistics(&[5; 8], [2, 2, 2]).is_err());
        let constant = vec![7u16; 24 * 24 * 24];
        assert!(scanner_statistics(&constant, [24, 24, 24]).is_err());
    }
}
