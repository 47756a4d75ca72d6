//! The space the diffusion runs in: each parameter's position in its prior range, through the
//! inverse normal distribution function. The prior becomes a standard normal, which makes the
//! EDM data scale exactly one, and every point of the space maps back inside the range.

use microdiff_domain::normal;
use microdiff_domain::{Alloy, PARAMETER_COUNT, Parameter, Process};

/// How close to the edge of its range a value is told apart from the edge, as a share of it.
const EDGE: f64 = 1e-6;

/// θ in physical units to the space of the diffusion. Values outside the prior are moved to its
/// edge.
pub(crate) fn to_latent(
    theta: &[f64; PARAMETER_COUNT],
    process: Process,
    alloy: Alloy,
) -> [f64; PARAMETER_COUNT] {
    to_unit(theta, process, alloy).map(|unit| normal::quantile(unit.clamp(EDGE, 1.0 - EDGE)))
}

/// Inverse of [`to_latent`]; always inside the prior's range.
pub(crate) fn from_latent(
    latent: &[f64; PARAMETER_COUNT],
    process: Process,
    alloy: Alloy,
) -> [f64; PARAMETER_COUNT] {
    from_unit(&latent.map(normal::cdf), process, alloy)
}

/// The inverse of [`to_unit`].
pub(crate) fn from_unit(
    unit: &[f64; PARAMETER_COUNT],
    process: Process,
    alloy: Alloy,
) -> [f64; PARAMETER_COUNT] {
    Parameter::ALL.map(|p| p.range(process, alloy).from_unit(unit[p.index()]))
}

/// Positions in the prior's ranges, 0 to 1.
pub(crate) fn to_unit(
    theta: &[f64; PARAMETER_COUNT],
    process: Process,
    alloy: Alloy,
) -> [f64; PARAMETER_COUNT] {
    Parameter::ALL.map(|p| p.range(process, alloy).to_unit(theta[p.index()]).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(units in prop::array::uniform5(1e-5..0.99999f64), pair in 0..9usize) {
            let (process, alloy) = Process::pairs().nth(pair).unwrap();
            let theta = from_unit(&units, process, alloy);
            let back = from_latent(&to_latent(&theta, process, alloy), process, alloy);
            for (a, b) in theta.iter().zip(back) {
                prop_assert!((a - b).abs() < 1e-8 * a.abs());
            }
        }

        #[test]
        fn nothing_leaves_the_range(latent in prop::array::uniform5(-60.0..60.0f64)) {
            let theta = from_latent(&latent, Process::Ebm, Alloy::In718);
            for p in Parameter::ALL {
                let range = p.range(Process::Ebm, Alloy::In718);
                prop_assert!((range.low..=range.high).contains(&theta[p.index()]));
            }
        }
    }
}
