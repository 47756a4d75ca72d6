//! Width and depth of the melt by the same integral, for beams no measured law covers.
//!
//! Below the surface the integrand carries `exp(-z²/4τ)`, z in `√(D a/v)`, which is `√p` of the
//! radius `a`. Conduction alone: no vapour depression, so deep melts are read far too shallow.

use super::{
    B_RATIOS, GAUSS_LEGENDRE, LN_B_RATIO, LN_P, P_VALUES, Source, cell, golden_maximum, grid_value,
    length_and_width, ln_threshold, side_by_side,
};
use std::sync::LazyLock;

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// Width and depth of the melt in units of the 1/e radius, from a table of the integral made on
/// first use; `None` when nothing melts or an argument is not positive. Held at the edges of the
/// table like [`super::length_to_width`].
pub fn width_and_depth(b: f64, p: f64) -> Option<[f64; 2]> {
    let usable = b > 0.0 && p > 0.0 && b.is_finite() && p.is_finite();
    usable.then(|| TABLE.extent(b, p)).flatten()
}

/// Depth of the melt in units of the 1/e radius, straight from the integral; `None` when nothing
/// melts.
pub fn depth(b: f64, p: f64) -> Option<f64> {
    let source = Source::new(b, p);
    let hottest = source.hottest();
    if source.theta(hottest, 0.0) <= 1.0 {
        return None;
    }
    // The deepest point lies behind the hottest, within the length of the melt.
    let [length, _] = length_and_width(b, p)?;
    let at_deepest = golden_maximum(hottest - 1.0, hottest + length, |x| source.depth_at(x));
    Some(source.depth_at(at_deepest) * p.sqrt())
}

impl Source {
    /// θ on the centre line, z below the surface.
    fn theta_below(&self, x: f64, z: f64) -> f64 {
        let middle = x + 72.0 * self.p;
        let reach = (middle * middle - x * x + 36.0).max(0.0).sqrt();
        let low = (middle - reach).max(0.0).sqrt();
        let high = (middle + reach).max(0.0).sqrt();
        let sum: f64 = GAUSS_LEGENDRE
            .iter()
            .map(|(node, weight)| {
                let u = 0.5 * (low + high) + 0.5 * (high - low) * node;
                let spread = 1.0 + 4.0 * self.p * u * u;
                let distance = x - u * u;
                let across = distance * distance / spread + 0.25 * z * z / (u * u);
                weight * (-across).exp() / spread
            })
            .sum();
        sum * self.b * (high - low)
    }

    /// z at which θ = 1 below x; 0 outside the melt.
    fn depth_at(&self, x: f64) -> f64 {
        if self.theta_below(x, 0.0) <= 1.0 {
            return 0.0;
        }
        let (mut inside, mut outside) = (0.0, 1.0);
        while self.theta_below(x, outside) > 1.0 && outside < 1e4 {
            outside *= 2.0;
        }
        for _ in 0..36 {
            let middle = 0.5 * (inside + outside);
            if self.theta_below(x, middle) > 1.0 {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        inside
    }
}

struct Table {
    ln_threshold: Vec<f64>,
    /// ln of width and of depth over √p, which is flat towards small p; p slow and B fast.
    ln_extent: Vec<[[f64; 2]; B_RATIOS]>,
}

impl Table {
    fn new() -> Self {
        let rows = side_by_side(P_VALUES, |i| {
            let p = grid_value(LN_P, P_VALUES, i).exp();
            let ln_threshold = ln_threshold(p);
            let ln_extent = std::array::from_fn(|j| {
                let b = (ln_threshold + grid_value(LN_B_RATIO, B_RATIOS, j)).exp();
                let width = length_and_width(b, p).map_or(0.0, |[_, width]| width);
                let depth = depth(b, p).unwrap_or(0.0) / p.sqrt();
                [width, depth].map(|extent| extent.max(1e-6).ln())
            });
            (ln_threshold, ln_extent)
        });
        let (ln_threshold, ln_extent) = rows.into_iter().unzip();
        Self { ln_threshold, ln_extent }
    }

    fn extent(&self, b: f64, p: f64) -> Option<[f64; 2]> {
        let (i, u) = cell(LN_P, P_VALUES, p.ln());
        let mix = |low: f64, high: f64, at: f64| low + (high - low) * at;
        let ln_threshold = mix(self.ln_threshold[i], self.ln_threshold[i + 1], u);
        let above = b.ln() - ln_threshold;
        if above <= 0.0 {
            return None;
        }
        let (j, w) = cell(LN_B_RATIO, B_RATIOS, above);
        let [width, depth] = [0, 1].map(|k| {
            let row = |i: usize| mix(self.ln_extent[i][j][k], self.ln_extent[i][j + 1][k], w);
            mix(row(i), row(i + 1), u).exp()
        });
        Some([width, depth * p.sqrt()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of an independent evaluation: B, p, depth/a, width/a.
    const REFERENCE: [[f64; 4]; 4] = [
        [2.3832, 0.09943, 0.75646, 2.73466],
        [5.20303, 0.90206, 1.97868, 4.56071],
        [21.77364, 0.03649, 2.22692, 4.88761],
        [21.77364, 0.90206, 4.86839, 9.96009],
    ];

    #[test]
    fn depth_matches_an_independent_evaluation() {
        for [b, p, expected, _] in REFERENCE {
            let found = depth(b, p).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-2, "{found} for {expected}");
        }
        assert!(depth(0.1, 1.0).is_none());
    }

    #[test]
    fn the_table_follows_the_integral() {
        for [b, p, deep, wide] in REFERENCE {
            let [width, depth] = width_and_depth(b, p).unwrap();
            assert!((width / wide - 1.0).abs() < 0.02, "{width} for {wide}");
            assert!((depth / deep - 1.0).abs() < 0.03, "{depth} for {deep}");
        }
        // A wide, fast electron beam lies below the table, which then follows within a fifth.
        let ([_, table], exact) =
            (width_and_depth(6.0, 0.003).unwrap(), depth(6.0, 0.003).unwrap());
        assert!((table / exact - 1.0).abs() < 0.2, "{table} for {exact}");
        assert!(width_and_depth(0.1, 1.0).is_none());
        assert!(width_and_depth(f64::NAN, 1.0).is_none());
    }
}
