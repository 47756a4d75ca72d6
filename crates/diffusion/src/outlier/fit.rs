//! Training and held-out scans → a detector.

use super::{Detector, Distance, Seen};
use microdiff_domain::{APPEARANCE_COUNT, DESCRIPTOR_COUNT};

/// Most reference simulations kept; bounds the bundle's size.
const KEPT: usize = 1024;
/// Weight of the round covariance in the shrunk one. A choice.
const SHRINKAGE: f64 = 0.05;

impl Detector {
    /// From training scans, of which at most [`KEPT`] are kept, evenly spaced, and held-out scans; it
    /// knows the ordinary alone. Without the appearance of all of them, and of all that are shown, it
    /// judges by descriptors alone.
    pub(super) fn fit(train: &[Seen<'_>], held: &[Seen<'_>], shown: &[Seen<'_>]) -> Self {
        let mut detector =
            Self { scaling: scaling(train, &[train, held, shown]), ..Self::default() };
        let rows: Vec<Vec<f64>> = train.iter().map(|seen| detector.scan(&seen.0, seen.1)).collect();
        detector.factor = factor(&rows);
        detector.bounds = bounds(&rows);
        detector.reference =
            spread(&rows).flat_map(|row| row.iter().map(|value| *value as f32)).collect();
        for distance in Distance::ALL {
            let missing = match distance {
                Distance::Appearance => detector.scaling.is_empty(),
                Distance::Shown => true,
                _ => false,
            };
            if !missing {
                detector.held[distance as usize] =
                    detector.held_out(held, |scan| detector.distance(distance, scan, 0.0));
            }
        }
        detector
    }

    /// A distance of held-out scans, rising.
    pub(super) fn held_out(&self, held: &[Seen<'_>], distance: impl Fn(&[f64]) -> f64) -> Vec<f32> {
        let one = |seen: &Seen<'_>| distance(&self.scan(&seen.0, seen.1)) as f32;
        let mut all: Vec<f32> = held.iter().map(one).collect();
        all.sort_by(f32::total_cmp);
        all
    }
}

/// At most [`KEPT`] of them, evenly spaced.
fn spread<T>(rows: &[T]) -> impl Iterator<Item = &T> {
    let kept = rows.len().min(KEPT);
    (0..kept).map(move |i| &rows[i * rows.len() / kept])
}

/// Means and standard deviations of the appearance; nothing where a scan lacks it.
fn scaling(train: &[Seen<'_>], all: &[&[Seen<'_>]]) -> Vec<f32> {
    if all.iter().copied().flatten().any(|(_, appearance)| appearance.is_none()) {
        return Vec::new();
    }
    let count = train.len().max(1) as f64;
    let all = || train.iter().filter_map(|(_, appearance)| *appearance);
    let mean: [f64; APPEARANCE_COUNT] =
        std::array::from_fn(|i| all().map(|a| a.values()[i]).sum::<f64>() / count);
    let sd = (0..APPEARANCE_COUNT).map(|i| {
        let square = all().map(|a| (a.values()[i] - mean[i]).powi(2)).sum::<f64>() / count;
        if square > 1e-12 { square.sqrt() } else { 1.0 }
    });
    mean.into_iter().chain(sd).map(|value| value as f32).collect()
}

/// Smallest and largest value of each column.
fn bounds(rows: &[Vec<f64>]) -> Vec<f32> {
    let columns = rows.first().map_or(0, Vec::len);
    let over = |start: f64, pick: fn(f64, f64) -> f64| {
        (0..columns)
            .map(move |i| rows.iter().fold(start, |best, row| pick(best, row[i])) as f32)
            .collect::<Vec<f32>>()
    };
    [over(f64::INFINITY, f64::min), over(f64::NEG_INFINITY, f64::max)].concat()
}

/// Lower Cholesky factor of the covariance of the descriptors of `rows`, shrunk towards a round one (Ledoit and
/// Wolf 2004 with a fixed weight).
fn factor(rows: &[Vec<f64>]) -> Vec<f32> {
    let size = DESCRIPTOR_COUNT;
    let count = rows.len().max(1) as f64;
    let mut covariance = vec![0.0; size * size];
    for row in rows {
        for i in 0..size {
            for j in 0..=i {
                covariance[i * size + j] += row[i] * row[j] / count;
            }
        }
    }
    let trace: f64 = (0..size).map(|i| covariance[i * size + i]).sum();
    let round = (trace / size as f64).max(1e-6);
    for i in 0..size {
        for j in 0..=i {
            covariance[i * size + j] *= 1.0 - SHRINKAGE;
        }
        covariance[i * size + i] += SHRINKAGE * round;
    }
    for i in 0..size {
        for j in 0..=i {
            let known: f64 =
                (0..j).map(|k| covariance[i * size + k] * covariance[j * size + k]).sum();
            let rest = covariance[i * size + j] - known;
            // Shrinkage keeps every pivot at or above its share of the round covariance.
            covariance[i * size + j] =
                if i == j { rest.max(1e-9).sqrt() } else { rest / covariance[j * size + j] };
        }
    }
    covariance.into_iter().map(|value| value as f32).collect()
}
