//! Seed → the imperfections a prediction is averaged over, the same for every setting.
//!
//! Common random numbers: two settings differ by their physics and never by their luck, so a
//! table of settings can be ranked. Latin hypercube: each imperfection is spread evenly over its
//! distribution, so that few draws give smooth quantiles.

use crate::boundaries::BALLING_WIDTH;
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

pub(crate) fn imperfections(seed: u64) -> Vec<Imperfection> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
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

/// Inverse of the standard normal distribution (Acklam's rational approximation, relative error
/// below 1.2e-9), held within about four standard deviations.
pub(crate) fn normal_quantile(part: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    let horner = |c: &[f64], x: f64| c.iter().fold(0.0, |sum, c| sum * x + c);
    let part = part.clamp(3e-5, 1.0 - 3e-5);
    let tail = |part: f64| {
        let q = (-2.0 * part.ln()).sqrt();
        horner(&C, q) / horner(&D, q)
    };
    if part < 0.02425 {
        tail(part)
    } else if part > 1.0 - 0.02425 {
        -tail(1.0 - part)
    } else {
        let q = part - 0.5;
        q * horner(&A, q * q) / horner(&B, q * q)
    }
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
        assert_eq!(imperfections(1), imperfections(1));
        assert_ne!(imperfections(1), imperfections(2));
        for column in [|i: &Imperfection| i.fluctuation, |i: &Imperfection| i.spot] {
            let mut parts: Vec<f64> = imperfections(7).iter().map(column).collect();
            parts.sort_by(f64::total_cmp);
            for (i, part) in parts.iter().enumerate() {
                assert_eq!((part * DRAWS as f64) as usize, i);
            }
        }
    }
}
