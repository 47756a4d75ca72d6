//! What the network sees of an observation: its standardised values and, for few observables,
//! their products and differences.
//!
//! Products carry second moments, of which many likelihoods are made, and differences on a
//! logarithmic scale carry spreads over decades; a network learns either only from many rows.

use serde::{Deserialize, Serialize};

/// More observables than this get no products and differences: there would be too many.
const PAIRED: usize = 20;
/// Features beyond this many standard deviations are held there.
const LIMIT: f64 = 6.0;

/// Scaling of observables and features, from the training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// Mean of each observable.
    pub mean: Vec<f64>,
    /// Standard deviation of each observable.
    pub sd: Vec<f64>,
    /// Mean of each feature.
    pub feature_mean: Vec<f64>,
    /// Standard deviation of each feature; 1 where it does not vary.
    pub feature_sd: Vec<f64>,
}

impl Features {
    /// From training observations; each observable varies.
    pub(super) fn fit(rows: &[Vec<f64>]) -> Self {
        let (mean, sd) = moments(rows);
        let mut features = Self { mean, sd, feature_mean: Vec::new(), feature_sd: Vec::new() };
        let raw: Vec<Vec<f64>> =
            rows.iter().map(|row| features.raw(&features.scale(row))).collect();
        let (mean, sd) = moments(&raw);
        features.feature_mean = mean;
        features.feature_sd = sd.iter().map(|sd| if *sd > 0.0 { *sd } else { 1.0 }).collect();
        features
    }

    /// Number of features of so many observables.
    pub(super) fn count(observables: usize) -> usize {
        let pairs = if observables <= PAIRED { observables * observables } else { 0 };
        2 * observables + pairs
    }

    /// Whether the lists fit so many observables and every scale is a positive number.
    pub(super) fn is_valid(&self, observables: usize) -> bool {
        let count = Self::count(observables);
        let finite = |list: &[f64]| list.iter().all(|v| v.is_finite());
        let positive = |list: &[f64]| finite(list) && list.iter().all(|v| *v > 0.0);
        self.mean.len() == observables
            && self.sd.len() == observables
            && self.feature_mean.len() == count
            && self.feature_sd.len() == count
            && finite(&self.mean)
            && finite(&self.feature_mean)
            && positive(&self.sd)
            && positive(&self.feature_sd)
    }

    /// Observables over their standard deviations.
    pub(super) fn scale(&self, row: &[f64]) -> Vec<f64> {
        row.iter().zip(&self.mean).zip(&self.sd).map(|((x, mean), sd)| (x - mean) / sd).collect()
    }

    /// The network's input for scaled observables.
    pub(super) fn of_scaled(&self, scaled: &[f64]) -> Vec<f32> {
        let scales = self.feature_mean.iter().zip(&self.feature_sd);
        let held = |(value, (mean, sd)): (f64, (&f64, &f64))| {
            ((value - mean) / sd).clamp(-LIMIT, LIMIT) as f32
        };
        self.raw(scaled).into_iter().zip(scales).map(held).collect()
    }

    fn raw(&self, z: &[f64]) -> Vec<f64> {
        let mut list = z.to_vec();
        list.extend(z.iter().map(|z| (3.0 * z).asinh()));
        if z.len() > PAIRED {
            return list;
        }
        let unit = self.sd.iter().sum::<f64>() / self.sd.len() as f64;
        let x = |i: usize| z[i] * self.sd[i] + self.mean[i];
        for i in 0..z.len() {
            list.extend((i..z.len()).map(|j| z[i] * z[j]));
            list.extend((i + 1..z.len()).map(|j| (30.0 * (x(i) - x(j)) / unit).asinh()));
        }
        list
    }
}

/// Mean and standard deviation of each column.
pub(super) fn moments(rows: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
    let width = rows.first().map_or(0, Vec::len);
    let count = rows.len().max(1) as f64;
    let mut mean = vec![0.0; width];
    for row in rows {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += v / count);
    }
    let mut variance = vec![0.0; width];
    for row in rows {
        for ((s, v), m) in variance.iter_mut().zip(row).zip(&mean) {
            *s += (v - m) * (v - m) / count;
        }
    }
    (mean, variance.into_iter().map(f64::sqrt).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_standardised_and_counted() {
        let rows: Vec<Vec<f64>> =
            (0..50).map(|i| vec![f64::from(i), f64::from(i * i), f64::from(i % 7)]).collect();
        let features = Features::fit(&rows);
        assert!(features.is_valid(3) && !features.is_valid(4));
        let all: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| features.of_scaled(&features.scale(row)))
            .map(|row| row.into_iter().map(f64::from).collect())
            .collect();
        assert_eq!(all[0].len(), Features::count(3));
        let (mean, sd) = moments(&all);
        assert!(mean.iter().all(|m| m.abs() < 1e-3), "{mean:?}");
        assert!(sd.iter().all(|sd| (sd - 1.0).abs() < 1e-3), "{sd:?}");
    }
}
