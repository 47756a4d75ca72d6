//! The space the diffusion runs in: each parameter's position in its prior range, through the
//! inverse normal distribution function. The prior becomes a standard normal, which makes the
//! EDM data scale exactly one, and every point of the space maps back inside the range.

use microdiff_domain::normal;
use microdiff_domain::{Alloy, PARAMETER_COUNT, Parameter};

/// How close to the edge of its range a value is told apart from the edge, as a share of it.
const EDGE: f64 = 1e-6;

/// θ in physical units to the space of the diffusion. Values outside the prior are moved to its
/// edge.
pub(crate) fn to_latent(theta: &[f64; PARAMETER_COUNT], alloy: Alloy) -> [f64; PARAMETER_COUNT] {
    to_unit(theta, alloy).map(|unit| normal::quantile(unit.clamp(EDGE, 1.0 - EDGE)))
}

/// Inverse of [`to_latent`]; always inside the prior's range.
pub(crate) fn from_latent(latent: &[f64; PARAMETER_COUNT], alloy: Alloy) -> [f64; PARAMETER_COUNT] {
    let mut theta = [0.0; PARAMETER_COUNT];
    for parameter in Parameter::ALL {
        let unit = normal::cdf(latent[parameter.index()]);
        theta[parameter.index()] = parameter.range(alloy).from_unit(unit);
    }
    theta
}

/// Positions in the prior's ranges, 0 to 1.
pub(crate) fn to_unit(theta: &[f64; PARAMETER_COUNT], alloy: Alloy) -> [f64; PARAMETER_COUNT] {
    let mut unit = [0.0; PARAMETER_COUNT];
    for parameter in Parameter::ALL {
        let position = parameter.range(alloy).to_unit(theta[parameter.index()]);
        unit[parameter.index()] = position.clamp(0.0, 1.0);
    }
    unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(units in prop::array::uniform5(1e-5..0.99999f64), a in 0..4usize) {
            let alloy = Alloy::ALL[a];
            let mut theta = [0.0; PARAMETER_COUNT];
            for p in Parameter::ALL {
                theta[p.index()] = p.range(alloy).from_unit(units[p.index()]);
            }
            let back = from_latent(&to_latent(&theta, alloy), alloy);
            for (a, b) in theta.iter().zip(back) {
                prop_assert!((a - b).abs() < 1e-8 * a.abs());
            }
        }

        #[test]
        fn nothing_leaves_the_range(latent in prop::array::uniform5(-60.0..60.0f64)) {
            let theta = from_latent(&latent, Alloy::In718);
            for p in Parameter::ALL {
                let range = p.range(Alloy::In718);
                prop_assert!((range.low..=range.high).contains(&theta[p.index()]));
            }
        }
    }
}
