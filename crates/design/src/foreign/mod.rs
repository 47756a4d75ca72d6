//! Scans that no setting within the prior printed, made on purpose: the out-of-distribution check
//! is tried on them. Each kind is drawn at random from a seed, with a voxel, a shape and a scanner
//! as ordinary simulated scans have them, so that nothing but the kind itself is foreign.
//!
//! A trial proves what it tries and no more: a fault of another kind may go unseen.

mod noise;
mod textures;
mod trial;

use crate::DesignError;
use crate::simulated::{collect_rows, measured, pair, request, scan_of};
use microdiff_diffusion::rows::RowSet;
use microdiff_domain::{Alloy, HatchSpacing, Parameter, Process, Volume, VoxelSize};
use microdiff_imaging::Voxels;
use microdiff_imaging::filter::gaussian;
use microdiff_process::{Imaging, SimulationRequest};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
pub(crate) use trial::run;
pub use trial::{Outcome, Trial};

/// What is wrong with a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Foreign {
    /// Hexagonal cells with walls along the build direction.
    Honeycomb,
    /// A gyroid: the lattice of three sines.
    SineLattice,
    /// Worm-like voids along a random direction: a thresholded random field.
    Fibres,
    /// Cubes of metal and of void in turn.
    Checkerboard,
    /// Large overlapping round voids.
    Foam,
    /// An ordinary scan announced with a voxel three times too large.
    VoxelTimesThree,
    /// An ordinary scan announced with a voxel three times too small.
    VoxelOverThree,
    /// Printed with tracks 1.5 to 3 times as far apart as the prior's widest.
    WideHatch,
    /// Independent normal grey values.
    WhiteNoise,
    /// The same, blurred.
    BlurredNoise,
    /// One grey with black and white voxels strewn in.
    SaltAndPepper,
    /// One grey.
    Constant,
}

impl Foreign {
    /// Every kind.
    pub const ALL: [Foreign; 12] = [
        Foreign::Honeycomb,
        Foreign::SineLattice,
        Foreign::Fibres,
        Foreign::Checkerboard,
        Foreign::Foam,
        Foreign::VoxelTimesThree,
        Foreign::VoxelOverThree,
        Foreign::WideHatch,
        Foreign::WhiteNoise,
        Foreign::BlurredNoise,
        Foreign::SaltAndPepper,
        Foreign::Constant,
    ];

    /// The kinds that are an honest scan with a mistake: what a model is shown when it learns what
    /// to flag. The others stay unseen.
    pub const MISTAKES: [Foreign; 3] =
        [Foreign::VoxelTimesThree, Foreign::VoxelOverThree, Foreign::WideHatch];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Foreign::Honeycomb => "honeycomb",
            Foreign::SineLattice => "sine lattice",
            Foreign::Fibres => "fibres",
            Foreign::Checkerboard => "checkerboard",
            Foreign::Foam => "foam of large spheres",
            Foreign::VoxelTimesThree => "voxel size times 3",
            Foreign::VoxelOverThree => "voxel size over 3",
            Foreign::WideHatch => "hatch beyond the bound",
            Foreign::WhiteNoise => "white noise",
            Foreign::BlurredNoise => "blurred noise",
            Foreign::SaltAndPepper => "salt and pepper",
            Foreign::Constant => "constant",
        }
    }
}

/// A foreign scan as someone would hand it in.
pub(crate) struct ForeignScan {
    /// The process announced.
    pub process: Process,
    pub voxels: Voxels,
    /// The voxel size announced, which may be wrong.
    pub voxel_size: VoxelSize,
}

/// Draws scan `index` of a kind; the same whatever else is drawn.
pub(crate) fn draw(kind: Foreign, index: usize, seed: u64) -> Result<ForeignScan, DesignError> {
    let rng = &mut generator(kind, index, seed);
    let pair = pair_for(kind, index);
    let mut ordinary = request(pair, rng)?;
    let mut voxel_size = ordinary.voxel_size;
    let voxels = match kind {
        Foreign::Honeycomb
        | Foreign::SineLattice
        | Foreign::Fibres
        | Foreign::Checkerboard
        | Foreign::Foam => {
            let metal = textures::metal(kind, ordinary.shape, rng);
            scanned(metal, &ordinary, rng)?
        }
        Foreign::VoxelTimesThree | Foreign::VoxelOverThree | Foreign::WideHatch => {
            voxel_size = err(kind, &mut ordinary, rng)?;
            scan_of(&ordinary)?.voxels
        }
        Foreign::WhiteNoise
        | Foreign::BlurredNoise
        | Foreign::SaltAndPepper
        | Foreign::Constant => {
            Voxels::U16(Volume::new(ordinary.shape, noise::grey(kind, ordinary.shape, rng)?)?)
        }
    };
    Ok(ForeignScan { process: pair.0, voxels, voxel_size })
}

/// Makes a mistake in an ordinary request; returns the voxel size to announce.
fn err(
    kind: Foreign,
    ordinary: &mut SimulationRequest,
    rng: &mut impl Rng,
) -> Result<VoxelSize, DesignError> {
    let factor = match kind {
        Foreign::VoxelTimesThree => 3.0,
        Foreign::VoxelOverThree => 1.0 / 3.0,
        _ => {
            let range = Parameter::HatchSpacing.range(ordinary.case.process, ordinary.case.alloy);
            let hatch = range.high * (1.5 + 1.5 * rng.random::<f64>());
            ordinary.case.parameters.hatch_spacing = HatchSpacing::micrometres(hatch)?;
            1.0
        }
    };
    Ok(VoxelSize::micrometres(factor * ordinary.voxel_size.get())?)
}

/// Rows of scans with the mistakes of [`Foreign::MISTAKES`] in turn, with the truth about the part
/// printed. Row `i` is the same whatever the count and the number of threads; a scan the analysis
/// cannot use is drawn again. `progress` hears how many are done.
pub fn simulate_mistakes(
    count: usize,
    seed: u64,
    progress: &mut dyn FnMut(usize),
) -> Result<RowSet, DesignError> {
    collect_rows(count, progress, |index, attempt| {
        let kind = Foreign::MISTAKES[index % Foreign::MISTAKES.len()];
        // The generators of later attempts lie beyond any index.
        let mut rng = generator(kind, index + (attempt << 24), seed);
        let mut request = request(pair_for(kind, index), &mut rng)?;
        let announced = err(kind, &mut request, &mut rng)?;
        measured(&request, announced)
    })
}

/// The process and alloy of scan `index`: all in turn, but tracks too far apart only where they can
/// be set three times as far apart as the prior's widest.
fn pair_for(kind: Foreign, index: usize) -> (Process, Alloy) {
    let settable = |(process, alloy): &(Process, Alloy)| {
        let widest = Parameter::HatchSpacing.range(*process, *alloy).high;
        kind != Foreign::WideHatch || 3.0 * widest <= HatchSpacing::HIGH
    };
    (index..).map(pair).find(settable).unwrap_or(pair(index))
}

/// The generator of one scan.
fn generator(kind: Foreign, index: usize, seed: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((kind as u64 + 1) << 32 | index as u64);
    rng
}

/// Looks at a body with the scanner of an ordinary simulation.
fn scanned(
    metal: Vec<f32>,
    ordinary: &SimulationRequest,
    rng: &mut impl Rng,
) -> Result<Voxels, DesignError> {
    let Imaging { blur_voxels, pore_floor, noise, noise_blur_voxels, solid_level, .. } =
        ordinary.nuisance.imaging;
    let shape = ordinary.shape;
    let mut grey = gaussian(&metal, shape, blur_voxels.max(0.1))?;
    let noise_field = noise::correlated(shape, noise_blur_voxels.max(0.1), rng)?;
    for (grey, unit) in grey.iter_mut().zip(noise_field) {
        let (floor, noise) = (pore_floor as f32, noise as f32);
        *grey = floor + (1.0 - floor) * *grey + noise * unit;
    }
    let full = f64::from(u16::MAX) * solid_level;
    let level = |grey: f32| (full * f64::from(grey)).clamp(0.0, f64::from(u16::MAX)).round() as u16;
    Ok(Voxels::U16(Volume::new(shape, grey.into_iter().map(level).collect())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use microdiff_imaging::{AnalysisOptions, Scan, analyze};

    #[test]
    fn a_seed_decides_and_only_the_announced_voxel_is_wrong() {
        let once = draw(Foreign::Foam, 3, 7).unwrap();
        assert_eq!(once.voxels, draw(Foreign::Foam, 3, 7).unwrap().voxels);
        assert_ne!(once.voxels, draw(Foreign::Foam, 3, 8).unwrap().voxels);
        for (kind, factor) in
            [(Foreign::VoxelTimesThree, 3.0), (Foreign::VoxelOverThree, 1.0 / 3.0)]
        {
            let mut rng = generator(kind, 1, 7);
            let true_size = request(pair_for(kind, 1), &mut rng).unwrap().voxel_size.get();
            let announced = draw(kind, 1, 7).unwrap().voxel_size.get();
            assert!((announced / true_size / factor - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn textures_have_voids_and_metal() {
        for kind in Foreign::ALL.into_iter().take(5) {
            for index in 0..4 {
                let metal = textures::metal(kind, [30, 40, 50], &mut generator(kind, index, 11));
                let share = metal.iter().sum::<f32>() / metal.len() as f32;
                assert!((0.1..0.97).contains(&share), "{} {index}: {share}", kind.name());
            }
        }
    }

    #[test]
    fn a_constant_scan_is_refused() {
        let scan = draw(Foreign::Constant, 0, 1).unwrap();
        let read = Scan::in_memory(scan.voxels, Some(scan.voxel_size));
        assert!(analyze(&read, scan.voxel_size, &AnalysisOptions::default(), &mut ()).is_err());
    }
}
