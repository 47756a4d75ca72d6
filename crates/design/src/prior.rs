//! Quantiles of the prior that the posterior is shown against.

use crate::document::Marginals;
use microdiff_diffusion::Quantiles;
use microdiff_domain::{PARAMETER_COUNT, Parameter};

/// Quantiles of every parameter over draws of θ.
pub(crate) fn marginals(draws: &[[f64; PARAMETER_COUNT]]) -> Marginals {
    Marginals::from_array(
        Parameter::ALL.map(|parameter| {
            Quantiles::of(draws.iter().map(|draw| draw[parameter.index()]).collect())
        }),
    )
}
