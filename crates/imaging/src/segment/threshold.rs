//! Where the solid ends and a pore begins, and which dark voxels are pores.
//!
//! A global Otsu threshold halves the noise of a dense part and calls a third of it pore. Here a
//! pore must be proven by a seed, a voxel darker than the solid by six times its noise; its extent
//! is then the connected region below the middle between the solid and its own core (a local
//! ISO 50): blur keeps small pores from reaching the grey of large ones, and a common threshold
//! would shrink or lose them.

use crate::ImagingError;
use crate::filter::histogram::{Histogram, Solid};
use crate::segment::bits::Bits;
use crate::segment::components::{Components, components};
use crate::segment::label::Labels;
use crate::segment::part::Part;

/// Noise multiples a seed must be darker than the solid. 6 leaves less than one false seed in
/// 10⁸ voxels of normal noise.
const SEED_SIGMAS: f64 = 6.0;
/// Darkening below which nothing is called a pore whatever the noise, as a share of the solid
/// grey: rings and residual trend stay below it.
const SMALLEST_DARKENING: f64 = 0.05;
/// Nothing is part of a pore unless darker than the solid by this many times its noise and by
/// this share of the contrast.
const DARK_SIGMAS: f64 = 3.0;
const DARK_SHARE: f64 = 0.15;
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

impl GreyLevels {
    /// Grey that neither noise nor shading of the solid reaches: twice the solid, or at least ten
    /// of its standard deviations above.
    pub(crate) fn clearly_brighter(&self) -> f64 {
        (2.0 * self.solid.grey).max(self.solid.grey + 10.0 * self.solid.sd)
    }
}

/// Grey of the pores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoreGrey {
    /// Grey of the cores of large pores.
    pub core: f64,
    /// Boundary of a pore that reaches it.
    pub boundary: f64,
    /// Brightest grey that may belong to a pore.
    pub dark: f64,
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
        let dark = solid.grey - (DARK_SIGMAS * solid.sd).max(DARK_SHARE * contrast);
        let boundary = (solid.grey - contrast / 2.0).min(dark);
        Self { solid, seed, pore: Some(PoreGrey { core, boundary, dark }) }
    }
}

/// The pores of a scan.
pub(crate) struct Pores {
    /// Runs of accepted pores.
    pub labels: Labels,
    /// Voxels of accepted pores at the stricter threshold, at the threshold, at the looser one.
    pub voxels: [u64; 3],
    /// The pore phase.
    pub bits: Bits,
}

/// Labels the pores. Components without a seed or with fewer than `min_voxels` are dropped.
pub(crate) fn find_pores(
    grey: &[u16],
    part: &Part,
    levels: &GreyLevels,
    min_voxels: u64,
) -> Result<Pores, ImagingError> {
    let shape = part.shape();
    let labels = Labels::none(shape);
    let mut pores = Pores { labels, voxels: [0; 3], bits: Bits::new(shape) };
    let Some(pore) = levels.pore else { return Ok(pores) };
    let dark = components(grey, part, at(pore.dark))?;
    for (k, shift) in [-SENSITIVITY, 0.0, SENSITIVITY].into_iter().enumerate() {
        let boundaries: Vec<u16> = dark
            .darkest
            .iter()
            .map(|&core| {
                let own = f64::from(core).max(pore.core);
                let contrast = levels.solid.grey - own;
                let middle = levels.solid.grey - contrast / 2.0 + shift * contrast;
                if f64::from(core) < levels.seed { at(middle.min(pore.dark)) } else { 0 }
            })
            .collect();
        let found = dark.refine(grey, &boundaries)?;
        let (numbers, count, voxels) = accepted(&found, min_voxels, at(levels.seed));
        pores.voxels[k] = voxels;
        if shift == 0.0 {
            pores.labels = found.labels.renumbered(&numbers, count);
            pores.bits = pores.labels.bits(|_| true);
        }
    }
    Ok(pores)
}

fn at(level: f64) -> u16 {
    level.clamp(0.0, 65535.0).round() as u16
}

/// Number of each component among the accepted, how many there are, and their total size.
fn accepted(found: &Components, min_voxels: u64, seed: u16) -> (Vec<Option<u32>>, usize, u64) {
    let (mut count, mut total) = (0u32, 0);
    let numbers = found
        .labels
        .sizes()
        .into_iter()
        .zip(&found.darkest)
        .map(|(size, &core)| {
            (core < seed && size >= min_voxels).then(|| {
                total += size;
                count += 1;
                count - 1
            })
        })
        .collect();
    (numbers, count as usize, total)
}
