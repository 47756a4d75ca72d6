//! Prepared scan → its appearance ([`microdiff_domain::appearance`]): noise, edges, fabric.
//!
//! Noise is read off the scan as it came, from pairs of voxels that are both solid, so that pores
//! and shading hardly enter. At most [`SLICES`] slices are looked at.

use crate::ImagingError;
use crate::filter::histogram::Histogram;
use crate::filter::median::Grey;
use crate::measure::correlation::Phase;
use crate::measure::minkowski::{Chords, chords, minkowski};
use crate::segment::bits::Bits;
use crate::segment::part::Part;
use crate::segment::threshold::{GreyLevels, Pores};
use microdiff_domain::{APPEARANCE_COUNT, Appearance, DomainError};
use rayon::prelude::*;

/// At most about this many slices enter.
const SLICES: usize = 96;
/// Lags of the noise in voxels; at the last it is taken for gone.
const NOISE_LAGS: [usize; 3] = [1, 2, 5];
/// Voxels this many noise widths from the solid are no longer it.
const SOLID_SDS: f64 = 3.0;
const NOISE_FLOOR: f64 = 1e-4;
const BRIGHT_FLOOR: f64 = 1e-5;

/// What the appearance is read from. `raw` is the scan as it came, `grey` denoised and flattened.
pub(crate) struct Seen<'a, T> {
    pub raw: &'a [T],
    pub grey: &'a [u16],
    pub part: &'a Part,
    pub histogram: &'a Histogram,
    pub levels: &'a GreyLevels,
    pub pores: &'a Pores,
    /// Range of the trend that was removed, over the solid.
    pub trend: f64,
    pub voxel_um: f64,
}

/// Reads the appearance.
pub(crate) fn appearance<T: Grey + Ord + Into<f64>>(
    seen: &Seen<'_, T>,
) -> Result<Appearance, ImagingError> {
    let mut v = Vec::with_capacity(APPEARANCE_COUNT);
    v.extend(noise(seen));
    v.push((1e-3 + seen.trend).ln());
    v.extend(greys(seen));
    v.extend(edges(seen));
    v.extend(voids(seen));
    v.extend(fabric(seen));
    let phase = Phase::new(&seen.pores.bits, seen.part);
    v.push(phase.rise_along_z());
    let [y, x] = phase.rises_across_z();
    v.extend([y.max(x), y.min(x)]);
    let [y, x] = profiles(&seen.pores.bits).map(|cv| (0.01 + cv).ln());
    v.extend([y.max(x), y.min(x)]);
    let len = v.len();
    let values = v.try_into().map_err(|_| DomainError::Descriptors {
        reason: format!("{len} values for {APPEARANCE_COUNT} names of the appearance"),
    })?;
    Ok(Appearance::new(values)?)
}

/// Sums over pairs of solid voxels at one lag: pairs, squares, fourth powers of differences.
#[derive(Clone, Copy, Default)]
struct Pairs([f64; 3]);

impl Pairs {
    fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|k| self.0[k] + other.0[k]))
    }

    fn half_square(self) -> f64 {
        0.5 * self.0[1] / self.0[0].max(1.0)
    }
}

/// Noise over the solid, its correlations across and along z, its kurtosis.
fn noise<T: Grey + Ord + Into<f64>>(seen: &Seen<'_, T>) -> [f64; 6] {
    let [nz, ny, nx] = seen.part.shape();
    let step = nz.div_ceil(SLICES).max(1);
    let slices: Vec<usize> = (0..nz).step_by(step).collect();
    let solid = seen.levels.solid;
    let reach = (SOLID_SDS * solid.sd).max(f64::from(T::QUANTUM));
    let [low, high] = [solid.grey - reach, solid.grey + reach].map(|g| g.clamp(0.0, 65535.0));
    let (low, high) = (low as u16, high.ceil() as u16);
    let at_lag = |distance: usize, lag: [usize; 2]| -> Pairs {
        let page = |&z: &usize| {
            let mut sums = [0.0; 3];
            if z + lag[0] >= nz {
                return Pairs(sums);
            }
            for y in 0..ny {
                for span in seen.part.spans(y) {
                    let row = (z * ny + y) * nx;
                    for i in row + span.start..row + span.end.saturating_sub(lag[1]) {
                        let j = i + distance;
                        let is_solid = |i: usize| (low..=high).contains(&seen.grey[i]);
                        if is_solid(i) && is_solid(j) {
                            let (a, b): (f64, f64) = (seen.raw[i].into(), seen.raw[j].into());
                            let square = (a - b) * (a - b);
                            sums[0] += 1.0;
                            sums[1] += square;
                            sums[2] += square * square;
                        }
                    }
                }
            }
            Pairs(sums)
        };
        // Page by page in order, so that the sums have the same bits on any number of threads.
        let pages: Vec<Pairs> = slices.par_iter().map(page).collect();
        pages.into_iter().fold(Pairs::default(), Pairs::plus)
    };
    let across = NOISE_LAGS.map(|lag| at_lag(lag, [0, lag]));
    let along = NOISE_LAGS.map(|lag| at_lag(lag * ny * nx, [lag, 0]));
    let far = across[2].half_square().max(1e-12);
    let far_z = along[2].half_square().max(1e-12);
    let sd = far.sqrt() * f64::from(T::QUANTUM) / solid.grey.max(1.0);
    let correlation = |pairs: Pairs, far: f64| (1.0 - pairs.half_square() / far).clamp(-2.0, 1.0);
    let [pairs, squares, fourths] = across[0].0;
    let kurtosis = fourths * pairs / (3.0 * squares * squares).max(1e-12);
    [
        sd.max(NOISE_FLOOR).ln(),
        correlation(across[0], far),
        correlation(across[1], far),
        correlation(along[0], far_z),
        correlation(along[1], far_z),
        kurtosis.clamp(1e-2, 1e4).ln(),
    ]
}

/// Bright share; share of dark voxels between core and solid.
fn greys<T>(seen: &Seen<'_, T>) -> [f64; 2] {
    let solid = seen.levels.solid;
    let bright = seen.histogram.share_above(solid.grey + 4.0 * solid.sd);
    let middle = seen.levels.pore.map_or(1.0, |pore| {
        let quarter = (solid.grey - pore.core) / 4.0;
        let dark = seen.histogram.share_below(solid.grey - quarter);
        let core = seen.histogram.share_below(pore.core + quarter);
        if dark > 0.0 { (dark - core) / dark } else { 1.0 }
    });
    [bright.max(BRIGHT_FLOOR).log10(), middle]
}

/// Mean step over the contrast between neighbours of which one is pore, across and along z.
fn edges<T>(seen: &Seen<'_, T>) -> [f64; 2] {
    let Some(pore) = seen.levels.pore else { return [0.0; 2] };
    let [nz, ny, nx] = seen.part.shape();
    let contrast = (seen.levels.solid.grey - pore.core).max(1.0);
    let step = nz.div_ceil(SLICES).max(1);
    let bits = &seen.pores.bits;
    let sums = |z: usize| {
        let mut sums = [0u64; 4];
        let mut add = |k: usize, i: usize, j: usize| {
            sums[2 * k] += u64::from(seen.grey[i].abs_diff(seen.grey[j]));
            sums[2 * k + 1] += 1;
        };
        for y in 0..ny {
            let row = bits.row(z, y);
            let start = (z * ny + y) * nx;
            bits.runs_of_row(z, y, |from, to| {
                let (from, to) = (from as usize, to as usize);
                if from > 0 {
                    add(0, start + from - 1, start + from);
                }
                if to < nx {
                    add(0, start + to - 1, start + to);
                }
            });
            if z + 1 < nz {
                let above = bits.row(z + 1, y);
                for (w, (a, b)) in row.iter().zip(above).enumerate() {
                    let mut flips = a ^ b;
                    while flips != 0 {
                        let x = 64 * w + flips.trailing_zeros() as usize;
                        flips &= flips - 1;
                        add(1, start + x, start + x + ny * nx);
                    }
                }
            }
        }
        sums
    };
    let pages: Vec<usize> = (0..nz).step_by(step).collect();
    let total = pages
        .into_par_iter()
        .map(sums)
        .reduce(|| [0; 4], |a, b| std::array::from_fn(|k| a[k] + b[k]));
    [0, 2].map(|k| total[k] as f64 / total[k + 1].max(1) as f64 / contrast)
}

/// Mean grey step along x and spread of the grey within pores, over the contrast: loose powder
/// shows in them.
fn voids<T>(seen: &Seen<'_, T>) -> [f64; 2] {
    let Some(pore) = seen.levels.pore else { return [0.0; 2] };
    let [nz, ny, nx] = seen.part.shape();
    let contrast = (seen.levels.solid.grey - pore.core).max(1.0);
    let page = |z: usize| {
        // Voxels, greys, squares; pairs, steps.
        let mut sums = [0u64; 5];
        for y in 0..ny {
            let start = (z * ny + y) * nx;
            seen.pores.bits.runs_of_row(z, y, |from, to| {
                let run = &seen.grey[start + from as usize..start + to as usize];
                for grey in run.iter().map(|grey| u64::from(*grey)) {
                    sums = [sums[0] + 1, sums[1] + grey, sums[2] + grey * grey, sums[3], sums[4]];
                }
                sums[3] += run.len() as u64 - 1;
                sums[4] += run.windows(2).map(|w| u64::from(w[0].abs_diff(w[1]))).sum::<u64>();
            });
        }
        sums
    };
    let pages: Vec<usize> = (0..nz).step_by(nz.div_ceil(SLICES).max(1)).collect();
    let [count, sum, squares, pairs, steps] = pages
        .into_par_iter()
        .map(page)
        .reduce(|| [0; 5], |a, b| std::array::from_fn(|k| a[k] + b[k]));
    let mean = sum as f64 / count.max(1) as f64;
    let variance = (squares as f64 / count.max(1) as f64 - mean * mean).max(0.0);
    [steps as f64 / pairs.max(1) as f64 / contrast, variance.sqrt() / contrast]
}

/// Chords in the solid and in pores, Euler number, anisotropy across z.
fn fabric<T>(seen: &Seen<'_, T>) -> [f64; 8] {
    let bits = &seen.pores.bits;
    let solid = chords(&bits.complement());
    let pores = chords(bits);
    let starts =
        |chords: &Chords| -> f64 { chords.whole.iter().chain(&chords.cut).sum::<u64>() as f64 };
    let across = |[_, y, x]: &[Chords; 3]| moments(&[y, x]);
    let [solid_z, solid_cv_z] = moments(&[&solid[0]]);
    let [solid_xy, solid_cv_xy] = across(&solid);
    let ln_um = |voxels: f64| (voxels.max(1.0) * seen.voxel_um).ln();
    let euler = minkowski(bits).euler as f64 / (seen.pores.labels.count() as f64).max(1.0);
    let anisotropy = ((1.0 + starts(&pores[1])) / (1.0 + starts(&pores[2]))).ln().abs();
    [
        ln_um(solid_z),
        ln_um(solid_xy),
        solid_cv_z,
        solid_cv_xy,
        moments(&[&pores[0]])[1],
        across(&pores)[1],
        euler.asinh(),
        anisotropy,
    ]
}

/// Mean length and coefficient of variation, chords cut by the edge as they are.
fn moments(all: &[&Chords]) -> [f64; 2] {
    let mut sums = [0.0; 3];
    for lengths in all.iter().flat_map(|chords| [&chords.whole, &chords.cut]) {
        for (length, &count) in lengths.iter().enumerate() {
            let (length, count) = (length as f64, count as f64);
            sums = [sums[0] + count, sums[1] + count * length, sums[2] + count * length * length];
        }
    }
    if sums[0] == 0.0 {
        return [0.0; 2];
    }
    let mean = sums[1] / sums[0];
    [mean, (sums[2] / sums[0] - mean * mean).max(0.0).sqrt() / mean]
}

/// Coefficient of variation of the pore share along y and along x.
fn profiles(bits: &Bits) -> [f64; 2] {
    let [nz, ny, nx] = bits.shape();
    // Along x, what is added at each place: a run begins, one ends.
    let (mut along_y, mut changes) = (vec![0.0; ny], vec![0.0; nx + 1]);
    for z in 0..nz {
        for (y, sum) in along_y.iter_mut().enumerate() {
            bits.runs_of_row(z, y, |start, end| {
                *sum += f64::from(end - start);
                changes[start as usize] += 1.0;
                changes[end as usize] -= 1.0;
            });
        }
    }
    let mut runs = 0.0;
    let along_x: Vec<f64> = changes[..nx]
        .iter()
        .map(|change| {
            runs += change;
            runs
        })
        .collect();
    [along_y, along_x].map(|sums| {
        let mean = sums.iter().sum::<f64>() / sums.len().max(1) as f64;
        let square = sums.iter().map(|sum| (sum - mean) * (sum - mean)).sum::<f64>();
        let sd = (square / sums.len().max(1) as f64).sqrt();
        if mean > 0.0 { sd / mean } else { 0.0 }
    })
}

#[cfg(test)]
mod tests {
    use crate::{AnalysisOptions, Scan, Voxels, analyze};
    use microdiff_domain::appearance::APPEARANCE;
    use microdiff_domain::{Appearance, Volume, VoxelSize};

    const EDGE: usize = 40;

    /// Grey 30000 with noise, where `void` says so 9000.
    fn seen(
        noise: impl Fn(usize) -> f64,
        void: impl Fn([usize; 3]) -> bool,
    ) -> impl Fn(&str) -> f64 {
        let grey = (0..EDGE.pow(3)).map(|i| {
            let at = [i / (EDGE * EDGE), i / EDGE % EDGE, i % EDGE];
            let level = if void(at) { 9000.0 } else { 30_000.0 };
            (level + 600.0 * noise(i)) as u16
        });
        let volume = Volume::new([EDGE; 3], grey.collect()).unwrap();
        let size = VoxelSize::micrometres(5.0).unwrap();
        let scan = Scan::in_memory(Voxels::U16(volume), Some(size));
        let found = analyze(&scan, size, &AnalysisOptions::default(), &mut ()).unwrap();
        let values: Appearance = found.appearance;
        move |name| {
            let index = APPEARANCE.iter().position(|spec| spec.name == name).unwrap();
            values.values()[index]
        }
    }

    /// Evenly spread over ±√3, so of unit variance, by a hash of the place.
    fn white(i: usize) -> f64 {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed >> 11) as f64 / (1u64 << 53) as f64 - 0.5) * 12f64.sqrt()
    }

    #[test]
    fn noise_is_read_off_the_scan_as_it_came() {
        let plain = seen(white, |_| false);
        assert!((plain("ln_raw_noise").exp() - 0.02).abs() < 1e-3);
        for name in ["noise_xy_1", "noise_xy_2", "noise_z_1"] {
            assert!(plain(name).abs() < 0.05, "{name} {}", plain(name));
        }
        // The difference of two even numbers has kurtosis 2.4.
        assert!((plain("ln_noise_kurtosis").exp() - 0.8).abs() < 0.03);
        let smeared = seen(|i| (white(i) + white(i + 1)) / 2f64.sqrt(), |_| false);
        assert!((smeared("noise_xy_1") - 0.5).abs() < 0.05);
        assert!(smeared("noise_z_1").abs() < 0.05);
        assert_eq!(plain("rise_z"), 0.0);
    }

    #[test]
    fn a_lattice_comes_back_and_a_single_void_does_not() {
        let layers = seen(white, |[z, ..]| z % 10 < 5);
        assert!(layers("rise_z") > 1.0 && layers("rise_xy_most") < 0.2);
        // Clear of the border, where void would be taken for air.
        let inside = |k: usize| (4..36).contains(&k);
        let columns = seen(white, |[z, y, x]| (3..8).contains(&(y % 10)) && inside(z) && inside(x));
        let rises = ["rise_xy_most", "rise_xy_least", "rise_z"].map(&columns);
        assert!(rises[0] > 0.5 && rises[1] < 0.2, "{rises:?}");
        assert!(columns("anisotropy_xy") > 1.0);
        assert!(columns("ln_profile_cv_most") > columns("ln_profile_cv_least") + 0.3);
        let ball = |[z, y, x]: [usize; 3]| {
            [z, y, x].into_iter().map(|k| (k as f64 - 20.0).powi(2)).sum::<f64>() < 64.0
        };
        let one = seen(white, ball);
        assert!(one("rise_z") < 0.1 && one("anisotropy_xy") < 0.05);
        assert!((one("euler") - 1f64.asinh()).abs() < 1e-12);
        assert!(one("edge_xy") > 0.5 && one("void_sd") < 0.2);
    }
}
