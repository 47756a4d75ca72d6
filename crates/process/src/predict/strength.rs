//! A setting and its pores → cooling rate, microstructural spacing, yield strength, elongation.
//!
//! Orders of magnitude for comparing settings. Only the factor of the cooling rate (ten NIST
//! cases of nickel alloys) and the effect of porosity (35 tensile bars of 316L) are fitted to
//! measurements, both without any kept aside; the rest is quoted from memory. Heat treatment,
//! texture, build height and direction are absent.

use super::condition::Condition;
use crate::alloy::properties;
use crate::beam::{fixed_absorptivity, rise};
use microdiff_domain::{Alloy, Process};
use std::f64::consts::PI;

/// Measured over calculated cooling rate: 0.50 ± 0.06 on 10 NIST cases (AMB2018-02, AMB2022-03).
const COOLING_FACTOR: f64 = 0.50;
/// Conductivity that factor was fitted with for nickel alloys, W/(m K).
const COOLING_CONDUCTIVITY: f64 = 25.0;
/// Decay of strength and of elongation with porosity: 316L design of experiments, lack of fusion
/// of 1.6 to 10.8 % (measured; that of strength is of the ultimate strength).
const STRENGTH_DECAY: f64 = 7.8;
const ELONGATION_DECAY: f64 = 24.4;
/// Scatter of ln yield strength (chosen) and of ln elongation (0.21 measured on 316L).
pub(crate) const YIELD_LN_SD: f64 = 0.10;
const ELONGATION_LN_SD: [f64; 2] = [0.21, 0.35];

/// Cooling rate at the liquidus behind the melt, K/s: half of Rosenthal's
/// `2 π k v (Tl − T0)² / (η P)`.
pub(crate) fn cooling_rate(condition: &Condition) -> f64 {
    let alloy = condition.alloy;
    // Other alloys conduct as their table says beside IN718.
    let relative = properties(alloy).conductivity / properties(Alloy::In718).conductivity;
    let conductivity = COOLING_CONDUCTIVITY * relative;
    let absorbed = fixed_absorptivity(condition.process, alloy) * condition.power_w;
    let rise = rise(&properties(alloy), condition.bed_c);
    COOLING_FACTOR * 2.0 * PI * conductivity * condition.speed_mm_s * 1e-3 * rise * rise / absorbed
}

/// Spacing of cells or dendrites, of laths in Ti-6Al-4V, µm, at a cooling rate in K/s.
///
/// AlSi10Mg: Matyja 1968. 316L and IN718: Katayama 1984. Ti-6Al-4V: martensite of 0.1 to 0.5 µm
/// above 410 K/s and 1 µm in the hot bed of an electron beam, its dependence on the rate chosen.
/// All from memory.
pub(crate) fn spacing_um(alloy: Alloy, process: Process, cooling_rate: f64) -> f64 {
    match alloy {
        Alloy::AlSi10Mg => 43.2 * cooling_rate.powf(-0.324),
        Alloy::Ss316L | Alloy::In718 => 80.0 * cooling_rate.powf(-0.33),
        Alloy::Ti6Al4V if process == Process::Ebm => 1.0,
        Alloy::Ti6Al4V => (0.25 * (cooling_rate * 1e-6).powf(-0.33)).clamp(0.1, 0.5),
    }
}

/// Yield strength without pores, MPa, by Hall and Petch. 316L from cell size; the others anchored
/// to data sheets, not measured. From memory.
pub(crate) fn sound_yield_mpa(alloy: Alloy, spacing_um: f64) -> f64 {
    let [friction, slope] = match alloy {
        Alloy::Ss316L => [183.0, 254.0],
        Alloy::AlSi10Mg => [100.0, 100.0],
        Alloy::In718 => [350.0, 280.0],
        Alloy::Ti6Al4V => [640.0, 265.0],
    };
    friction + slope / spacing_um.sqrt()
}

/// Yield strength with pores, MPa.
pub(crate) fn yield_mpa(sound: f64, porosity: f64, deviation: f64) -> f64 {
    sound * (YIELD_LN_SD * deviation - STRENGTH_DECAY * porosity).exp()
}

/// Elongation at fracture, %: 52.2 for sound 316L (measured), data-sheet values for the others
/// (from memory).
pub(crate) fn elongation_pct(alloy: Alloy, porosity: f64, deviation: f64) -> f64 {
    let [measured, remembered] = ELONGATION_LN_SD;
    let (sound, sd) = match alloy {
        Alloy::Ss316L => (52.2, measured),
        Alloy::AlSi10Mg => (8.0, remembered),
        Alloy::In718 => (28.0, remembered),
        Alloy::Ti6Al4V => (9.0, remembered),
    };
    sound * (sd * deviation - ELONGATION_DECAY * porosity).exp()
}
