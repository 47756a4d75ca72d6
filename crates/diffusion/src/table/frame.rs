//! The space the diffusion runs in: what a linear prediction from the observables leaves of the
//! parameters, scaled and made uncorrelated.
//!
//! A linear part is what ordinary least squares finds from few rows and a network only from many;
//! and around it a narrow posterior is wider, so that its noise levels are those of any other. The
//! prediction only moves the space: whatever it gets wrong is left for the network to learn.

use super::columns::Pairs;
use serde::{Deserialize, Serialize};

/// More observables than this are not predicted from: the fit would take longer than the training.
const MOST_OBSERVABLES: usize = 256;
/// Ridge penalties that are tried beside no prediction at all, in variances of an observable.
const PENALTIES: [f64; 5] = [1e-6, 1e-3, 1e-2, 0.1, 1.0];
/// Observables and predictions beyond this many standard deviations are held there.
const LIMIT: f64 = 5.0;
/// Least scale of what is left, in standard deviations of a parameter.
const FINEST: f64 = 1e-3;

/// Prediction and scale. Everything is of latent parameters and scaled observables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Mean of each parameter.
    pub mean: Vec<f64>,
    /// For each parameter, its slope by each observable.
    pub slopes: Vec<Vec<f64>>,
    /// Lower triangle (Cholesky) of the covariance of what is left: rows of 1, 2, 3, … values.
    pub scale: Vec<Vec<f64>>,
}

impl Frame {
    /// Fits to `train`, with the penalty that leaves least of `held`.
    pub(super) fn fit(train: Pairs<'_>, held: Pairs<'_>, [p, d]: [usize; 2]) -> Self {
        let count = (train.latent.len() / p).max(1) as f64;
        let mut mean = vec![0.0; p];
        for row in train.latent.chunks_exact(p) {
            mean.iter_mut().zip(row).for_each(|(mean, v)| *mean += f64::from(*v) / count);
        }
        let none = Self { mean, slopes: vec![vec![0.0; d]; p], scale: Vec::new() };
        let mut best = (none.left(held, [p, d]).0, none.clone());
        if d <= MOST_OBSERVABLES {
            let (square, product) = none.normal_equations(train, [p, d]);
            for penalty in PENALTIES {
                let mut ridge = square.clone();
                for (index, row) in ridge.iter_mut().enumerate() {
                    row[index] += penalty;
                }
                let lower = cholesky(&ridge, 0.0);
                let slopes = product.iter().map(|product| solve(&lower, product)).collect();
                let frame = Self { slopes, ..none.clone() };
                let left = frame.left(held, [p, d]).0;
                if left < best.0 {
                    best = (left, frame);
                }
            }
        }
        let mut frame = best.1;
        frame.scale = cholesky(&frame.left(train, [p, d]).1, FINEST);
        frame
    }

    /// Means of z·zᵀ over the rows, lower triangle, and of (θ - mean)·z for each parameter.
    fn normal_equations(
        &self,
        rows: Pairs<'_>,
        [p, d]: [usize; 2],
    ) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let count = (rows.latent.len() / p).max(1) as f64;
        let mut square: Vec<Vec<f64>> = (0..d).map(|i| vec![0.0; i + 1]).collect();
        let mut product = vec![vec![0.0; d]; p];
        let mut z = vec![0.0; d];
        for (latent, scaled) in rows.latent.chunks_exact(p).zip(rows.scaled.chunks_exact(d)) {
            for (z, scaled) in z.iter_mut().zip(scaled) {
                *z = held(f64::from(*scaled)) / count.sqrt();
            }
            for (i, row) in square.iter_mut().enumerate() {
                row.iter_mut().zip(&z).for_each(|(sum, other)| *sum += z[i] * other);
            }
            for ((row, latent), mean) in product.iter_mut().zip(latent).zip(&self.mean) {
                let value = (f64::from(*latent) - mean) / count.sqrt();
                row.iter_mut().zip(&z).for_each(|(sum, z)| *sum += value * z);
            }
        }
        (square, product)
    }

    /// Mean square, summed over the parameters, and covariance of what is left of the rows.
    fn left(&self, rows: Pairs<'_>, [p, d]: [usize; 2]) -> (f64, Vec<Vec<f64>>) {
        let count = (rows.latent.len() / p).max(1) as f64;
        let mut covariance: Vec<Vec<f64>> = (0..p).map(|i| vec![0.0; i + 1]).collect();
        for (latent, scaled) in rows.latent.chunks_exact(p).zip(rows.scaled.chunks_exact(d)) {
            let scaled: Vec<f64> = scaled.iter().map(|v| f64::from(*v)).collect();
            let mut rest = self.centre(&scaled);
            rest.iter_mut().zip(latent).for_each(|(c, v)| *c = f64::from(*v) - *c);
            for (i, row) in covariance.iter_mut().enumerate() {
                row.iter_mut().zip(&rest).for_each(|(sum, v)| *sum += rest[i] * v / count);
            }
        }
        (covariance.iter().enumerate().map(|(i, row)| row[i]).sum(), covariance)
    }

    /// The prediction for scaled observables.
    pub(super) fn centre(&self, scaled: &[f64]) -> Vec<f64> {
        let predict = |(mean, slopes): (&f64, &Vec<f64>)| {
            held(mean + slopes.iter().zip(scaled).map(|(s, z)| s * held(*z)).sum::<f64>())
        };
        self.mean.iter().zip(&self.slopes).map(predict).collect()
    }

    /// Latent parameters as seen from a centre: solves `scale · inside = latent - centre`.
    pub(super) fn inside(&self, latent: &[f64], centre: &[f64]) -> Vec<f64> {
        let mut inside: Vec<f64> = Vec::with_capacity(latent.len());
        for ((value, centre), row) in latent.iter().zip(centre).zip(&self.scale) {
            let known: f64 = row.iter().zip(&inside).map(|(l, v)| l * v).sum();
            inside.push((value - centre - known) / row[inside.len()]);
        }
        inside
    }

    /// The same for single precision, about the observables' own centre.
    pub(super) fn inside_of(&self, latent: &[f32], scaled: &[f64]) -> Vec<f32> {
        let latent: Vec<f64> = latent.iter().map(|v| f64::from(*v)).collect();
        self.inside(&latent, &self.centre(scaled)).iter().map(|v| *v as f32).collect()
    }

    /// The same for rows.
    pub(super) fn all_inside(&self, rows: Pairs<'_>, [p, d]: [usize; 2]) -> Vec<f32> {
        let pairs = rows.latent.chunks_exact(p).zip(rows.scaled.chunks_exact(d));
        pairs
            .flat_map(|(latent, scaled)| {
                let scaled: Vec<f64> = scaled.iter().map(|v| f64::from(*v)).collect();
                self.inside_of(latent, &scaled)
            })
            .collect()
    }

    /// Undoes [`Frame::inside`].
    pub(super) fn latent(&self, inside: &[f64], centre: &[f64]) -> Vec<f64> {
        let value = |(row, centre): (&Vec<f64>, &f64)| {
            centre + row.iter().zip(inside).map(|(l, v)| l * v).sum::<f64>()
        };
        self.scale.iter().zip(centre).map(value).collect()
    }

    /// Whether the parts fit so many parameters and observables and can be computed with.
    pub(super) fn is_valid(&self, [p, d]: [usize; 2]) -> bool {
        let finite = |list: &Vec<f64>| list.iter().all(|v| v.is_finite());
        self.mean.len() == p
            && finite(&self.mean)
            && self.slopes.len() == p
            && self.slopes.iter().all(|row| row.len() == d && finite(row))
            && self.scale.len() == p
            && self
                .scale
                .iter()
                .enumerate()
                .all(|(i, row)| row.len() == i + 1 && finite(row) && row[i] > 0.0)
    }
}

fn held(value: f64) -> f64 {
    value.clamp(-LIMIT, LIMIT)
}

/// The lower triangle L with L·Lᵀ = `square`, whose diagonal is at least `least`.
fn cholesky(square: &[Vec<f64>], least: f64) -> Vec<Vec<f64>> {
    let mut lower: Vec<Vec<f64>> = Vec::with_capacity(square.len());
    for (i, row) in square.iter().enumerate() {
        let mut new: Vec<f64> = Vec::with_capacity(i + 1);
        for (value, other) in row.iter().zip(&lower) {
            let known: f64 = other.iter().zip(&new).map(|(a, b)| a * b).sum();
            let diagonal = other[new.len()];
            new.push((value - known) / diagonal);
        }
        let rest = row[i] - new.iter().map(|v| v * v).sum::<f64>();
        new.push(rest.max(0.0).sqrt().max(least).max(f64::MIN_POSITIVE.sqrt()));
        lower.push(new);
    }
    lower
}

/// Solves L·Lᵀ·x = `right`.
fn solve(lower: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    let mut half: Vec<f64> = Vec::with_capacity(right.len());
    for (row, value) in lower.iter().zip(right) {
        let known: f64 = row.iter().zip(&half).map(|(l, v)| l * v).sum();
        half.push((value - known) / row[half.len()]);
    }
    for i in (0..half.len()).rev() {
        half[i] /= lower[i][i];
        let (value, row) = (half[i], &lower[i]);
        half[..i].iter_mut().zip(row).for_each(|(h, l)| *h -= l * value);
    }
    half
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// θ1 = 0.5·x1 + noise of sd 0.1, θ2 = θ1 + noise of sd 0.2; x2 tells nothing.
    fn rows(count: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut unit = || (rng.random::<f64>() - 0.5) * 12f64.sqrt();
        let (mut latent, mut scaled) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let x = [unit(), unit()];
            let first = 0.5 * x[0] + 0.1 * unit();
            latent.extend([first as f32, (first + 0.2 * unit()) as f32]);
            scaled.extend(x.map(|v| v as f32));
        }
        (latent, scaled)
    }

    #[test]
    fn a_linear_model_is_found_and_what_is_left_has_unit_covariance() {
        let (train, held) = (rows(4000, 1), rows(400, 2));
        let train = Pairs { latent: &train.0, scaled: &train.1 };
        let held = Pairs { latent: &held.0, scaled: &held.1 };
        let frame = Frame::fit(train, held, [2, 2]);
        assert!(frame.is_valid([2, 2]) && !frame.is_valid([2, 3]));
        for slopes in &frame.slopes {
            assert!((slopes[0] - 0.5).abs() < 0.02 && slopes[1].abs() < 0.02, "{slopes:?}");
        }
        assert!((frame.scale[0][0] - 0.1).abs() < 0.01, "{:?}", frame.scale);
        assert!((frame.scale[1][1] - 0.2).abs() < 0.02, "{:?}", frame.scale);
        let centre = frame.centre(&[1.0, 0.3]);
        let inside = frame.inside(&[0.7, -0.2], &centre);
        let back = frame.latent(&inside, &centre);
        assert!((back[0] - 0.7).abs() < 1e-12 && (back[1] + 0.2).abs() < 1e-12, "{back:?}");
    }

    #[test]
    fn nothing_is_predicted_from_noise() {
        let (latent, _) = rows(100, 3);
        let (_, scaled) = rows(100, 4);
        let held = rows(100, 5);
        let (train, held) = (
            Pairs { latent: &latent, scaled: &scaled },
            Pairs { latent: &held.0, scaled: &scaled },
        );
        let frame = Frame::fit(train, held, [2, 2]);
        assert!(frame.slopes.iter().flatten().all(|slope| slope.abs() < 0.15), "{frame:?}");
    }
}
