//! Whether a scan looks like the simulations the model learnt from.
//!
//! Two distances of the normalised descriptors: Mahalanobis with a shrunk covariance (sees wrong
//! combinations of descriptors) and the mean distance to the nearest reference simulations (sees
//! gaps between regimes). Each becomes a conformal p-value against held-out simulations (Vovk et
//! al. 2005); the smaller, doubled (Bonferroni), is reported. Whatever the distribution, at most
//! 5 % of scans like the simulations are flagged. It does not see a fault that leaves the
//! descriptors ordinary.

use crate::DiffusionError;
use microdiff_domain::DESCRIPTOR_COUNT;
use serde::{Deserialize, Serialize};

/// Share of ordinary scans that may be flagged.
pub const FALSE_ALARM_RATE: f64 = 0.05;
/// Nearest reference simulations averaged over. A choice.
const NEIGHBOURS: usize = 5;
/// Normalised descriptors are held here: beyond it, farther says no more.
pub(crate) const CLAMP: f64 = 50.0;
/// Most reference simulations kept, and most held-out distances; bounds the bundle's size.
#[cfg(any(test, feature = "train"))]
const KEPT: usize = 1024;
/// Weight of the round covariance in the shrunk one. A choice.
#[cfg(any(test, feature = "train"))]
const SHRINKAGE: f64 = 0.05;

/// How unusual a scan is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OutOfDistribution {
    /// The larger of the two distances, each over the distance beyond which it alone raises the
    /// flag: rises without bound, above 1 when flagged.
    pub score: f64,
    /// Conformal p-value: the share of held-out simulations at least as unusual, doubled for the
    /// two distances and held at 1.
    pub p_value: f64,
    /// `p_value` below [`FALSE_ALARM_RATE`].
    pub flagged: bool,
}

/// The stored reference. Arrays are row-major `f32`, as in the bundle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Detector {
    /// Lower Cholesky factor of the shrunk covariance, (D, D).
    pub(crate) factor: Vec<f32>,
    /// Reference simulations, (any, D).
    pub(crate) reference: Vec<f32>,
    /// Mahalanobis distances of held-out simulations, rising.
    pub(crate) mahalanobis: Vec<f32>,
    /// Neighbour distances of held-out simulations, rising.
    pub(crate) neighbour: Vec<f32>,
}

type Normal = [f64; DESCRIPTOR_COUNT];

impl Detector {
    /// Refuses arrays of the wrong length, values that are not finite, distances out of order and
    /// too few of them to flag anything.
    pub(crate) fn check(&self) -> Result<(), DiffusionError> {
        let size = DESCRIPTOR_COUNT;
        let finite = [&self.factor, &self.reference, &self.mahalanobis, &self.neighbour]
            .iter()
            .all(|values| values.iter().all(|value| value.is_finite()));
        let shapes = self.factor.len() == size * size
            && self.reference.len() >= size
            && self.reference.len().is_multiple_of(size);
        let rising = [&self.mahalanobis, &self.neighbour]
            .iter()
            .all(|values| values.len() >= 100 && values.windows(2).all(|pair| pair[0] <= pair[1]));
        let regular = shapes && (0..size).all(|i| self.factor[i * size + i] > 0.0);
        if finite && rising && regular {
            return Ok(());
        }
        Err(DiffusionError::bundle("the out-of-distribution reference is damaged"))
    }

    /// Judges one scan.
    pub(crate) fn judge(&self, normal: &Normal) -> OutOfDistribution {
        let scan = clamped(normal);
        let pairs = [
            (self.mahalanobis_distance(&scan), &self.mahalanobis),
            (self.neighbour_distance(&scan), &self.neighbour),
        ];
        let p = pairs.map(|(distance, held)| conformal(distance, held));
        let score = pairs.map(|(distance, held)| distance / alarm_distance(held).max(1e-12));
        let p_value = (2.0 * p[0].min(p[1])).min(1.0);
        OutOfDistribution {
            score: score[0].max(score[1]),
            p_value,
            flagged: p_value < FALSE_ALARM_RATE,
        }
    }

    fn mahalanobis_distance(&self, scan: &Normal) -> f64 {
        let mut solved = [0.0; DESCRIPTOR_COUNT];
        for row in 0..DESCRIPTOR_COUNT {
            let factor = &self.factor[row * DESCRIPTOR_COUNT..][..=row];
            let known: f64 =
                factor[..row].iter().zip(&solved).map(|(f, s)| f64::from(*f) * s).sum();
            solved[row] = (scan[row] - known) / f64::from(factor[row]);
        }
        let squares: f64 = solved.iter().map(|value| value * value).sum();
        // As f32, because the held-out distances it is compared with are stored as f32.
        f64::from(squares.sqrt() as f32)
    }

    fn neighbour_distance(&self, scan: &Normal) -> f64 {
        let mut nearest = [f64::INFINITY; NEIGHBOURS];
        let mut found = 0;
        for row in self.reference.chunks_exact(DESCRIPTOR_COUNT) {
            let square: f64 = row.iter().zip(scan).map(|(r, s)| (f64::from(*r) - s).powi(2)).sum();
            found += 1;
            if square < nearest[NEIGHBOURS - 1] {
                nearest[NEIGHBOURS - 1] = square;
                nearest.sort_by(f64::total_cmp);
            }
        }
        let used = found.clamp(1, NEIGHBOURS);
        let sum: f64 = nearest[..used].iter().map(|square| square.sqrt()).sum();
        f64::from((sum / used as f64) as f32)
    }

    /// From normalised training rows and held-out rows, at most a thousand of each, evenly spaced.
    #[cfg(any(test, feature = "train"))]
    pub(crate) fn fit(train: &[Normal], held: &[Normal]) -> Self {
        let reference = spread(train)
            .flat_map(|row| clamped(row).map(|value| value as f32))
            .collect::<Vec<f32>>();
        let mut detector = Self {
            factor: factor(train),
            reference,
            mahalanobis: Vec::new(),
            neighbour: Vec::new(),
        };
        let distances = |distance: &dyn Fn(&Normal) -> f64| {
            let mut all: Vec<f32> =
                spread(held).map(|row| distance(&clamped(row)) as f32).collect();
            all.sort_by(f32::total_cmp);
            all
        };
        let mahalanobis = distances(&|row| detector.mahalanobis_distance(row));
        let neighbour = distances(&|row| detector.neighbour_distance(row));
        (detector.mahalanobis, detector.neighbour) = (mahalanobis, neighbour);
        detector
    }
}

fn clamped(normal: &Normal) -> Normal {
    normal.map(|value| value.clamp(-CLAMP, CLAMP))
}

/// Share of held-out values at least as large, the scan itself counted among them.
fn conformal(distance: f64, held: &[f32]) -> f64 {
    let below = held.partition_point(|value| f64::from(*value) < distance);
    (held.len() - below + 1) as f64 / (held.len() + 1) as f64
}

/// Largest held-out distance that does not raise the flag by itself.
fn alarm_distance(held: &[f32]) -> f64 {
    let quiet = |index: &usize| {
        let value = held[*index];
        2.0 * conformal(f64::from(value), held) >= FALSE_ALARM_RATE
    };
    let index = (0..held.len()).rev().find(quiet).unwrap_or(0);
    f64::from(held[index])
}

/// At most [`KEPT`] rows, evenly spaced.
#[cfg(any(test, feature = "train"))]
fn spread(rows: &[Normal]) -> impl Iterator<Item = &Normal> {
    let kept = rows.len().min(KEPT);
    (0..kept).map(move |i| &rows[i * rows.len() / kept])
}

/// Lower Cholesky factor of the covariance of `rows`, shrunk towards a round one (Ledoit and Wolf
/// 2004 with a fixed weight).
#[cfg(any(test, feature = "train"))]
fn factor(rows: &[Normal]) -> Vec<f32> {
    const SIZE: usize = DESCRIPTOR_COUNT;
    let count = rows.len().max(1) as f64;
    let mut covariance = vec![0.0; SIZE * SIZE];
    for row in rows.iter().map(clamped) {
        for i in 0..SIZE {
            for j in 0..=i {
                covariance[i * SIZE + j] += row[i] * row[j] / count;
            }
        }
    }
    let trace: f64 = (0..SIZE).map(|i| covariance[i * SIZE + i]).sum();
    let round = (trace / SIZE as f64).max(1e-6);
    for i in 0..SIZE {
        for j in 0..=i {
            covariance[i * SIZE + j] *= 1.0 - SHRINKAGE;
        }
        covariance[i * SIZE + i] += SHRINKAGE * round;
    }
    for i in 0..SIZE {
        for j in 0..=i {
            let known: f64 =
                (0..j).map(|k| covariance[i * SIZE + k] * covariance[j * SIZE + k]).sum();
            let rest = covariance[i * SIZE + j] - known;
            // Shrinkage keeps every pivot at or above its share of the round covariance.
            covariance[i * SIZE + j] =
                if i == j { rest.max(1e-9).sqrt() } else { rest / covariance[j * SIZE + j] };
        }
    }
    covariance.into_iter().map(|value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    /// The first two descriptors nearly equal, the rest independent.
    fn rows(count: usize, seed: u64) -> Vec<Normal> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = || -> f64 { StandardNormal.sample(&mut rng) };
        let mut row = || {
            let mut row = [0.0; DESCRIPTOR_COUNT].map(|_: f64| draw());
            row[1] = row[0] + 0.05 * row[1];
            row
        };
        (0..count).map(|_| row()).collect()
    }

    #[test]
    fn false_alarms_stay_at_the_stated_rate_and_strangers_are_flagged() {
        let detector = Detector::fit(&rows(4000, 1), &rows(1000, 2));
        detector.check().unwrap();
        let flagged = rows(2000, 3).iter().filter(|row| detector.judge(row).flagged).count();
        assert!(flagged <= 130 && flagged > 20, "{flagged} of 2000");
        let far = detector.judge(&[9.0; DESCRIPTOR_COUNT]);
        assert!(far.flagged && far.score > 1.5, "{far:?}");
        // Each ordinary, together impossible.
        let mut broken = [0.0; DESCRIPTOR_COUNT];
        (broken[0], broken[1]) = (2.0, -2.0);
        assert!(detector.judge(&broken).flagged);
    }

    #[test]
    fn score_crosses_one_where_the_flag_rises() {
        let detector = Detector::fit(&rows(2000, 1), &rows(1000, 2));
        for row in rows(500, 4) {
            let verdict = detector.judge(&row);
            assert_eq!(verdict.flagged, verdict.score > 1.0, "{verdict:?}");
        }
    }

    #[test]
    fn damage_is_refused() {
        let good = Detector::fit(&rows(500, 1), &rows(200, 2));
        let damages: [fn(&mut Detector); 4] = [
            |d| d.factor[0] = 0.0,
            |d| d.reference.truncate(1),
            |d| d.mahalanobis.reverse(),
            |d| d.neighbour.clear(),
        ];
        for damage in damages {
            let mut bad = good.clone();
            damage(&mut bad);
            assert!(bad.check().is_err());
        }
    }
}
