//! The space the diffusion of table mode runs in: one transform for each parameter, from the
//! declared prior or, without one, from what the training rows look like.

use crate::DiffusionError;
use microdiff_domain::normal;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The prior of one parameter as a user declares it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Prior {
    /// Uniform.
    Box {
        /// Smallest value.
        low: f64,
        /// Largest value.
        high: f64,
    },
    /// Normal.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        sd: f64,
    },
}

/// Reads `{"theta1": {"low": -1, "high": 1}, "theta2": {"mean": 0, "sd": 1}}`.
pub fn parse_priors(text: &[u8]) -> Result<BTreeMap<String, Prior>, DiffusionError> {
    let refuse = |reason: String| DiffusionError::table(format!("prior: {reason}"));
    let priors: BTreeMap<String, Prior> = serde_json::from_slice(text).map_err(|error| {
        refuse(format!(
            "not an object of {{\"low\": …, \"high\": …}} or {{\"mean\": …, \"sd\": …}} by \
             parameter ({error})"
        ))
    })?;
    for (name, prior) in &priors {
        match prior {
            Prior::Box { low, high } if !(low < high && (high - low).is_finite()) => {
                return Err(refuse(format!("`{name}` needs low below high")));
            }
            Prior::Normal { mean, sd } if !(*sd > 0.0 && sd.is_finite() && mean.is_finite()) => {
                return Err(refuse(format!("`{name}` needs sd above zero")));
            }
            _ => {}
        }
    }
    Ok(priors)
}

/// How one parameter becomes a latent of about unit scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Transform {
    /// Uniform prior: shifted and scaled; draws outside are drawn again.
    Box {
        /// Smallest value.
        low: f64,
        /// Largest value.
        high: f64,
        /// Whether the bounds were declared; else they are those of the training rows, widened
        /// by the gap expected beyond the extremes of a uniform sample.
        declared: bool,
    },
    /// Unbounded: shifted and scaled.
    Scale {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        sd: f64,
        /// Whether the prior was declared normal; else these are moments of the training rows.
        declared: bool,
    },
    /// Skewed or heavy-tailed: normal scores, linear between these quantiles of the training
    /// rows and beyond them.
    Scores {
        /// Rising values at evenly spaced normal scores from -3 to 3.
        knots: Vec<f64>,
    },
}

/// Normal scores of the first and last knot.
const REACH: f64 = 3.0;
const KNOTS: usize = 33;
/// A Kolmogorov distance above this over √n tells a marginal from what it is compared with
/// (significance 0.1 %).
const KOLMOGOROV: f64 = 1.95;

impl Transform {
    /// From the declared prior, or from the column's values.
    pub(super) fn choose(prior: Option<Prior>, column: &[f64]) -> Self {
        match prior {
            Some(Prior::Box { low, high }) => Self::Box { low, high, declared: true },
            Some(Prior::Normal { mean, sd }) => Self::Scale { mean, sd, declared: true },
            None => Self::from_data(column),
        }
    }

    fn from_data(column: &[f64]) -> Self {
        let mut sorted = column.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
        let gap = (most - least) / (sorted.len() - 1).max(1) as f64;
        let (low, high) = (least - gap, most + gap);
        let uniform = Self::Box { low, high, declared: false };
        if uniform.describes(column) {
            return uniform;
        }
        let count = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / count;
        let moment =
            |power| sorted.iter().map(|v: &f64| (v - mean).powi(power)).sum::<f64>() / count;
        let sd = moment(2).sqrt();
        let (skew, kurtosis) = (moment(3) / sd.powi(3), moment(4) / sd.powi(4));
        if skew.abs() < 0.5 && kurtosis < 4.5 {
            return Self::Scale { mean, sd, declared: false };
        }
        let knot = |i: usize| {
            let score = REACH * (2.0 * i as f64 / (KNOTS - 1) as f64 - 1.0);
            crate::posterior::quantile(&sorted, normal::cdf(score))
        };
        let mut knots: Vec<f64> = (0..KNOTS).map(knot).collect();
        // Ties would make the transform stand still.
        let step = 1e-6 * sd;
        for i in 1..KNOTS {
            knots[i] = knots[i].max(knots[i - 1] + step);
        }
        Self::Scores { knots }
    }

    /// Whether the values look drawn from the distribution the transform stands for.
    pub(super) fn describes(&self, column: &[f64]) -> bool {
        let cdf = |value: f64| match self {
            Self::Box { low, high, .. } => (value - low) / (high - low),
            _ => normal::cdf(self.to_latent(value)),
        };
        let mut places: Vec<f64> = column.iter().map(|v| cdf(*v)).collect();
        places.sort_by(f64::total_cmp);
        let count = places.len() as f64;
        let far = |(i, place): (usize, &f64)| (place - (i as f64 + 0.5) / count).abs();
        places.iter().enumerate().map(far).fold(0.0, f64::max) < KOLMOGOROV / count.sqrt()
    }

    pub(super) fn to_latent(&self, value: f64) -> f64 {
        match self {
            Self::Box { low, high, .. } => (value - 0.5 * (low + high)) / box_sd(*low, *high),
            Self::Scale { mean, sd, .. } => (value - mean) / sd,
            Self::Scores { knots } => {
                let right = knots.partition_point(|knot| *knot <= value).clamp(1, KNOTS - 1);
                let share = (value - knots[right - 1]) / (knots[right] - knots[right - 1]);
                REACH * (2.0 * ((right - 1) as f64 + share) / (KNOTS - 1) as f64 - 1.0)
            }
        }
    }

    pub(super) fn value_of(&self, latent: f64) -> f64 {
        match self {
            Self::Box { low, high, .. } => 0.5 * (low + high) + latent * box_sd(*low, *high),
            Self::Scale { mean, sd, .. } => mean + latent * sd,
            Self::Scores { knots } => {
                let place = (latent / REACH + 1.0) * 0.5 * (KNOTS - 1) as f64;
                let left = (place.max(0.0) as usize).min(KNOTS - 2);
                knots[left] + (place - left as f64) * (knots[left + 1] - knots[left])
            }
        }
    }

    /// Latents between which the prior lies.
    pub(super) fn bounds(&self) -> (f64, f64) {
        match self {
            Self::Box { .. } => (-(3f64.sqrt()), 3f64.sqrt()),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    /// Holds a value inside the bounds, against the last rounding.
    pub(super) fn hold(&self, value: f64) -> f64 {
        match self {
            Self::Box { low, high, .. } => value.clamp(*low, *high),
            _ => value,
        }
    }

    /// A latent of the distribution the transform stands for.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Box { .. } => 3f64.sqrt() * (2.0 * rng.random::<f64>() - 1.0),
            _ => StandardNormal.sample(rng),
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        match self {
            Self::Box { low, high, .. } => low < high && (high - low).is_finite(),
            Self::Scale { mean, sd, .. } => mean.is_finite() && *sd > 0.0 && sd.is_finite(),
            Self::Scores { knots } => {
                knots.len() == KNOTS
                    && knots.iter().all(|knot| knot.is_finite())
                    && knots.windows(2).all(|pair| pair[0] < pair[1])
            }
        }
    }
}

fn box_sd(low: f64, high: f64) -> f64 {
    (high - low) / 12f64.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn columns() -> [Vec<f64>; 3] {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let uniform = (0..5000).map(|_| 4.0 * rng.random::<f64>() - 1.0).collect();
        let normal: Vec<f64> = (0..5000).map(|_| StandardNormal.sample(&mut rng)).collect();
        let skewed = normal.iter().map(|v| v.exp()).collect();
        [uniform, normal, skewed]
    }

    #[test]
    fn the_data_choose_the_transform() {
        let [uniform, normal, skewed] = columns();
        let Transform::Box { low, high, declared: false } = Transform::choose(None, &uniform)
        else {
            panic!("uniform not seen")
        };
        assert!((-1.01..=-0.99).contains(&low) && (2.99..=3.01).contains(&high), "{low} {high}");
        assert!(matches!(Transform::choose(None, &normal), Transform::Scale { .. }));
        let scores = Transform::choose(None, &skewed);
        assert!(matches!(scores, Transform::Scores { .. }) && scores.is_valid());
        assert!(scores.describes(&skewed));
        assert!(!Transform::Scale { mean: 1.6, sd: 2.2, declared: true }.describes(&skewed));
    }

    #[test]
    fn transforms_have_inverses() {
        for column in columns() {
            let transform = Transform::choose(None, &column);
            for value in &column[..100] {
                let back = transform.value_of(transform.to_latent(*value));
                assert!((back - value).abs() < 1e-9 * (1.0 + value.abs()), "{value} {back}");
            }
        }
    }

    #[test]
    fn priors_are_read_and_checked() {
        let text = br#"{"a": {"low": -1, "high": 1}, "b": {"mean": 0, "sd": 2}}"#;
        let priors = parse_priors(text).unwrap();
        assert_eq!(priors["a"], Prior::Box { low: -1.0, high: 1.0 });
        assert_eq!(priors["b"], Prior::Normal { mean: 0.0, sd: 2.0 });
        for bad in [
            r#"{"a": {"low": 1, "high": 1}}"#,
            r#"{"a": {"mean": 0, "sd": 0}}"#,
            r#"{"a": {"low": 1}}"#,
            r#"[1]"#,
        ] {
            assert!(parse_priors(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
