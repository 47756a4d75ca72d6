//! Cubes of noise and of nothing.

use super::{Foreign, shown};
use crate::DesignError;
use crate::simulated::log_uniform;
use microdiff_imaging::filter::gaussian;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

/// Full scale of a grey value.
const FULL: f32 = 65535.0;

/// Independent standard normal values.
pub(super) fn normals(count: usize, rng: &mut impl Rng) -> Vec<f32> {
    (0..count).map(|_| StandardNormal.sample(rng)).collect()
}

/// Independent normal values blurred over `sigma` voxels, then of unit variance again.
pub(super) fn correlated(
    shape: [usize; 3],
    sigma: f64,
    rng: &mut impl Rng,
) -> Result<Vec<f32>, DesignError> {
    let mut field = gaussian(&normals(shape.iter().product(), rng), shape, sigma)?;
    let square: f64 = field.iter().map(|value| f64::from(*value).powi(2)).sum();
    let sd = (square / field.len().max(1) as f64).sqrt().max(1e-9) as f32;
    field.iter_mut().for_each(|value| *value /= sd);
    Ok(field)
}

/// Grey values of a cube of noise.
pub(super) fn grey(
    kind: Foreign,
    shape: [usize; 3],
    rng: &mut impl Rng,
) -> Result<Vec<u16>, DesignError> {
    let count = shape.iter().product();
    let level = FULL * (0.4 + 0.2 * rng.random::<f32>());
    // From noise that a bad scan could have to grey values over the whole scale.
    let spread = log_uniform(rng, [0.05, 0.3]) as f32;
    let noisy = |values: Vec<f32>| {
        let grey = values.into_iter().map(|value| level * (1.0 + spread * value));
        grey.map(|grey| grey.clamp(0.0, FULL).round() as u16).collect()
    };
    Ok(match kind {
        Foreign::WhiteNoise => noisy(normals(count, rng)),
        Foreign::BlurredNoise => {
            let sigma = log_uniform(rng, [1.0, 6.0]);
            noisy(correlated(shape, sigma, rng)?)
        }
        Foreign::SaltAndPepper => {
            let share = log_uniform(rng, [0.01, 0.3]);
            let mut voxel = || match rng.random::<f64>() / share {
                strewn if strewn < 0.5 => 0,
                strewn if strewn < 1.0 => u16::MAX,
                _ => level as u16,
            };
            (0..count).map(|_| voxel()).collect()
        }
        Foreign::Constant => vec![level as u16; count],
        _ => noisy(shown::field(kind, shape, rng)?),
    })
}
