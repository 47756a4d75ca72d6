//! What the posterior of a dense part has to be: the prior inside the window of settings that make
//! no pores. The window is found by asking the simulator, case by case, not by a formula.
//!
//! It has to be so where the scan would show a pore if there were one. Coarse voxels also hide the
//! pores of settings outside the window, and a scan of a dense part may show pores all the same, so
//! these are told apart.

use crate::DesignError;
use microdiff_diffusion::rows::Row;
use microdiff_diffusion::{Model, Observation, SampleOptions};
use microdiff_domain::{Alloy, DefectClass, Descriptors, PARAMETER_COUNT, Process};
use microdiff_process::prior;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Largest voxel, in um, that counts as showing every pore of lack of fusion; a choice. The analysis
/// sees pores from a few voxels on, and these pores are as wide as a track leaves them.
const RESOLVING_UM: f64 = 10.0;

/// What a scan of a dense part shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// No pore, in voxels that would show one: the case of a fully dense part.
    Nothing,
    /// No pore, in voxels so coarse that they hide some.
    NothingInCoarseVoxels,
    /// Some pores: gas, or the few of a setting near the window's edge.
    Pores,
}

impl Sight {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::NothingInCoarseVoxels, Self::Pores];

    /// Its name in a file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::NothingInCoarseVoxels => "nothing, coarse voxels",
            Self::Pores => "pores",
        }
    }

    fn of(descriptors: &Descriptors) -> Option<Self> {
        // The schema's value for a scan without pores.
        let pores = descriptors.get("contrast")? != 0.0;
        let voxel_um = descriptors.get("ln_voxel_size")?.exp();
        Some(match (pores, voxel_um <= RESOLVING_UM) {
            (true, _) => Self::Pores,
            (false, true) => Self::Nothing,
            (false, false) => Self::NothingInCoarseVoxels,
        })
    }
}

/// One dense scan, θ in the order of [`microdiff_domain::Parameter::ALL`] and in its units.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseScan {
    /// Process of the part.
    pub process: Process,
    /// Alloy of the part.
    pub alloy: Alloy,
    /// What the scan shows.
    pub sight: Sight,
    /// Draws given the scan.
    pub posterior: Vec<[f64; PARAMETER_COUNT]>,
    /// As many draws of the training prior whose case is expected to be dense.
    pub prior: Vec<[f64; PARAMETER_COUNT]>,
}

/// The first `scans` dense rows of laser powder bed fusion of each sight, with `draws` draws on
/// either side.
pub(crate) fn dense(
    model: &Model,
    rows: &[Row],
    scans: usize,
    draws: usize,
) -> Result<Vec<DenseScan>, DesignError> {
    let is_dense = |row: &&Row| row.process == Process::Lpbf && row.class == DefectClass::Dense;
    let of_sight = |sight| {
        let shows = move |row: &&Row| Sight::of(&row.descriptors) == Some(sight);
        rows.iter().filter(is_dense).filter(shows).take(scans).map(move |row| (sight, row))
    };
    let chosen = Sight::ALL.into_iter().flat_map(of_sight).enumerate();
    chosen
        .map(|(index, (sight, row))| {
            let Row { process, alloy, .. } = *row;
            let observation = Observation::new(process, alloy, row.descriptors.clone());
            let options =
                SampleOptions { samples: draws, seed: index as u64, ..SampleOptions::default() };
            let posterior = model.posterior(&observation, &options, &mut ())?.draws;
            let prior = window(process, alloy, draws, index as u64);
            Ok(DenseScan { process, alloy, sight, posterior, prior })
        })
        .collect()
}

fn window(process: Process, alloy: Alloy, draws: usize, seed: u64) -> Vec<[f64; PARAMETER_COUNT]> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let cases = std::iter::repeat_with(|| prior::draw_mixed(process, alloy, &mut rng));
    cases
        .filter(|(case, nuisance)| case.expected_class(nuisance) == DefectClass::Dense)
        .take(draws)
        .map(|(case, _)| case.parameters.to_array())
        .collect()
}
