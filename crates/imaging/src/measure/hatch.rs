//! Directional periodicity within slabs: neighbouring tracks leave rows of pores one hatch
//! spacing apart.
//!
//! The scan direction turns from layer to layer, so the period is looked for in each slab on its
//! own, in the direction in which it is strongest, and then gathered over slabs. Slabs are binned
//! to cells near 8 µm and cut to tiles, so cost is bounded and the resolution of the spectrum does
//! not depend on the size of the scan beyond one tile.

use crate::measure::deficit::Deficit;
use crate::measure::layers::parabola;
use rayon::prelude::*;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};
use std::f64::consts::{PI, TAU};
use std::sync::Arc;

/// Edge of the transformed tile, in cells.
const TILE: usize = 128;
/// Cells are as many whole voxels as fit into this.
const CELL_UM: f64 = 8.0;
/// Slabs are about as thick as a thin layer.
const SLAB_UM: f64 = 16.0;
/// At most this many slabs are transformed, evenly spread.
const SLABS: usize = 24;
/// Tiles per slab and axis, at most.
const TILES: usize = 2;
/// Directions over half a turn.
const DIRECTIONS: usize = 36;
/// Sampled periods, logarithmically spaced.
const PERIODS: usize = 49;
const SHORTEST_UM: f64 = 40.0;
const LONGEST_UM: f64 = 450.0;
/// Limits of the bands summed, in µm.
pub(crate) const BANDS_UM: [f64; 8] = [40.0, 60.0, 80.0, 100.0, 125.0, 160.0, 220.0, 450.0];
/// Strength and contrast of directions a period must have to be reported.
const REPORTED_STRENGTH: f64 = 0.04;
const REPORTED_CONTRAST: f64 = 4.0;

/// Directional periodicity of a scan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct HatchPeriod {
    pub period_um: f64,
    /// Directional power at the period over the variance within slabs.
    pub strength: f64,
    /// Mean directional power in [`BANDS_UM`] over the variance within slabs.
    pub bands: [f64; 7],
    /// Whether the period stands out enough to be called a hatch spacing.
    pub reported: bool,
}

/// Sums over slabs of the strongest and the mean direction at each period, and of the variance.
struct Spectrum {
    strongest: [f64; PERIODS],
    mean: [f64; PERIODS],
    variance: f64,
}

/// Finds the dominant directional period; none if nothing is missing or the scan is too small.
pub(crate) fn hatch_period(deficit: &Deficit<'_>, voxel_um: f64) -> Option<HatchPeriod> {
    let [nz, ny, nx] = deficit.shape();
    let factor = ((CELL_UM / voxel_um) as usize).max(1);
    let cell_um = factor as f64 * voxel_um;
    let slab = ((SLAB_UM / voxel_um).round() as usize).clamp(1, nz);
    let extent = (ny.min(nx) / factor).min(TILE) as f64 * cell_um;
    let usable = |period: f64| period >= 2.2 * cell_um && period <= 0.8 * extent;
    if !(0..PERIODS).any(|k| usable(period_at(k))) {
        return None;
    }
    let slabs = nz / slab;
    let taken = slabs.min(SLABS);
    let fft = FftPlanner::new().plan_fft_forward(TILE);
    // Collected before summing: the order of floating-point sums is fixed.
    let spectra: Vec<Spectrum> = (0..taken)
        .into_par_iter()
        .flat_map_iter(|k| {
            let first = k * slabs / taken * slab;
            let cells = Cells::of_slab(deficit, first..first + slab, factor);
            let fft = Arc::clone(&fft);
            cells.tiles().into_iter().filter_map(move |tile| spectrum(tile, cell_um, &fft))
        })
        .collect();
    let mut total = Spectrum { strongest: [0.0; PERIODS], mean: [0.0; PERIODS], variance: 0.0 };
    for spectrum in &spectra {
        total.variance += spectrum.variance;
        for k in 0..PERIODS {
            total.strongest[k] += spectrum.strongest[k];
            total.mean[k] += spectrum.mean[k];
        }
    }
    total.read(usable)
}

fn period_at(k: usize) -> f64 {
    let step = (LONGEST_UM / SHORTEST_UM).ln() / (PERIODS - 1) as f64;
    SHORTEST_UM * (k as f64 * step).exp()
}

impl Spectrum {
    fn read(&self, usable: impl Fn(f64) -> bool) -> Option<HatchPeriod> {
        if self.variance <= 0.0 {
            return None;
        }
        let excess: Vec<f64> =
            (0..PERIODS).map(|k| (self.strongest[k] - self.mean[k]) / self.variance).collect();
        // Power alone favours long periods, as random blobs do; contrast alone favours noise and
        // the harmonics of narrow rows.
        let score: Vec<f64> = (0..PERIODS)
            .map(|k| {
                let contrast = self.strongest[k] / self.mean[k].max(1e-12 * self.variance);
                if usable(period_at(k)) { excess[k] * contrast.sqrt() } else { 0.0 }
            })
            .collect();
        let best = (0..PERIODS).max_by(|&a, &b| score[a].total_cmp(&score[b]))?;
        if score[best] <= 0.0 {
            return None;
        }
        let step = (LONGEST_UM / SHORTEST_UM).ln() / (PERIODS - 1) as f64;
        let period_um = period_at(best) * (parabola(&score, best) * step).exp();
        let bands = std::array::from_fn(|b| {
            let inside = |k: &usize| {
                (BANDS_UM[b]..BANDS_UM[b + 1]).contains(&period_at(*k)) && usable(period_at(*k))
            };
            let count = (0..PERIODS).filter(inside).count().max(1) as f64;
            (0..PERIODS).filter(inside).map(|k| excess[k]).sum::<f64>() / count
        });
        let contrast = self.strongest[best] / self.mean[best].max(1e-12 * self.variance);
        let inner =
            best > 0 && score[best - 1] > 0.0 && score.get(best + 1).is_some_and(|s| *s > 0.0);
        Some(HatchPeriod {
            period_um,
            strength: excess[best],
            bands,
            reported: inner && excess[best] > REPORTED_STRENGTH && contrast > REPORTED_CONTRAST,
        })
    }
}

/// Missing metal summed in square cells over a slab.
struct Cells {
    ny: usize,
    nx: usize,
    sums: Vec<f32>,
}

impl Cells {
    fn of_slab(deficit: &Deficit<'_>, zs: std::ops::Range<usize>, factor: usize) -> Self {
        let [_, ny, nx] = deficit.shape();
        let (ny, nx) = (ny / factor, nx / factor);
        let mut sums = vec![0.0; ny * nx];
        for z in zs {
            for y in 0..ny * factor {
                let row = &mut sums[y / factor * nx..(y / factor + 1) * nx];
                deficit.row(z, y, |x, missing| {
                    if let Some(cell) = row.get_mut(x / factor) {
                        *cell += missing;
                    }
                });
            }
        }
        Self { ny, nx, sums }
    }

    /// Up to four tiles from the corners, each with its size (y, x).
    fn tiles(&self) -> Vec<Tile> {
        let starts = |n: usize| -> Vec<usize> {
            if n < TILE * 3 / 2 {
                vec![n.saturating_sub(TILE) / 2]
            } else {
                (0..TILES).map(|k| k * (n - TILE) / (TILES - 1)).collect()
            }
        };
        let mut tiles = Vec::new();
        for y in starts(self.ny) {
            for x in starts(self.nx) {
                let (ny, nx) = (self.ny.min(TILE), self.nx.min(TILE));
                let rows = (y..y + ny).flat_map(|row| {
                    self.sums[row * self.nx + x..row * self.nx + x + nx].iter().copied()
                });
                tiles.push(Tile { ny, nx, values: rows.map(f64::from).collect() });
            }
        }
        tiles
    }
}

struct Tile {
    ny: usize,
    nx: usize,
    values: Vec<f64>,
}

/// Windowed power by period: strongest and mean over directions, scaled so that a sinusoid has
/// the weight of its variance. None for a tile without contrast.
fn spectrum(tile: Tile, cell_um: f64, fft: &Arc<dyn Fft<f32>>) -> Option<Spectrum> {
    let hann = |i: usize, n: usize| 0.5 - 0.5 * (TAU * (i as f64 + 0.5) / n as f64).cos();
    let (mut sum, mut weights) = (0.0, 0.0);
    for (i, value) in tile.values.iter().enumerate() {
        let w = hann(i / tile.nx, tile.ny) * hann(i % tile.nx, tile.nx);
        sum += w * value;
        weights += w;
    }
    let mean = sum / weights;
    let mut grid = vec![Complex::new(0.0f32, 0.0); TILE * TILE];
    let mut variance = 0.0;
    for (i, value) in tile.values.iter().enumerate() {
        let (y, x) = (i / tile.nx, i % tile.nx);
        let w = hann(y, tile.ny) * hann(x, tile.nx);
        variance += w * (value - mean).powi(2);
        grid[y * TILE + x].re = (w * (value - mean)) as f32;
    }
    if variance <= 1e-9 {
        return None;
    }
    fft.process(&mut grid[..tile.ny * TILE]);
    transpose(&mut grid);
    fft.process(&mut grid);
    let power: Vec<f32> = grid.iter().map(|c| c.norm_sqr()).collect();
    let mut spectrum = Spectrum { strongest: [0.0; PERIODS], mean: [0.0; PERIODS], variance };
    let directions: Vec<(f64, f64)> =
        (0..DIRECTIONS).map(|d| (PI * d as f64 / DIRECTIONS as f64).sin_cos()).collect();
    for k in 0..PERIODS {
        let radius = TILE as f64 * cell_um / period_at(k);
        if radius > TILE as f64 / 2.0 - 1.0 {
            continue;
        }
        for &(sin, cos) in &directions {
            let value = 2.0 * interpolate(&power, radius * sin, radius * cos) / weights;
            spectrum.strongest[k] = spectrum.strongest[k].max(value);
            spectrum.mean[k] += value / DIRECTIONS as f64;
        }
    }
    Some(spectrum)
}

fn transpose(grid: &mut [Complex<f32>]) {
    for y in 0..TILE {
        for x in y + 1..TILE {
            grid.swap(y * TILE + x, x * TILE + y);
        }
    }
}

/// Bilinear, with frequencies wrapped.
fn interpolate(power: &[f32], v: f64, u: f64) -> f64 {
    let (v0, u0) = (v.floor(), u.floor());
    let (dv, du) = (v - v0, u - u0);
    let wrap = |i: f64| (i as isize).rem_euclid(TILE as isize) as usize;
    let at = |v: f64, u: f64| f64::from(power[wrap(v) * TILE + wrap(u)]);
    (1.0 - dv) * ((1.0 - du) * at(v0, u0) + du * at(v0, u0 + 1.0))
        + dv * ((1.0 - du) * at(v0 + 1.0, u0) + du * at(v0 + 1.0, u0 + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::histogram::Solid;
    use crate::segment::part::Part;
    use crate::segment::threshold::{GreyLevels, PoreGrey};

    const LEVELS: GreyLevels = GreyLevels {
        solid: Solid { grey: 1000.0, sd: 10.0 },
        seed: 900.0,
        pore: Some(PoreGrey { core: 500.0, boundary: 750.0, dark: 900.0 }),
    };

    /// Stripes `period` µm apart, turned by 67° every 30 µm.
    fn stripes(period: f64, [nz, ny, nx]: [usize; 3], voxel_um: f64) -> Vec<u16> {
        let mut grey = Vec::new();
        for z in 0..nz {
            let angle = (z as f64 * voxel_um / 30.0).floor() * 67f64.to_radians();
            for y in 0..ny {
                for x in 0..nx {
                    let across = (x as f64 * angle.cos() + y as f64 * angle.sin()) * voxel_um;
                    grey.push(if across.rem_euclid(period) < 0.2 * period { 500 } else { 1000 });
                }
            }
        }
        grey
    }

    #[test]
    fn turned_stripes_give_their_spacing() {
        let shape = [36, 96, 96];
        let part = Part::whole(shape);
        for (period, voxel_um) in [(70.0, 4.0), (110.0, 5.0), (150.0, 8.0)] {
            let grey = stripes(period, shape, voxel_um);
            let found =
                hatch_period(&Deficit::new(&grey, &part, &LEVELS).unwrap(), voxel_um).unwrap();
            assert!((found.period_um / period - 1.0).abs() < 0.06, "{period}: {found:?}");
            assert!(found.reported, "{period}: {found:?}");
        }
    }

    #[test]
    fn plain_metal_has_no_period() {
        let part = Part::whole([8, 64, 64]);
        let grey = vec![1000; 8 * 64 * 64];
        assert_eq!(hatch_period(&Deficit::new(&grey, &part, &LEVELS).unwrap(), 5.0), None);
    }
}
