//! Where the solid ends and a pore begins, and which dark voxels are pores.
//!
//! A global Otsu threshold halves the noise of a dense part and calls a third of it pore. Here a
//! pore must be proven by a seed, a voxel darker than the solid by six times its noise; its extent
//! is then the connected region below the middle between solid and pore core (ISO 50).

use crate::ImagingError;
use crate::filter::histogram::{Histogram, Solid};
use crate::segment::bits::Bits;
use crate::segment::components::{Components, Levels, Run, components};
use crate::segment::part::Part;

/// Noise multiples a seed must be darker than the solid. 6 leaves less than one false seed in
/// 10⁸ voxels of normal noise.
const SEED_SIGMAS: f64 = 6.0;
/// Darkening below which nothing is called a pore whatever the noise, as a share of the solid
/// grey: rings and residual trend stay below it.
const SMALLEST_DARKENING: f64 = 0.05;
/// Noise multiples the boundary keeps from the solid, and the looser one of the sensitivity.
const BOUNDARY_SIGMAS: f64 = 3.0;
const LOOSE_SIGMAS: f64 = 2.5;
/// Quantile of the seeds taken for the grey of a pore core.
const CORE_QUANTILE: f64 = 0.03;
/// Shift of the threshold, as a share of the contrast, for the sensitivity of porosity.
const SENSITIVITY: f64 = 0.1;

/// Grey values a segmentation rests on, in the denoised scan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GreyLevels {
    pub solid: Solid,
    pub seed: f64,
    /// Grey of pore cores and the boundary; none without a seed.
    pub pore: Option<PoreGrey>,
}

/// Grey of the pores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoreGrey {
    pub core: f64,
    pub boundary: f64,
    pub strict: f64,
    pub loose: f64,
}

impl GreyLevels {
    /// Reads the levels off the histogram of the flattened part.
    pub(crate) fn read(histogram: &Histogram, quantum: u16) -> Self {
        let solid = histogram.solid();
        let quantum = f64::from(quantum);
        let step = (SEED_SIGMAS * solid.sd).max(SMALLEST_DARKENING * solid.grey).max(2.0 * quantum);
        let seed = solid.grey - step;
        if seed <= 0.0 || histogram.below(seed) == 0 {
            return Self { solid, seed, pore: None };
        }
        let core = histogram.quantile_below(seed, CORE_QUANTILE);
        let contrast = solid.grey - core;
        let boundary = (solid.grey - contrast / 2.0).min(solid.grey - BOUNDARY_SIGMAS * solid.sd);
        let strict = boundary - SENSITIVITY * contrast;
        let loose = (boundary + SENSITIVITY * contrast).min(solid.grey - LOOSE_SIGMAS * solid.sd);
        Self { solid, seed, pore: Some(PoreGrey { core, boundary, strict, loose }) }
    }
}

/// The pores of a scan.
pub(crate) struct Pores {
    /// Runs of accepted pores, raster order.
    pub runs: Vec<PoreRun>,
    /// Number of accepted pores.
    pub count: usize,
    /// Voxels of accepted pores at the stricter threshold, at the threshold, at the looser one.
    pub voxels: [u64; 3],
    /// The pore phase.
    pub bits: Bits,
}

/// A run of an accepted pore.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoreRun {
    pub z: u32,
    pub y: u32,
    pub start: u32,
    pub end: u32,
    pub pore: u32,
}

/// Labels the pores. Components without a seed or with fewer than `min_voxels` are dropped.
pub(crate) fn find_pores(
    grey: &[u16],
    part: &Part,
    levels: &GreyLevels,
    min_voxels: u64,
) -> Result<Pores, ImagingError> {
    let shape = part.shape();
    let mut pores = Pores { runs: vec![], count: 0, voxels: [0; 3], bits: Bits::new(shape) };
    let Some(pore) = levels.pore else { return Ok(pores) };
    let at = |level: f64| level.clamp(0.0, 65535.0).round() as u16;
    let cut = Levels { dark: at(pore.loose), strict: at(pore.boundary), seed: at(levels.seed) };
    let loose = components(grey, part, cut)?;
    pores.voxels[2] = accepted(&loose, min_voxels, |run| u64::from(run.end - run.start)).2;
    drop(loose);
    let cut = Levels { dark: at(pore.boundary), strict: at(pore.strict), seed: at(levels.seed) };
    let found = components(grey, part, cut)?;
    let (numbers, count, voxels) =
        accepted(&found, min_voxels, |run| u64::from(run.end - run.start));
    pores.count = count;
    pores.voxels[1] = voxels;
    for row in 0..found.rows.len() - 1 {
        for i in found.rows[row] as usize..found.rows[row + 1] as usize {
            let (run, Some(number)) = (found.runs[i], numbers[found.labels[i] as usize]) else {
                continue;
            };
            pores.voxels[0] += u64::from(run.strict);
            pores.bits.fill(row, run.start as usize, run.end as usize);
            pores.runs.push(PoreRun {
                z: (row / shape[1]) as u32,
                y: (row % shape[1]) as u32,
                start: run.start,
                end: run.end,
                pore: number,
            });
        }
    }
    Ok(pores)
}

/// Number of each component among the accepted, how many there are, and their total size.
fn accepted(
    found: &Components,
    min_voxels: u64,
    size: impl Fn(&Run) -> u64,
) -> (Vec<Option<u32>>, usize, u64) {
    let mut sizes = vec![0u64; found.count];
    let mut seeded = vec![false; found.count];
    for (run, &label) in found.runs.iter().zip(&found.labels) {
        sizes[label as usize] += size(run);
        seeded[label as usize] |= run.seed;
    }
    let (mut count, mut total) = (0u32, 0);
    let numbers = sizes
        .iter()
        .zip(&seeded)
        .map(|(&size, &seeded)| {
            (seeded && size >= min_voxels).then(|| {
                total += size;
                count += 1;
                count - 1
            })
        })
        .collect();
    (numbers, count as usize, total)
}
