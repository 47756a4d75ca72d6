//! Removal of the slow grey trend of the solid: cupping from beam hardening, detector roll-off.
//!
//! A polynomial (all second-order terms and the fourth power of the radius) is fitted to voxels
//! near the solid grey, again and again with outliers left out, and subtracted. Additive, so that
//! an unknown grey offset does no harm. Fixed sample, sequential sums: same bytes on any machine
//! with the same floating point.

use crate::ImagingError;
use crate::arguments::check_shape;
use crate::filter::histogram::{Histogram, Solid};
use crate::segment::part::Part;
use crate::simd::{InstructionSet, vectorised};
use rayon::prelude::*;

const TERMS: usize = 11;
const SAMPLES: usize = 12_000;
const ROUNDS: usize = 5;
/// From here to its double numbers are one apart: a small number added to it is rounded, and then
/// stands in the lowest bits. The conversion there is for it takes one number at a time.
const ONE_APART: f64 = (1u64 << 52) as f64;
/// Voxels taken together where the trend is subtracted: two registers of the widest.
const LANES: usize = 16;
/// The first fit reaches at least this far from the solid's mode, as a share of its grey, or a
/// trend stronger than the noise would be out of reach.
const FIRST_REACH: f64 = 0.03;

/// The fitted polynomial over coordinates from -1 to 1.
struct Polynomial([f64; TERMS]);

fn terms([w, v, u]: [f64; 3]) -> [f64; TERMS] {
    let r2 = u * u + v * v;
    [1.0, u, v, w, u * u, v * v, w * w, u * v, u * w, v * w, r2 * r2]
}

fn unit(index: usize, n: usize) -> f64 {
    2.0 * (index as f64 + 0.5) / n as f64 - 1.0
}

/// Removes the slow trend of the brightest phase from a (z, y, x) volume in place: roll-off and
/// cupping. Returns the range of what was removed, in grey levels; 0 when there is too little of
/// that phase to fit. Refuses a volume whose length is not the shape's.
pub fn remove_trend(grey: &mut [u16], shape: [usize; 3]) -> Result<f64, ImagingError> {
    check_shape(shape, grey.len())?;
    let part = Part::whole(shape);
    let solid = Histogram::of_part(grey, &part, 1).solid();
    Ok(flatten(grey, &part, solid))
}

/// Flattens the solid to `solid.grey` in place. Returns the range of the removed trend, in grey
/// levels.
pub(crate) fn flatten(grey: &mut [u16], part: &Part, solid: Solid) -> f64 {
    let samples = sample(grey, part);
    let Some(polynomial) = fit(&samples, solid) else { return 0.0 };
    let [nz, ny, nx] = part.shape();
    let set = InstructionSet::detect();
    let us: Vec<f64> = (0..nx).map(|x| unit(x, nx)).collect();
    let (low, high) = grey
        .par_chunks_mut(ny * nx)
        .enumerate()
        .map(|(z, page)| {
            let mut range = (f64::MAX, f64::MIN);
            for (y, row) in page.chunks_mut(nx).enumerate() {
                let along = polynomial.along_x(unit(z, nz), unit(y, ny));
                for span in part.spans(y) {
                    let (row, us) = (&mut row[span.clone()], &us[span.clone()]);
                    range = wider(range, subtract(set, row, us, along, solid.grey));
                }
            }
            range
        })
        .reduce(|| (f64::MAX, f64::MIN), wider);
    (high - low).max(0.0)
}

fn wider(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0.min(b.0), a.1.max(b.1))
}

/// Subtracts from the voxels at `us` of a row what the trend there differs from the solid, given its
/// coefficients along the row. Returns least and greatest of what was subtracted.
fn subtract(
    set: InstructionSet,
    row: &mut [u16],
    us: &[f64],
    along: [f64; 4],
    solid: f64,
) -> (f64, f64) {
    vectorised(
        set,
        #[inline(always)]
        || {
            let (mut low, mut high) = ([f64::MAX; LANES], [f64::MIN; LANES]);
            for (greys, us) in row.chunks_mut(LANES).zip(us.chunks(LANES)) {
                if let (Ok(greys), Ok(us)) = (greys.try_into(), us.try_into()) {
                    lower(greys, us, along, solid, [&mut low, &mut high]);
                } else if let Some(&last) = us.last() {
                    // Filled up with what is there already, for the range.
                    let (mut all, mut all_us) = ([0; LANES], [last; LANES]);
                    all[..greys.len()].copy_from_slice(greys);
                    all_us[..us.len()].copy_from_slice(us);
                    lower(&mut all, &all_us, along, solid, [&mut low, &mut high]);
                    greys.copy_from_slice(&all[..greys.len()]);
                }
            }
            low.into_iter().zip(high).fold((f64::MAX, f64::MIN), wider)
        },
    )
}

/// Step by step, for each is one instruction for all lanes.
#[inline(always)]
fn lower(
    greys: &mut [u16; LANES],
    us: &[f64; LANES],
    along: [f64; 4],
    solid: f64,
    [low, high]: [&mut [f64; LANES]; 2],
) {
    let limit = 0.2 * solid;
    let between = |value: f64, low: f64, high: f64| {
        let value = if value < low { low } else { value };
        if value > high { high } else { value }
    };
    let mut trends = [0.0; LANES];
    for (trend, &u) in trends.iter_mut().zip(us) {
        let u2 = u * u;
        let value = along[0] + along[1] * u + u2 * (along[2] + along[3] * u2);
        *trend = between(value - solid, -limit, limit);
    }
    for k in 0..LANES {
        low[k] = if trends[k] < low[k] { trends[k] } else { low[k] };
        high[k] = if trends[k] > high[k] { trends[k] } else { high[k] };
    }
    for k in 0..LANES {
        let flat = between(f64::from(greys[k]) - trends[k] + 0.5, 0.0, 65535.0);
        let nearest = (flat + ONE_APART) - ONE_APART;
        let whole = if nearest > flat { nearest - 1.0 } else { nearest };
        greys[k] = (whole + ONE_APART).to_bits() as u16;
    }
}

impl Polynomial {
    fn at(&self, terms: &[f64; TERMS]) -> f64 {
        self.0.iter().zip(terms).map(|(c, t)| c * t).sum()
    }

    /// Coefficients of 1, u, u² and u⁴ with z and y held.
    fn along_x(&self, w: f64, v: f64) -> [f64; 4] {
        let c = &self.0;
        let v2 = v * v;
        let constant = c[0] + c[2] * v + c[3] * w + c[5] * v2 + c[6] * w * w + c[9] * v * w;
        [constant + c[10] * v2 * v2, c[1] + c[7] * v + c[8] * w, c[4] + 2.0 * c[10] * v2, c[10]]
    }
}

fn sample(grey: &[u16], part: &Part) -> Vec<([f64; TERMS], f64)> {
    let [nz, ny, nx] = part.shape();
    // An odd stride in each row, shifted from row to row, so that no plane of the grid repeats.
    let stride = (part.voxels() / SAMPLES as u64).max(1) as usize | 1;
    let mut samples = Vec::with_capacity(SAMPLES * 2);
    let mut skip = stride / 2;
    for z in 0..nz {
        for y in 0..ny {
            for span in part.spans(y) {
                let mut x = span.start + skip;
                while x < span.end {
                    let value = f64::from(grey[(z * ny + y) * nx + x]);
                    samples.push((terms([unit(z, nz), unit(y, ny), unit(x, nx)]), value));
                    x += stride;
                }
                skip = x - span.end;
            }
        }
    }
    samples
}

fn fit(samples: &[([f64; TERMS], f64)], solid: Solid) -> Option<Polynomial> {
    let mut polynomial = Polynomial([0.0; TERMS]);
    polynomial.0[0] = solid.grey;
    let mut sd = solid.sd.max(FIRST_REACH * solid.grey);
    for _ in 0..ROUNDS {
        let mut normal = [[0.0; TERMS + 1]; TERMS];
        let (mut squares, mut count) = (0.0, 0usize);
        for (terms, value) in samples {
            let residual = value - polynomial.at(terms);
            if residual.abs() > 2.5 * sd {
                continue;
            }
            squares += residual * residual;
            count += 1;
            for i in 0..TERMS {
                for j in 0..=i {
                    normal[i][j] += terms[i] * terms[j];
                }
                normal[i][TERMS] += terms[i] * value;
            }
        }
        if count < 20 * TERMS {
            return None;
        }
        let lower = normal;
        for (i, row) in normal.iter_mut().enumerate() {
            for (j, below) in lower.iter().enumerate().skip(i + 1) {
                row[j] = below[i];
            }
            // Keeps the fit tame where voids leave a region without solid.
            row[i] += if i == 0 { 0.0 } else { 2e-3 * count as f64 };
        }
        polynomial = Polynomial(solve(normal)?);
        // A normal distribution cut at 2.5 sd keeps 0.955 of its sd.
        sd = ((squares / count as f64).sqrt() / 0.955).clamp(0.2 * sd, sd).max(0.5);
    }
    Some(polynomial)
}

/// Gauss elimination with pivoting of the rows.
fn solve(mut m: [[f64; TERMS + 1]; TERMS]) -> Option<[f64; TERMS]> {
    for i in 0..TERMS {
        let pivot = (i..TERMS).max_by(|&a, &b| m[a][i].abs().total_cmp(&m[b][i].abs()))?;
        m.swap(i, pivot);
        if m[i][i].abs() < 1e-9 {
            return None;
        }
        let row = m[i];
        for below in &mut m[i + 1..] {
            let factor = below[i] / row[i];
            below.iter_mut().zip(row).for_each(|(b, r)| *b -= factor * r);
        }
    }
    let mut x = [0.0; TERMS];
    for i in (0..TERMS).rev() {
        let rest: f64 = (i + 1..TERMS).map(|j| m[i][j] * x[j]).sum();
        x[i] = (m[i][TERMS] - rest) / m[i][i];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_subtracts_the_same() {
        let nx = 3 * LANES + 5;
        let us: Vec<f64> = (0..nx).map(|x| unit(x, nx)).collect();
        let row: Vec<u16> = (0..nx).map(|x| (x * 1237 % 65536) as u16).collect();
        let along = [20_000.0, 900.0, -3000.0, 2500.0];
        let wanted: Vec<u16> = us
            .iter()
            .zip(&row)
            .map(|(u, &grey)| {
                let trend = 900.0 * u + u * u * (-3000.0 + 2500.0 * (u * u));
                (f64::from(grey) - (20_000.0 + trend - 20_000.0) + 0.5).clamp(0.0, 65535.0) as u16
            })
            .collect();
        for set in InstructionSet::available() {
            let mut flat = row.clone();
            let (low, high) = subtract(set, &mut flat, &us, along, 20_000.0);
            assert!(low < -800.0 && high > 300.0 && high < 900.0, "{low} {high}");
            assert_eq!(flat, wanted);
        }
    }

    #[test]
    fn a_bowl_becomes_flat() {
        let shape = [16, 32, 32];
        let part = Part::whole(shape);
        let mut grey: Vec<u16> = (0..16 * 32 * 32)
            .map(|i| {
                let (v, u) = (unit(i / 32 % 32, 32), unit(i % 32, 32));
                (20000.0 + 800.0 * (u * u + v * v) + 300.0 * v) as u16
            })
            .collect();
        let mut by_itself = grey.clone();
        assert!(remove_trend(&mut by_itself, shape).unwrap() > 1000.0);
        assert!(remove_trend(&mut by_itself, [1; 3]).is_err());
        let removed = flatten(&mut grey, &part, Solid { grey: 20500.0, sd: 500.0 });
        assert!(removed > 1000.0, "{removed}");
        let (low, high) = (grey.iter().min().unwrap(), grey.iter().max().unwrap());
        assert!(high - low < 190, "{low} {high}");
    }
}
