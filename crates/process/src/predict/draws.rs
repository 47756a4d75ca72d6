//! Seed → the imperfections a prediction is averaged over, the same for every setting.
//!
//! Common random numbers: two settings differ by their physics and never by their luck, so a
//! table of settings can be ranked. Latin hypercube: each imperfection is spread evenly over its
//! distribution, so that few draws give smooth quantiles.

use crate::boundaries::BALLING_WIDTH;
use microdiff_domain::normal;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws for each setting.
pub(crate) const DRAWS: usize = 128;

/// One draw of everything that is not known about a build. Normal numbers have unit variance,
/// parts lie between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Imperfection {
    pub(crate) width: f64,
    pub(crate) depth: f64,
    pub(crate) absorbed: f64,
    pub(crate) onset: f64,
    pub(crate) strength: f64,
    pub(crate) stretch: f64,
    /// Of the logarithm of pore fractions.
    pub(crate) scale: f64,
    pub(crate) balling_centre: f64,
    /// Logistic with the measured width of the balling criterion.
    pub(crate) balling_scatter: f64,
    pub(crate) fluctuation: f64,
    pub(crate) packing: f64,
    pub(crate) gas: f64,
    pub(crate) rate: f64,
    pub(crate) unresolved: f64,
    pub(crate) spot: f64,
}

/// The draws of a seed. Each set is another stream of it.
pub(crate) fn imperfections(seed: u64, set: u64) -> Vec<Imperfection> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(set);
    let mut part = || {
        let mut parts: Vec<f64> =
            (0..DRAWS).map(|i| (i as f64 + rng.random::<f64>()) / DRAWS as f64).collect();
        parts.shuffle(&mut rng);
        parts.into_iter()
    };
    let mut columns: Vec<_> = (0..15).map(|_| part()).collect();
    let mut next = |column: usize| columns[column].next().unwrap_or(0.5);
    (0..DRAWS)
        .map(|_| Imperfection {
            width: normal_quantile(next(0)),
            depth: normal_quantile(next(1)),
            absorbed: normal_quantile(next(2)),
            onset: normal_quantile(next(3)),
            strength: normal_quantile(next(4)),
            stretch: normal_quantile(next(5)),
            balling_centre: normal_quantile(next(6)),
            balling_scatter: {
                let part = next(7);
                BALLING_WIDTH * (part / (1.0 - part)).ln()
            },
            fluctuation: next(8),
            packing: next(9),
            gas: next(10),
            rate: next(11),
            unresolved: next(12),
            spot: next(13),
            scale: normal_quantile(next(14)),
        })
        .collect()
}

/// The normal quantile, held within about four standard deviations.
pub(crate) fn normal_quantile(part: f64) -> f64 {
    normal::quantile(part.clamp(3e-5, 1.0 - 3e-5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_at_known_points() {
        for (part, expected) in
            [(0.5, 0.0), (0.05, -1.644_853_627), (0.95, 1.644_853_627), (0.001, -3.090_232_306)]
        {
            assert!((normal_quantile(part) - expected).abs() < 1e-7, "{part}");
        }
    }

    #[test]
    fn a_seed_decides_and_each_column_is_spread_evenly() {
        assert_eq!(imperfections(1, 0), imperfections(1, 0));
        assert_ne!(imperfections(1, 0), imperfections(2, 0));
        assert_ne!(imperfections(1, 0), imperfections(1, 1));
        for column in [|i: &Imperfection| i.fluctuation, |i: &Imperfection| i.spot] {
            let mut parts: Vec<f64> = imperfections(7, 0).iter().map(column).collect();
            parts.sort_by(f64::total_cmp);
            for (i, part) in parts.iter().enumerate() {
                assert_eq!((part * DRAWS as f64) as usize, i);
            }
        }
    }
}
