//! Alloy and generator → a setting, as an engineer without a scan would believe it.

use crate::Nuisance;
use crate::expected::expected_shares;
use crate::melt_pool::forward;
use crate::random::uniform;
use microdiff_domain::{
    Alloy, DefectClass, PARAMETER_COUNT, Parameter, ProcessParameters, SpotDiameter,
};
use rand::Rng;
use rand::RngExt;

/// Range of the spot diameter, µm, uniform.
pub const SPOT_UM: [f64; 2] = [50.0, 140.0];
/// Accepted normalised enthalpy at nominal nuisance.
pub const ENTHALPY: [f64; 2] = [0.7, 25.0];
/// Largest accepted overlap number C at nominal nuisance.
pub const LARGEST_OVERLAP: f64 = 6.0;

/// One setting of a machine with its alloy and spot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// Alloy.
    pub alloy: Alloy,
    /// The five inferred parameters.
    pub parameters: ProcessParameters,
    /// Spot diameter, 1/e².
    pub spot: SpotDiameter,
}

/// Draws from the natural prior: each parameter from [`Parameter::range`], the spot uniform in
/// [`SPOT_UM`], refused while the nominal normalised enthalpy lies outside [`ENTHALPY`] or the
/// overlap number above [`LARGEST_OVERLAP`].
pub fn draw(alloy: Alloy, rng: &mut impl Rng) -> Case {
    loop {
        let mut theta = [0.0; PARAMETER_COUNT];
        for parameter in Parameter::ALL {
            theta[parameter.index()] = parameter.range(alloy).from_unit(rng.random());
        }
        let spot = SpotDiameter::micrometres(uniform(rng, SPOT_UM[0], SPOT_UM[1]));
        // The ranges lie inside the bounds of the units; a test draws enough to see it.
        let (Ok(parameters), Ok(spot)) = (ProcessParameters::from_array(theta), spot) else {
            continue;
        };
        let case = Case { alloy, parameters, spot };
        if case.is_plausible() {
            return case;
        }
    }
}

/// Shares of the expected classes in [`draw_mixed`], in the order of [`DefectClass::ALL`].
pub const MIXTURE: [f64; 4] = [0.30, 0.38, 0.28, 0.04];

/// Natural draws [`draw_mixed`] makes before it takes what it has: some alloys never ball.
const ATTEMPTS: usize = 300;

/// Draws a setting together with its nuisance values so that the expected classes
/// ([`expected_shares`]) come in the shares of [`MIXTURE`] instead of their natural ones.
///
/// Within a class this is the natural prior: only the odds of the classes change. A scan that
/// shows its class therefore has the same posterior under both; where the class is in doubt, the
/// mixture *is* the prior of a model trained on it, and rarer classes are believed too readily by
/// the ratio of `MIXTURE` to the natural share.
pub fn draw_mixed(alloy: Alloy, rng: &mut impl Rng) -> (Case, Nuisance) {
    let mut left: f64 = rng.random();
    let wanted = DefectClass::ALL.into_iter().zip(MIXTURE).find_map(|(class, share)| {
        left -= share;
        (left < 0.0).then_some(class)
    });
    let mut attempts = 1;
    loop {
        let case = draw(alloy, rng);
        let nuisance = Nuisance::draw(alloy, rng);
        let class = case.expected_class(&nuisance);
        if attempts >= ATTEMPTS || wanted.is_none_or(|wanted| wanted == class) {
            return (case, nuisance);
        }
        attempts += 1;
    }
}

impl Case {
    /// The class of the expected pore shares.
    pub fn expected_class(&self, nuisance: &Nuisance) -> DefectClass {
        expected_shares(self.alloy, &self.parameters, self.spot, nuisance).class()
    }

    /// Whether the prior gives this setting any density.
    pub fn is_plausible(&self) -> bool {
        let pool = forward(self.alloy, &self.parameters, self.spot, &Nuisance::nominal());
        (ENTHALPY[0]..=ENTHALPY[1]).contains(&pool.normalised_enthalpy)
            && pool.overlap <= LARGEST_OVERLAP
    }
}
