//! A prediction and the draws behind it → how likely all bounds are kept, and by how much.

use super::bound::{Bound, Property, Sense, Target};
use crate::predict::{Drawn, Prediction};
use serde::Serialize;

/// Margins are held within this; a single number far from its limit says no more.
const LARGEST_MARGIN: f64 = 10.0;

/// How a setting stands to one bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BoundFit {
    /// The bound.
    pub bound: Bound,
    /// Probability that it is kept, whatever becomes of the others.
    pub probability: f64,
    /// Distance of the median from the limit, positive on the wanted side: in halves of the 90 %
    /// interval, for a probability in its own unit, for another single number in parts of the limit.
    pub margin: f64,
}

/// How a setting stands to a target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    /// Probability that every bound is kept at once.
    pub probability: f64,
    /// Smallest margin of the bounds.
    pub margin: f64,
    /// Each bound by itself.
    pub bounds: Vec<BoundFit>,
}

/// Counts the draws in which the bounds are kept, together and each. Bounds on single numbers are
/// kept in all draws or in none.
pub(super) fn fit(
    target: &Target,
    prediction: &Prediction,
    build_rate: f64,
    drawn: &[Drawn],
) -> Fit {
    let bounds = target.bounds();
    let single: Vec<Option<bool>> =
        bounds.iter().map(|bound| keeps_single(bound, prediction, build_rate)).collect();
    let mut together = 0usize;
    let mut each = vec![0usize; bounds.len()];
    for draw in drawn {
        let mut all = true;
        for ((bound, single), count) in bounds.iter().zip(&single).zip(&mut each) {
            let kept = single.unwrap_or_else(|| keeps_drawn(bound, draw));
            *count += usize::from(kept);
            all &= kept;
        }
        together += usize::from(all);
    }
    let share = |count: usize| count as f64 / drawn.len().max(1) as f64;
    let bounds: Vec<BoundFit> = bounds
        .iter()
        .zip(each)
        .map(|(bound, count)| BoundFit {
            bound: *bound,
            probability: share(count),
            margin: margin(bound, prediction, build_rate),
        })
        .collect();
    let margin = bounds.iter().map(|bound| bound.margin).fold(LARGEST_MARGIN, f64::min);
    Fit { probability: share(together), margin, bounds }
}

/// Whether a bound on a single number is kept; `None` for a bound on an interval.
fn keeps_single(bound: &Bound, prediction: &Prediction, build_rate: f64) -> Option<bool> {
    if bound.property.is_interval() {
        return None;
    }
    let value = interval(bound, prediction, build_rate);
    Some(value.is_some_and(|[_, value, _]| bound.keeps(value)))
}

fn keeps_drawn(bound: &Bound, draw: &Drawn) -> bool {
    let [width, depth] = draw.extent_um;
    let value = match bound.property {
        Property::Width => Some(width),
        Property::Depth => Some(depth),
        Property::RelativeDensity => draw.part.map(|part| part.relative_density_pct),
        Property::Yield => draw.part.map(|part| part.yield_mpa),
        Property::Elongation => draw.part.map(|part| part.elongation_pct),
        Property::LackOfFusion
        | Property::Keyhole
        | Property::Balling
        | Property::CoolingRate
        | Property::Spacing
        | Property::BuildRate => None,
    };
    value.is_some_and(|value| bound.keeps(value))
}

fn interval(bound: &Bound, prediction: &Prediction, build_rate: f64) -> Option<[f64; 3]> {
    match bound.property {
        Property::BuildRate => Some([build_rate; 3]),
        property => property.interval(prediction),
    }
}

fn margin(bound: &Bound, prediction: &Prediction, build_rate: f64) -> f64 {
    let Some([p05, p50, p95]) = interval(bound, prediction, build_rate) else {
        return -LARGEST_MARGIN;
    };
    let scale = match bound.property {
        Property::LackOfFusion | Property::Keyhole | Property::Balling => 1.0,
        property if property.is_interval() => 0.5 * (p95 - p05),
        _ => bound.limit,
    };
    let ahead = match bound.sense {
        Sense::AtLeast => p50 - bound.limit,
        Sense::AtMost => bound.limit - p50,
    };
    // Where nothing melts, an interval has no width.
    let margin = ahead / scale.abs().max(1e-6);
    margin.clamp(-LARGEST_MARGIN, LARGEST_MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::{Condition, Predictor, Setting};
    use microdiff_domain::{Alloy, Process};
    use proptest::prelude::*;

    fn usual() -> (Prediction, Vec<Drawn>) {
        let setting = Setting {
            power_w: Some(195.0),
            speed_mm_s: Some(1083.0),
            spot_um: Some(100.0),
            layer_um: Some(20.0),
            hatch_um: Some(90.0),
            bed_c: Some(80.0),
        };
        let condition = Condition::new(Alloy::Ss316L, Process::Lpbf, &setting).unwrap();
        Predictor::new(0).predict_drawn(&condition)
    }

    fn of(target: &str) -> Fit {
        let (prediction, drawn) = usual();
        fit(&target.parse().unwrap(), &prediction, 7.0, &drawn)
    }

    #[test]
    fn a_bound_at_a_quantile_has_its_probability() {
        let (prediction, _) = usual();
        let density = prediction.relative_density_pct.unwrap();
        let at = |limit: f64| of(&format!("relative_density>={limit}"));
        assert!((at(density.p50).probability - 0.5).abs() < 0.01);
        assert!((at(density.p05).probability - 0.95).abs() < 0.01);
        assert!(at(density.p50).margin.abs() < 1e-9);
        let half = 0.5 * (density.p95 - density.p05);
        assert!((at(density.p50 - half).margin - 1.0).abs() < 1e-9);
    }

    #[test]
    fn bounds_that_go_together_are_not_multiplied() {
        // Pores cost elongation, so whoever is dense is ductile.
        let together = of("relative_density>=98.5,elongation>=40");
        let [density, elongation] = [0, 1].map(|k| together.bounds[k].probability);
        let smaller = density.min(elongation);
        assert!(together.probability <= smaller);
        assert!(together.probability > density * elongation + 0.01, "{together:?}");
    }

    #[test]
    fn single_numbers_are_kept_or_not() {
        for (target, kept) in [
            ("p_keyhole<=0.5", 1.0),
            ("p_keyhole>=0.5", 0.0),
            ("build_rate>=7", 1.0),
            ("build_rate>=7.1", 0.0),
            ("cooling_rate>=0", 1.0),
        ] {
            assert_eq!(of(target).probability, kept, "{target}");
            assert_eq!(of(target).margin >= 0.0, kept > 0.5, "{target}");
        }
    }

    proptest! {
        #[test]
        fn tighter_bounds_are_never_likelier(
            density in 90.0..100.0f64, depth in 20.0..300.0f64, tighter in 0.0..1.0f64,
        ) {
            let at = |part: f64| {
                let density = density + (100.0 - density) * part;
                let depth = depth * (1.0 - part);
                of(&format!("relative_density>={density},depth<={depth},p_keyhole<=0.5"))
            };
            let (loose, tight) = (at(0.0), at(tighter));
            prop_assert!(tight.probability <= loose.probability);
            prop_assert!(tight.margin <= loose.margin + 1e-9);
            for (tight, loose) in tight.bounds.iter().zip(&loose.bounds) {
                prop_assert!(tight.probability <= loose.probability);
                prop_assert!(loose.probability >= 0.0 && tight.probability <= 1.0);
            }
        }
    }
}
