//! Seeds → independent streams. Every layer, cell and slice owns one, so the order in which
//! threads work changes nothing.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};

/// What a stream is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    Pattern = 1,
    Layer,
    Powder,
    Gas,
    Noise,
    Ring,
}

/// The generator of one stream of one seed.
pub(crate) fn stream(seed: u64, stream: Stream, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(((stream as u64) << 56) | (index & ((1 << 56) - 1)));
    rng
}

pub(crate) fn standard_normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// Normal, held within three standard deviations so that no volume is ruled by one wild draw.
pub(crate) fn normal(rng: &mut impl Rng, mean: f64, sd: f64) -> f64 {
    mean + sd * standard_normal(rng).clamp(-3.0, 3.0)
}

pub(crate) fn uniform(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

pub(crate) fn log_uniform(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    low * (rng.random::<f64>() * (high / low).ln()).exp()
}

/// Logistic of mean zero, held within about seven scales.
pub(crate) fn logistic(rng: &mut impl Rng, scale: f64) -> f64 {
    let part = uniform(rng, 1e-3, 1.0 - 1e-3);
    scale * (part / (1.0 - part)).ln()
}

/// Poisson count; zero for a mean that is not positive.
pub(crate) fn poisson(rng: &mut impl Rng, mean: f64) -> usize {
    Poisson::new(mean).map_or(0, |distribution| distribution.sample(rng) as usize)
}
