//! Absorbed power, speed and beam radius → length-to-width ratio of the melt at the surface.
//!
//! Evaluates the travelling Gaussian source of Eagar and Tsai (1983, Weld. J. 62:346s). In lengths
//! of the 1/e beam radius `a`, the surface temperature over the melting temperature is
//!
//! `θ(x, y) = B ∫ τ^-1/2 (1+4pτ)^-1 exp(-((x-τ)² + y²)/(1+4pτ)) dτ`, τ from 0,
//!
//! with `B = ηP / (π^1.5 H √(D v a³))` and `p = D/(v a)`; the melt is θ ≥ 1 and trails towards
//! positive x. Of a laser only the ratio is used, in a table made on first use: the simulator needs
//! it for balling alone, widths and depths come from the measured laws. For other beams
//! [`width_and_depth`] gives what conduction alone would melt.

mod depth;
mod rows;

pub use depth::{depth, width_and_depth};

use rows::side_by_side;
use std::sync::LazyLock;

/// Gauss–Legendre nodes per evaluation; 64 give the same digits as 400.
const NODES: usize = 64;
const B_RATIOS: usize = 24;
const P_VALUES: usize = 24;
/// Length of the hill of width beside the source of a long melt, in beam radii.
const HEAD: f64 = 5.0;
/// ln(B/B₀), where B₀(p) is the least B that melts.
const LN_B_RATIO: [f64; 2] = [0.02, 4.6];
/// Lasers lie above -4; the fastest electron beams reach the low end.
const LN_P: [f64; 2] = [-4.0 - 4.0 * 6.4 / 19.0, 2.4];

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// Length-to-width ratio of the melt at source strength `b` (B) and diffusion `p`. Bilinear in
/// logarithms, held at the edge of 0.005 ≤ p ≤ 11 and of B up to a hundredfold the least that
/// melts; 1 when nothing melts or an argument is not positive.
pub fn length_to_width(b: f64, p: f64) -> f64 {
    if !(b > 0.0 && p > 0.0 && b.is_finite() && p.is_finite()) {
        return 1.0;
    }
    TABLE.ratio(b, p)
}

/// Length and width of the melt in units of `a`, straight from the integral; `None` when nothing
/// melts.
pub fn length_and_width(b: f64, p: f64) -> Option<[f64; 2]> {
    let source = Source::new(b, p);
    let hottest = source.hottest();
    if source.theta(hottest, 0.0) <= 1.0 {
        return None;
    }
    let edge = |direction: f64| {
        let mut step = 0.1;
        while source.theta(hottest + direction * step, 0.0) > 1.0 && step < 1e5 {
            step *= 2.0;
        }
        let (mut inside, mut outside) = (0.0, step);
        for _ in 0..40 {
            let middle = 0.5 * (inside + outside);
            if source.theta(hottest + direction * middle, 0.0) > 1.0 {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        hottest + direction * inside
    };
    let (front, back) = (edge(-1.0), edge(1.0));
    // A long melt is widest beside the source or far behind it: each hill is searched alone.
    let between = front + HEAD;
    let spans = [[front, back], [front, between], [between, back]];
    let spans = if between < back { &spans[..] } else { &spans[..1] };
    let widest = spans
        .iter()
        .map(|&[low, high]| golden_maximum(low, high, |x| source.half_width_squared(x)))
        .map(|x| source.half_width_squared(x));
    Some([back - front, 2.0 * widest.fold(0.0, f64::max).sqrt()])
}

struct Table {
    /// ln of the least B that melts, at each p.
    ln_threshold: Vec<f64>,
    /// ln(L/W), p slow and B fast.
    ln_ratio: Vec<[f64; B_RATIOS]>,
}

impl Table {
    fn new() -> Self {
        let rows = side_by_side(P_VALUES, |i| {
            let p = grid_value(LN_P, P_VALUES, i).exp();
            let ln_threshold = ln_threshold(p);
            let ln_ratio = std::array::from_fn(|j| {
                let b = (ln_threshold + grid_value(LN_B_RATIO, B_RATIOS, j)).exp();
                length_and_width(b, p).map_or(0.0, |[length, width]| (length / width).ln())
            });
            (ln_threshold, ln_ratio)
        });
        let (ln_threshold, ln_ratio) = rows.into_iter().unzip();
        Self { ln_threshold, ln_ratio }
    }

    fn ratio(&self, b: f64, p: f64) -> f64 {
        let (i, u) = cell(LN_P, P_VALUES, p.ln());
        let mix = |low: f64, high: f64, at: f64| low + (high - low) * at;
        let ln_threshold = mix(self.ln_threshold[i], self.ln_threshold[i + 1], u);
        if b.ln() <= ln_threshold {
            return 1.0;
        }
        let (j, w) = cell(LN_B_RATIO, B_RATIOS, b.ln() - ln_threshold);
        let row = |i: usize| mix(self.ln_ratio[i][j], self.ln_ratio[i][j + 1], w);
        mix(row(i), row(i + 1), u).exp()
    }
}

fn ln_threshold(p: f64) -> f64 {
    let unit = Source::new(1.0, p);
    -unit.theta(unit.hottest(), 0.0).ln()
}

fn grid_value(range: [f64; 2], count: usize, index: usize) -> f64 {
    range[0] + (range[1] - range[0]) * index as f64 / (count - 1) as f64
}

/// Lower index and fraction of `value` on an even grid, held inside it.
fn cell(range: [f64; 2], count: usize, value: f64) -> (usize, f64) {
    let at = ((value - range[0]) / (range[1] - range[0])).clamp(0.0, 1.0) * (count - 1) as f64;
    let index = (at as usize).min(count - 2);
    (index, at - index as f64)
}

struct Source {
    b: f64,
    p: f64,
}

impl Source {
    fn new(b: f64, p: f64) -> Self {
        Self { b, p }
    }

    /// θ at (x, y) on the surface, with τ = u² and the range cut where the exponent is below −36.
    fn theta(&self, x: f64, y: f64) -> f64 {
        self.moments(x, y)[0]
    }

    /// θ and its derivative by y², at (x, y).
    fn moments(&self, x: f64, y: f64) -> [f64; 2] {
        // (τ − x)² = 36 (1 + 4pτ)
        let middle = x + 72.0 * self.p;
        let reach = (middle * middle - x * x + 36.0).max(0.0).sqrt();
        let low = (middle - reach).max(0.0).sqrt();
        let high = (middle + reach).max(0.0).sqrt();
        let mut sums = [0.0; 2];
        for (node, weight) in GAUSS_LEGENDRE.iter() {
            let u = 0.5 * (low + high) + 0.5 * (high - low) * node;
            let spread = 1.0 + 4.0 * self.p * u * u;
            let distance = x - u * u;
            let value = weight * (-(distance * distance + y * y) / spread).exp() / spread;
            sums[0] += value;
            sums[1] -= value / spread;
        }
        // dτ τ^-1/2 = 2 du, and half the range from the change of variable.
        sums.map(|sum| sum * self.b * (high - low))
    }

    /// x of the highest surface temperature.
    fn hottest(&self) -> f64 {
        golden_maximum(-1.0, 3.0, |x| self.theta(x, 0.0))
    }

    /// y² at which θ = 1 on the line x; 0 outside the melt. Newton on ln θ, which falls almost
    /// linearly with y².
    fn half_width_squared(&self, x: f64) -> f64 {
        let mut y2: f64 = 0.0;
        for _ in 0..30 {
            let [theta, slope] = self.moments(x, y2.sqrt());
            if theta <= 0.0 || slope >= 0.0 {
                break;
            }
            let step = -theta * theta.ln() / slope;
            let next = (y2 + step).max(0.0);
            let settled = (next - y2).abs() <= 1e-10 * next;
            y2 = next;
            if settled {
                break;
            }
        }
        y2
    }
}

/// Golden-section search for the maximum of a function with one hill.
fn golden_maximum(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_894_8;
    let (mut left, mut right) = (high - RATIO * (high - low), low + RATIO * (high - low));
    let (mut at_left, mut at_right) = (f(left), f(right));
    for _ in 0..28 {
        if at_left < at_right {
            (low, left, at_left) = (left, right, at_right);
            right = low + RATIO * (high - low);
            at_right = f(right);
        } else {
            (high, right, at_right) = (right, left, at_left);
            left = high - RATIO * (high - low);
            at_left = f(left);
        }
    }
    0.5 * (low + high)
}

/// Nodes on [-1, 1] and weights, by Newton on the Legendre recurrence.
static GAUSS_LEGENDRE: LazyLock<[(f64, f64); NODES]> = LazyLock::new(|| {
    let n = NODES as f64;
    std::array::from_fn(|i| {
        let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..8 {
            let (mut previous, mut current) = (1.0, x);
            for k in 2..=NODES {
                let k = k as f64;
                (previous, current) =
                    (current, ((2.0 * k - 1.0) * x * current - (k - 1.0) * previous) / k);
            }
            slope = n * (x * current - previous) / (x * x - 1.0);
            x -= current / slope;
        }
        (x, 2.0 / ((1.0 - x * x) * slope * slope))
    })
});

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of an independent evaluation that sampled the outline on a grid (within 1 %): B, p,
    /// width/a, length/a.
    const REFERENCE: [[f64; 4]; 4] = [
        [2.3832, 0.09943, 2.73466, 6.59584],
        [5.20303, 0.90206, 4.56071, 6.40185],
        [21.77364, 0.03649, 4.88761, 99.38476],
        [24.79973, 0.04459, 5.42678, 103.05205],
    ];

    #[test]
    fn quadrature_integrates_a_polynomial_exactly() {
        let sum: f64 = GAUSS_LEGENDRE.iter().map(|(x, w)| w * x.powi(6)).sum();
        assert!((sum - 2.0 / 7.0).abs() < 1e-12);
    }

    #[test]
    fn length_and_width_match_an_independent_evaluation() {
        for [b, p, width, length] in REFERENCE {
            let [l, w] = length_and_width(b, p).unwrap();
            assert!((l / length - 1.0).abs() < 1e-2, "length {l} for {length}");
            assert!((w / width - 1.0).abs() < 1e-2, "width {w} for {width}");
        }
    }

    #[test]
    fn the_table_follows_the_integral() {
        for [b, p, width, length] in REFERENCE {
            let ratio = length_to_width(b, p);
            assert!((ratio / (length / width) - 1.0).abs() < 0.02, "{ratio} at B {b} p {p}");
        }
    }

    #[test]
    fn too_weak_a_source_melts_nothing() {
        assert!(length_and_width(0.1, 1.0).is_none());
        assert_eq!(length_to_width(0.1, 1.0), 1.0);
        assert_eq!(length_to_width(f64::NAN, 1.0), 1.0);
    }
}
