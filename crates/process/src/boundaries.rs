//! Melt pool → how far a setting is from lack of fusion, keyhole porosity and balling.

use crate::alloy::properties;
use crate::melt_pool::{MeltPool, forward};
use crate::{Case, Nuisance};
use microdiff_domain::Process;
use serde::{Deserialize, Serialize};

/// Logistic width of the balling criterion in length over width (Hofmann 2026 316L, measured).
/// It is scatter between settings, so it is drawn once per build as part of the nuisance.
pub(crate) const BALLING_WIDTH: f64 = 0.56;

/// Logistic width within one build, from no track to every track balling; chosen.
const BALLING_WIDTH_WITHIN_BUILD: f64 = 0.15;

/// Whether the balling criterion says anything of a process. It was measured on laser tracks in
/// powder beds; melts of other beams that print dense are several times longer.
pub(crate) fn has_balling_criterion(process: Process) -> bool {
    process == Process::Lpbf
}

/// Probability that a track of one build balls, by its length over width and the build's centre.
pub(crate) fn balls(length_to_width: f64, centre: f64) -> f64 {
    1.0 / (1.0 + (-(length_to_width - centre) / BALLING_WIDTH_WITHIN_BUILD).exp())
}

/// Pores of the usual 25 µm, one at a time, nearly touch along the track at this rate; chosen, and a
/// bound on their number for settings no machine is run at.
const MOST_KEYHOLE_PORES_PER_UM: f64 = 0.05;

/// Distance of one setting to each defect boundary. Every margin is 1 on its boundary and grows
/// into the defect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DefectMargins {
    /// `(h/W)² + (t/D)²`. Fluctuating tracks leave pores from about 0.7; below 0.6 is safe.
    pub lack_of_fusion: f64,
    /// Keyhole number over the onset of keyhole pores.
    pub keyhole: f64,
    /// Twice the probability that a track balls.
    pub balling: f64,
}

/// Margins of a setting under given nuisance values.
pub fn defect_margins(case: &Case, nuisance: &Nuisance) -> DefectMargins {
    let pool = forward(case, nuisance);
    DefectMargins {
        lack_of_fusion: pool.overlap,
        keyhole: pool.keyhole_number / nuisance.keyhole.onset.max(1e-9),
        balling: 2.0 * balling_probability(case, &pool, nuisance),
    }
}

/// Probability that a track of this build breaks into beads. Averaged over drawn nuisance values
/// it is the measured criterion. Where that says nothing, with other beams, no track balls.
pub fn balling_probability(case: &Case, pool: &MeltPool, nuisance: &Nuisance) -> f64 {
    if !has_balling_criterion(case.process) {
        return 0.0;
    }
    let centre = properties(case.alloy).balling_centre + nuisance.balling_centre_shift;
    balls(pool.length_to_width, centre)
}

/// Keyhole pores formed per µm of track: `l₀ ln(1 + exp((Ke − Kc)/w))`.
pub fn keyhole_pores_per_um(pool: &MeltPool, nuisance: &Nuisance) -> f64 {
    let keyhole = &nuisance.keyhole;
    let above = (pool.keyhole_number - keyhole.onset) / keyhole.onset_width;
    // ln(1 + eˣ) without overflow
    let softplus = above.max(0.0) + (-above.abs()).exp().ln_1p();
    (keyhole.rate_per_mm * 1e-3 * softplus).min(MOST_KEYHOLE_PORES_PER_UM)
}
