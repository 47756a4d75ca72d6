//! Process, alloy and generator → a setting, as an engineer without a scan would believe it.

use crate::expected::expected_shares;
use crate::melt_pool::forward;
use crate::random::uniform;
use crate::{Case, Nuisance};
use microdiff_domain::{
    Alloy, DefectClass, PARAMETER_COUNT, Parameter, Process, ProcessParameters, SpotDiameter,
};
use rand::Rng;
use rand::RngExt;

/// Accepted normalised enthalpy of laser powder bed fusion at nominal nuisance.
pub const ENTHALPY: [f64; 2] = [0.7, 25.0];
/// Largest accepted overlap number C at nominal nuisance. Powder holds what is unmelted together;
/// what blown powder leaves unmelted is empty, and twice as much of it is no part.
pub fn largest_overlap(process: Process) -> f64 {
    match process {
        Process::Lpbf | Process::Ebm => 6.0,
        Process::Ded => 2.5,
    }
}

/// Draws from the natural prior: each parameter from [`Parameter::range`], the spot uniform in
/// [`Process::spot_um`], refused while the nominal overlap number lies above [`largest_overlap`]
/// or, of laser powder bed fusion, the nominal normalised enthalpy outside [`ENTHALPY`].
pub fn draw(process: Process, alloy: Alloy, rng: &mut impl Rng) -> Case {
    let [thinnest, widest] = process.spot_um();
    loop {
        let mut theta = [0.0; PARAMETER_COUNT];
        for parameter in Parameter::ALL {
            theta[parameter.index()] = parameter.range(process, alloy).from_unit(rng.random());
        }
        let spot = SpotDiameter::micrometres(uniform(rng, thinnest, widest));
        // The ranges lie inside the bounds of the units; a test draws enough to see it.
        let (Ok(parameters), Ok(spot)) = (ProcessParameters::from_array(theta), spot) else {
            continue;
        };
        let case = Case { process, alloy, parameters, spot };
        if case.is_plausible() {
            return case;
        }
    }
}

/// Shares of the expected classes in [`draw_mixed`], in the order of [`DefectClass::ALL`]. Beams
/// other than lasers on powder never ball, and directed energy is too spread out for keyholes.
pub fn mixture(process: Process) -> [f64; 4] {
    match process {
        Process::Lpbf => [0.30, 0.38, 0.28, 0.04],
        Process::Ebm => [0.35, 0.43, 0.22, 0.0],
        Process::Ded => [0.45, 0.55, 0.0, 0.0],
    }
}

/// Largest expected share of void that [`draw_mixed`] takes: with more void than metal there is no
/// part to scan. Powder keeps beds below it; blown powder does not.
const MOST_VOID: f64 = 0.5;

/// Natural draws [`draw_mixed`] makes before it takes what it has: some alloys never ball.
const ATTEMPTS: usize = 300;

/// Draws a setting together with its nuisance values so that the expected classes
/// ([`expected_shares`]) come in the shares of [`mixture`] instead of their natural ones.
///
/// Within a class this is the natural prior: only the odds of the classes change, and what is more
/// void than metal is left out. A scan that
/// shows its class therefore has the same posterior under both; where the class is in doubt, the
/// mixture *is* the prior of a model trained on it, and rarer classes are believed too readily by
/// the ratio of `mixture` to the natural share.
pub fn draw_mixed(process: Process, alloy: Alloy, rng: &mut impl Rng) -> (Case, Nuisance) {
    let mut left: f64 = rng.random();
    let wanted = DefectClass::ALL.into_iter().zip(mixture(process)).find_map(|(class, share)| {
        left -= share;
        (left < 0.0).then_some(class)
    });
    let mut attempts = 1;
    loop {
        let case = draw(process, alloy, rng);
        let nuisance = Nuisance::draw(process, alloy, rng);
        let shares = expected_shares(&case, &nuisance);
        let fits = wanted.is_none_or(|wanted| wanted == shares.class());
        if attempts >= ATTEMPTS || (fits && shares.total() <= MOST_VOID) {
            return (case, nuisance);
        }
        attempts += 1;
    }
}

impl Case {
    /// The class of the expected pore shares.
    pub fn expected_class(&self, nuisance: &Nuisance) -> DefectClass {
        expected_shares(self, nuisance).class()
    }

    /// Whether the prior gives this setting any density.
    pub fn is_plausible(&self) -> bool {
        let pool = forward(self, &Nuisance::nominal(self.process));
        let heated = self.process != Process::Lpbf
            || (ENTHALPY[0]..=ENTHALPY[1]).contains(&pool.normalised_enthalpy);
        heated && pool.overlap <= largest_overlap(self.process)
    }
}
