//! Scans that no setting within the prior printed, made on purpose: the out-of-distribution check
//! is tried on them. Each kind is drawn at random from a seed, with a voxel, a shape and a scanner
//! as ordinary simulated scans have them, so that nothing but the kind itself is foreign.
//!
//! A trial proves what it tries and no more: a fault of another kind may go unseen.

mod noise;
mod shown;
mod textures;
mod trial;

use crate::DesignError;
use crate::simulated::{collect_rows, pair, request, row, scan_of, voxel_um};
use microdiff_diffusion::rows::RowSet;
use microdiff_domain::{Alloy, DefectClass, HatchSpacing, Parameter, Process, Volume, VoxelSize};
use microdiff_imaging::Voxels;
use microdiff_process::{BitDepth, SimulationRequest, in_u8, scan_body};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
pub(crate) use trial::run;
pub use trial::{Counts, Outcome, SubsetCounts, Trial};

/// What is wrong with a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
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
    /// Two phases of a random field without a direction.
    Sponge,
    /// Cells parted by cracks or held by walls.
    Grains,
    /// A grid of round bars.
    Struts,
    /// Parallel plates.
    Plates,
    /// Cuboid voids.
    Boxes,
    /// Balls of metal in void.
    Beads,
    /// Balls of void that are drawn out or pressed flat, each in its own direction.
    Ellipsoids,
    /// Straight round voids in every direction.
    Rods,
    /// Cells of a jittered grid, each metal or void.
    Mosaic,
    /// Noise of several lengths.
    Octaves,
    /// Cubes of one grey each.
    Blocks,
    /// Noise drawn out along an axis.
    Streaks,
}

impl Foreign {
    /// The kinds a model is tried on.
    pub const TRIED: [Foreign; 12] = [
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

    /// The kinds that are an honest scan with a mistake. A model is shown them when it learns what
    /// to flag, and tried on them.
    pub const MISTAKES: [Foreign; 3] =
        [Foreign::VoxelTimesThree, Foreign::VoxelOverThree, Foreign::WideHatch];

    /// Textures and noises that a model is shown in place of those it is tried on, which stay
    /// unseen.
    pub const STAND_INS: [Foreign; 12] = [
        Foreign::Sponge,
        Foreign::Grains,
        Foreign::Struts,
        Foreign::Plates,
        Foreign::Boxes,
        Foreign::Beads,
        Foreign::Ellipsoids,
        Foreign::Rods,
        Foreign::Mosaic,
        Foreign::Octaves,
        Foreign::Blocks,
        Foreign::Streaks,
    ];

    /// Whether a model is shown scans of this kind.
    pub fn is_shown(self) -> bool {
        Foreign::MISTAKES.contains(&self) || Foreign::STAND_INS.contains(&self)
    }

    /// What this kind multiplies the voxel size with.
    fn voxel_factor(self) -> f64 {
        match self {
            Foreign::VoxelTimesThree => 3.0,
            Foreign::VoxelOverThree => 1.0 / 3.0,
            _ => 1.0,
        }
    }

    /// What sets some of its scans apart, which are counted once more.
    pub fn subsets(self) -> &'static [Subset] {
        match self {
            Foreign::VoxelTimesThree | Foreign::VoxelOverThree => {
                &[Subset::OrdinarySize, Subset::Porous]
            }
            Foreign::WideHatch => &[Subset::TwoTracks, Subset::Porous],
            _ => &[],
        }
    }

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
            Foreign::Sponge => "sponge",
            Foreign::Grains => "grains",
            Foreign::Struts => "struts",
            Foreign::Plates => "plates",
            Foreign::Boxes => "boxes",
            Foreign::Beads => "beads",
            Foreign::Ellipsoids => "ellipsoids",
            Foreign::Rods => "rods",
            Foreign::Mosaic => "mosaic",
            Foreign::Octaves => "noise of several lengths",
            Foreign::Blocks => "blocks",
            Foreign::Streaks => "streaks",
        }
    }
}

/// What a scan shows of the mistake in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subset {
    /// The voxel size announced is one that ordinary scans have, and does not give itself away.
    OrdinarySize,
    /// It is at least two tracks wide.
    TwoTracks,
    /// The analysis finds a porosity of [`Subset::POROUS`] or more.
    Porous,
}

impl Subset {
    /// Least porosity of [`Subset::Porous`]: what is measured on the pores of less is mostly chance.
    /// A choice.
    pub const POROUS: f64 = 0.001;

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Subset::OrdinarySize => "with a size that ordinary scans have",
            Subset::TwoTracks => "at least two tracks wide",
            Subset::Porous => "with a porosity of 0.1 % or more",
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
    /// What it shows, as far as that is known before it is measured.
    pub subsets: Vec<Subset>,
}

/// Draws scan `index` of a kind; the same whatever else is drawn.
pub(crate) fn draw(kind: Foreign, index: usize, seed: u64) -> Result<ForeignScan, DesignError> {
    let rng = &mut generator(kind, index, seed);
    let ordinary = request(pair_for(kind, index), rng)?;
    made(kind, ordinary, rng)
}

/// Makes a foreign scan out of an ordinary request.
fn made(
    kind: Foreign,
    mut ordinary: SimulationRequest,
    rng: &mut impl Rng,
) -> Result<ForeignScan, DesignError> {
    let process = ordinary.case.process;
    let mut voxel_size = ordinary.voxel_size;
    let shape = ordinary.shape;
    let voxels = match kind {
        Foreign::Honeycomb
        | Foreign::SineLattice
        | Foreign::Fibres
        | Foreign::Checkerboard
        | Foreign::Foam => scanned(textures::metal(kind, shape, rng), &ordinary)?,
        Foreign::Sponge
        | Foreign::Grains
        | Foreign::Struts
        | Foreign::Plates
        | Foreign::Boxes
        | Foreign::Beads
        | Foreign::Ellipsoids
        | Foreign::Rods
        | Foreign::Mosaic => scanned(shown::metal(kind, shape, rng), &ordinary)?,
        Foreign::VoxelTimesThree | Foreign::VoxelOverThree | Foreign::WideHatch => {
            voxel_size = err(kind, &mut ordinary, rng)?;
            scan_of(&ordinary)?.voxels
        }
        Foreign::WhiteNoise
        | Foreign::BlurredNoise
        | Foreign::SaltAndPepper
        | Foreign::Constant
        | Foreign::Octaves
        | Foreign::Blocks
        | Foreign::Streaks => Voxels::U16(Volume::new(shape, noise::grey(kind, shape, rng)?)?),
    };
    let mut subsets = Vec::new();
    let [low, high] = voxel_um(process);
    if (low..=high).contains(&voxel_size.get()) {
        subsets.push(Subset::OrdinarySize);
    }
    let narrowest = shape[1].min(shape[2]) as f64 * voxel_size.get();
    if narrowest >= 2.0 * ordinary.case.parameters.hatch_spacing.get() {
        subsets.push(Subset::TwoTracks);
    }
    Ok(ForeignScan { process, voxels, voxel_size, subsets })
}

/// Makes a mistake in an ordinary request; returns the voxel size to announce.
fn err(
    kind: Foreign,
    ordinary: &mut SimulationRequest,
    rng: &mut impl Rng,
) -> Result<VoxelSize, DesignError> {
    if kind == Foreign::WideHatch {
        let range = Parameter::HatchSpacing.range(ordinary.case.process, ordinary.case.alloy);
        let hatch = range.high * (1.5 + 1.5 * rng.random::<f64>());
        ordinary.case.parameters.hatch_spacing = HatchSpacing::micrometres(hatch)?;
    }
    Ok(VoxelSize::micrometres(kind.voxel_factor() * ordinary.voxel_size.get())?)
}

/// Rows of foreign scans that a model is shown: one of [`Foreign::MISTAKES`] and one of
/// [`Foreign::STAND_INS`] in turn. A wrong voxel size is one of those that ordinary scans have,
/// so that it does not give itself away. What a row says of the part is what its scan was made from;
/// of a texture it says nothing. Row `i` is the same whatever the count and the number of threads; a
/// scan the analysis cannot use is drawn again. `progress` hears how many are done.
pub fn simulate_shown(
    count: usize,
    seed: u64,
    progress: &mut dyn FnMut(usize),
) -> Result<RowSet, DesignError> {
    collect_rows(count, progress, |index, attempt| {
        let (kind, turn) = shown_kind(index);
        // The generators of later attempts lie beyond any index.
        let rng = &mut generator(kind, index + (attempt << 24), seed);
        let pair = pair_for(kind, turn);
        let mut ordinary = request(pair, rng)?;
        let [low, high] = voxel_um(pair.0);
        while !(low..=high).contains(&(kind.voxel_factor() * ordinary.voxel_size.get())) {
            ordinary = request(pair, rng)?;
        }
        let case = ordinary.case;
        let foreign = made(kind, ordinary, rng)?;
        // Nothing reads the class of a scan that is shown; a texture has none.
        Ok(row(&case, DefectClass::Dense, foreign.voxels, foreign.voxel_size))
    })
}

/// The kind of scan `index` that is shown, and how many of the kind come before it: every kind is
/// to meet every process and alloy.
fn shown_kind(index: usize) -> (Foreign, usize) {
    let (round, place) = (index / 2, index % 2);
    let kinds: &[Foreign] = if place == 0 { &Foreign::MISTAKES } else { &Foreign::STAND_INS };
    (kinds[round % kinds.len()], round / kinds.len())
}

/// The process and alloy of scan `index`: all in turn, but tracks too far apart only where they can
/// be set three times as far apart as the prior's widest.
fn pair_for(kind: Foreign, index: usize) -> (Process, Alloy) {
    let suits = |pair: &(Process, Alloy)| kind != Foreign::WideHatch || takes_wide_hatch(*pair);
    (index..).map(pair).find(suits).unwrap_or(pair(index))
}

/// Whether tracks can be set three times as far apart as the prior's widest.
fn takes_wide_hatch((process, alloy): (Process, Alloy)) -> bool {
    3.0 * Parameter::HatchSpacing.range(process, alloy).high <= HatchSpacing::HIGH
}

/// The generator of one scan.
fn generator(kind: Foreign, index: usize, seed: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((kind as u64 + 1) << 32 | index as u64);
    rng
}

/// Looks at a body, by the share of metal in each voxel, with the scanner of an ordinary simulation.
fn scanned(metal: Vec<f32>, ordinary: &SimulationRequest) -> Result<Voxels, DesignError> {
    let metal = metal.into_iter().map(|share| (255.0 * share).round() as u8).collect();
    let scan = scan_body(metal, ordinary)?;
    Ok(match ordinary.depth {
        BitDepth::U16 => Voxels::U16(scan),
        BitDepth::U8 => Voxels::U8(in_u8(&scan)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use microdiff_imaging::{AnalysisOptions, Scan, analyze};
    use std::collections::HashMap;

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
        let shape = [30, 40, 50];
        let check = |kind: Foreign, index: usize, metal: Vec<f32>| {
            let share = metal.iter().sum::<f32>() / metal.len() as f32;
            assert!((0.1..0.97).contains(&share), "{} {index}: {share}", kind.name());
        };
        for index in 0..4 {
            for kind in Foreign::TRIED.into_iter().take(5) {
                check(kind, index, textures::metal(kind, shape, &mut generator(kind, index, 11)));
            }
            for kind in Foreign::STAND_INS.into_iter().take(9) {
                check(kind, index, shown::metal(kind, shape, &mut generator(kind, index, 11)));
            }
        }
    }

    #[test]
    fn noises_that_are_shown_have_unit_variance() {
        for kind in Foreign::STAND_INS.into_iter().skip(9) {
            let field = shown::field(kind, [30, 40, 50], &mut generator(kind, 0, 11)).unwrap();
            let square = field.iter().map(|value| value * value).sum::<f32>() / field.len() as f32;
            assert!((0.5..1.6).contains(&square), "{}: {square}", kind.name());
        }
    }

    #[test]
    fn what_is_shown_is_drawn_in_turn_and_of_an_ordinary_size() {
        let rows = simulate_shown(6, 3, &mut |_| {}).unwrap().rows;
        assert_eq!(rows, simulate_shown(8, 3, &mut |_| {}).unwrap().rows[..6]);
        let mut met: HashMap<Foreign, Vec<(Process, Alloy)>> = HashMap::new();
        let pairs: Vec<(Process, Alloy)> = Process::pairs().collect();
        for (kind, turn) in (0..600).map(shown_kind) {
            met.entry(kind).or_default().push(pair_for(kind, turn));
        }
        for kind in Foreign::MISTAKES.into_iter().chain(Foreign::STAND_INS) {
            let can_meet =
                |pair: &&(Process, Alloy)| kind != Foreign::WideHatch || takes_wide_hatch(**pair);
            let missed: Vec<_> =
                pairs.iter().filter(can_meet).filter(|pair| !met[&kind].contains(pair)).collect();
            assert!(missed.is_empty(), "{} never meets {missed:?}", kind.name());
        }
        for row in rows {
            let [low, high] = voxel_um(row.process).map(f64::ln);
            let announced = row.descriptors.values()[0];
            assert!((low - 1e-9..=high + 1e-9).contains(&announced));
        }
    }

    #[test]
    fn a_constant_scan_is_refused() {
        let scan = draw(Foreign::Constant, 0, 1).unwrap();
        let read = Scan::in_memory(scan.voxels, Some(scan.voxel_size));
        assert!(analyze(&read, scan.voxel_size, &AnalysisOptions::default(), &mut ()).is_err());
    }
}
