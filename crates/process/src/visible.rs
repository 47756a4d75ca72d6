//! A setting and a scanner's view → the porosity that scan could show, without building a part.
//!
//! [`expected_shares`] is the average over an endless part with all sizes of pore. A scan is
//! finite and resolves nothing below its detection floor: the few gas and keyhole pores of a
//! nearly dense part come one by one, or not at all. It deliberately models neither blur nor
//! threshold; what they take away is left to whoever calibrates against simulated scans.

use crate::random::poisson;
use crate::{Case, Nuisance, expected_shares};
use rand::Rng;
use std::f64::consts::PI;

/// What a scan can see.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Smallest pore that is counted, equivalent diameter in µm.
    pub detection_floor_um: f64,
    /// Volume of the scan, µm³.
    pub volume_um3: f64,
}

/// Draws the pore volume fraction that a scan of one part would show.
pub fn visible_porosity(case: &Case, nuisance: &Nuisance, view: View, rng: &mut impl Rng) -> f64 {
    let shares = expected_shares(case, nuisance);
    let keyhole_um = nuisance.keyhole.median_to_radius * 0.5 * case.spot.get();
    let gas = Sizes { median_um: nuisance.gas.median_um, ln_sd: nuisance.gas.ln_sd };
    let keyhole = Sizes { median_um: keyhole_um, ln_sd: nuisance.keyhole.ln_sd };
    shares.lack_of_fusion
        + shares.balling
        + gas.draw(shares.gas, view, rng)
        + keyhole.draw(shares.keyhole, view, rng)
}

/// Lognormal pore diameters.
struct Sizes {
    median_um: f64,
    ln_sd: f64,
}

impl Sizes {
    /// The share of volume a scan shows of pores whose expected share is `expected`: as many
    /// average pores as a Poisson count says, cut at the floor.
    fn draw(&self, expected: f64, view: View, rng: &mut impl Rng) -> f64 {
        let variance = self.ln_sd * self.ln_sd;
        let mean_volume = PI / 6.0 * self.median_um.powi(3) * (4.5 * variance).exp();
        let mean_count = expected * view.volume_um3 / mean_volume.max(1e-9);
        let count = poisson(rng, mean_count) as f64;
        let found = if mean_count > 0.0 { expected * count / mean_count } else { 0.0 };
        // By volume, a lognormal's median lies three variances higher.
        let above = (self.median_um / view.detection_floor_um.max(1e-9)).ln() + 3.0 * variance;
        found * normal_below(above / self.ln_sd.max(1e-6))
    }
}

/// Distribution function of the standard normal, by the logistic approximation of Bowling et al.
/// 2009 (within 1.4e-4), which is far closer than the sizes of pores are known.
fn normal_below(x: f64) -> f64 {
    let x = x.clamp(-8.0, 8.0);
    1.0 / (1.0 + (-(0.070_56 * x.powi(3) + 1.5976 * x)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, stream};
    use microdiff_domain::{Alloy, Process, ProcessParameters, SpotDiameter};

    const VIEW: View = View { detection_floor_um: 12.0, volume_um3: 3e7 };

    fn titanium(theta: [f64; 5]) -> Case {
        Case {
            process: Process::Lpbf,
            alloy: Alloy::Ti6Al4V,
            parameters: ProcessParameters::from_array(theta).unwrap(),
            spot: SpotDiameter::micrometres(100.0).unwrap(),
        }
    }

    fn mean(theta: [f64; 5], view: View) -> f64 {
        let (case, nuisance) = (titanium(theta), Nuisance::nominal(Process::Lpbf));
        let mut rng = stream(1, Stream::Pattern, 0);
        let draws = (0..400).map(|_| visible_porosity(&case, &nuisance, view, &mut rng));
        draws.sum::<f64>() / 400.0
    }

    #[test]
    fn a_fine_view_sees_what_is_expected_and_a_coarse_one_loses_the_gas() {
        let dense = [280.0, 1200.0, 30.0, 80.0, 80.0];
        let all = expected_shares(&titanium(dense), &Nuisance::nominal(Process::Lpbf)).total();
        let fine = mean(dense, View { detection_floor_um: 0.1, ..VIEW });
        assert!((fine / all - 1.0).abs() < 0.25, "{fine} of {all}");
        let coarse = mean(dense, View { detection_floor_um: 80.0, ..VIEW });
        assert!(coarse < 0.3 * fine, "{coarse} of {fine}");
    }

    #[test]
    fn gaps_between_tracks_are_seen_at_any_resolution() {
        let gaps = [100.0, 2000.0, 60.0, 160.0, 80.0];
        let [fine, coarse] =
            [3.0, 50.0].map(|floor| mean(gaps, View { detection_floor_um: floor, ..VIEW }));
        assert!(coarse > 0.9 * fine && coarse > 0.01, "{coarse} of {fine}");
    }

    #[test]
    fn normal_at_known_points() {
        for (x, expected) in [(0.0, 0.5), (1.0, 0.841_345), (-2.0, 0.022_750)] {
            assert!((normal_below(x) - expected).abs() < 2e-4);
        }
    }
}
