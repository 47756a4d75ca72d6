//! Whether positions between 0 and 1 are spread evenly: the question behind both simulation-based
//! calibration (Talts et al. 2018, arXiv 1804.06788) and TARP (Lemos et al. 2023, arXiv 2302.03026).
//!
//! A right posterior passes; passing does not make it right. The prior passes, too, so skill is
//! reported beside it.

use serde::{Deserialize, Serialize};

/// The Kolmogorov–Smirnov test of positions against the uniform distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uniformity {
    /// Number of positions.
    pub count: usize,
    /// Largest distance of their distribution function from the diagonal.
    pub deviation: f64,
    /// Probability of a larger one if they were uniform.
    pub p_value: f64,
}

impl Uniformity {
    /// Of positions in any order.
    pub(super) fn of(mut positions: Vec<f64>) -> Self {
        positions.sort_by(f64::total_cmp);
        let count = positions.len();
        let n = count.max(1) as f64;
        let gap = |(i, x): (usize, &f64)| (x - i as f64 / n).max((i + 1) as f64 / n - x);
        let deviation = positions.iter().enumerate().map(gap).fold(0.0, f64::max);
        // Stephens 1970: Kolmogorov's limit law with a correction for small samples.
        let scaled = deviation * (n.sqrt() + 0.12 + 0.11 / n.sqrt());
        Self { count, deviation, p_value: kolmogorov(scaled) }
    }

    /// Deviation that one sample of uniform positions in twenty exceeds.
    pub fn limit(&self) -> f64 {
        1.36 / (self.count.max(1) as f64).sqrt()
    }
}

/// Upper tail of Kolmogorov's distribution.
fn kolmogorov(x: f64) -> f64 {
    // Below, the tail is one to all digits and the series converges slowly.
    if x < 0.2 {
        return 1.0;
    }
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
        sign * (-2.0 * f64::from(k * k) * x * x).exp()
    };
    (2.0 * (1..=50).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

/// Position of the truth among draws: the share of them below it, midway between two ranks.
pub(super) fn rank(draws: &[f64], truth: f64) -> f64 {
    let below = draws.iter().filter(|draw| **draw < truth).count();
    (below as f64 + 0.5) / (draws.len() as f64 + 1.0)
}

/// Position of the truth among draws by distance from a reference point. Of a right posterior it is
/// uniform whatever the reference is, as long as it does not depend on the truth.
pub(super) fn distance_rank<const N: usize>(
    draws: &[[f64; N]],
    truth: &[f64; N],
    reference: &[f64; N],
) -> f64 {
    let square = |point: &[f64; N]| -> f64 {
        point.iter().zip(reference).map(|(a, b)| (a - b) * (a - b)).sum()
    };
    let distances: Vec<f64> = draws.iter().map(square).collect();
    rank(&distances, square(truth))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn tail_at_published_points() {
        // Smirnov 1948: the 5 % and 1 % points of the limit law.
        assert!((kolmogorov(1.358) - 0.05).abs() < 1e-3);
        assert!((kolmogorov(1.628) - 0.01).abs() < 1e-3);
        assert_eq!(kolmogorov(0.0), 1.0);
    }

    #[test]
    fn an_even_grid_passes_and_a_narrow_posterior_fails() {
        let grid: Vec<f64> = (0..500).map(|i| (f64::from(i) + 0.5) / 500.0).collect();
        let even = Uniformity::of(grid.clone());
        assert!(even.deviation < 0.0011 && even.p_value > 0.99, "{even:?}");
        // Ranks of a posterior half as wide as it should be pile up at both ends.
        let outer = grid.iter().map(|u| (2.0 * u - 0.5).clamp(0.0, 1.0)).collect();
        let narrow = Uniformity::of(outer);
        assert!(narrow.deviation > narrow.limit() && narrow.p_value < 1e-6, "{narrow:?}");
    }

    #[test]
    fn the_truth_as_one_more_draw_has_an_even_distance_rank() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut point = || -> [f64; 2] { [rng.random(), rng.random()] };
        let mut positions = |squeeze: f64| {
            let position = |_| {
                let draws: Vec<_> = (0..64).map(|_| point().map(|x| x * squeeze)).collect();
                distance_rank(&draws, &point(), &point())
            };
            Uniformity::of((0..400).map(position).collect())
        };
        assert!(positions(1.0).p_value > 0.01);
        assert!(positions(0.5).p_value < 1e-4);
    }
}
