//! What the posterior of a dense part has to be: the prior inside the window of settings that make
//! no pores. The window is found by asking the simulator, case by case, not by a formula.

use crate::DesignError;
use microdiff_diffusion::rows::Row;
use microdiff_diffusion::{Model, Observation, SampleOptions};
use microdiff_domain::{Alloy, DefectClass, PARAMETER_COUNT, Process};
use microdiff_process::prior;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// One dense scan, θ in the order of [`microdiff_domain::Parameter::ALL`] and in its units.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseScan {
    /// Process of the part.
    pub process: Process,
    /// Alloy of the part.
    pub alloy: Alloy,
    /// Draws given the scan.
    pub posterior: Vec<[f64; PARAMETER_COUNT]>,
    /// As many draws of the training prior whose case is expected to be dense.
    pub prior: Vec<[f64; PARAMETER_COUNT]>,
}

/// The first `scans` dense rows of laser powder bed fusion, with `draws` draws on either side.
pub(crate) fn dense(
    model: &Model,
    rows: &[Row],
    scans: usize,
    draws: usize,
) -> Result<Vec<DenseScan>, DesignError> {
    let is_dense = |row: &&Row| row.process == Process::Lpbf && row.class == DefectClass::Dense;
    let chosen = rows.iter().filter(is_dense).take(scans).enumerate();
    chosen
        .map(|(index, row)| {
            let Row { process, alloy, .. } = *row;
            let observation = Observation::new(process, alloy, row.descriptors.clone());
            let options =
                SampleOptions { samples: draws, seed: index as u64, ..SampleOptions::default() };
            let posterior = model.posterior(&observation, &options, &mut ())?.draws;
            let prior = window(process, alloy, draws, index as u64);
            Ok(DenseScan { process, alloy, posterior, prior })
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
