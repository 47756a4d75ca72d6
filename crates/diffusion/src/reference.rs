//! Where a descriptor lies among the training scans, and how far a stream of scans has moved away
//! from them.
//!
//! The reference is the thousand training scans that the out-of-distribution check keeps in the
//! bundle. Drift is the 1-Wasserstein distance between a window of live scans and the reference,
//! in training standard deviations, less what sampling alone gives windows of that size
//! (docs/adr/0011). It says that inputs have changed, not that answers are wrong.

use crate::condition::Normaliser;
use crate::outlier::CLAMP;
use microdiff_domain::{DESCRIPTOR_COUNT, Descriptors};
use std::f64::consts::FRAC_2_PI;

/// The training distribution of every descriptor.
#[derive(Debug, Clone, PartialEq)]
pub struct DescriptorReference {
    normaliser: Normaliser,
    /// Reference values of each descriptor in training standard deviations, rising.
    columns: Vec<Vec<f32>>,
    /// `∫ √(F (1 − F))` of each column: how fast the sampling distance falls.
    roughness: Vec<f64>,
}

/// Where one value lies in the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Share of reference values below, ties counted half, as a percentage.
    pub percentile: f64,
    /// Distance from the training mean in training standard deviations, signed.
    pub deviation: f64,
}

impl DescriptorReference {
    /// `rows` is row-major, (any, D), normalised.
    pub(crate) fn new(normaliser: Normaliser, rows: &[f32]) -> Self {
        let columns: Vec<Vec<f32>> = (0..DESCRIPTOR_COUNT)
            .map(|index| {
                let mut column: Vec<f32> =
                    rows.iter().skip(index).step_by(DESCRIPTOR_COUNT).copied().collect();
                column.sort_by(f32::total_cmp);
                column
            })
            .collect();
        let roughness = columns.iter().map(|column| roughness(column)).collect();
        Self { normaliser, columns, roughness }
    }

    /// A scan's descriptors in training standard deviations, as the reference holds its own.
    pub fn normal(&self, descriptors: &Descriptors) -> [f32; DESCRIPTOR_COUNT] {
        self.normaliser.apply(descriptors).map(|value| value.clamp(-CLAMP, CLAMP) as f32)
    }

    /// Where a normalised value of the descriptor at `index` of the schema lies.
    pub fn place(&self, index: usize, normal: f32) -> Place {
        let column = &self.columns[index];
        let below = column.partition_point(|value| *value < normal);
        let equal = column[below..].partition_point(|value| *value <= normal);
        let rank = below as f64 + 0.5 * equal as f64;
        let percentile = 100.0 * rank / column.len().max(1) as f64;
        Place { percentile, deviation: f64::from(normal) }
    }

    /// A quantile of the training values of a descriptor, in its own unit; `share` from 0 to 1.
    pub fn quantile(&self, index: usize, share: f64) -> f64 {
        let column = &self.columns[index];
        let last = column.len().saturating_sub(1);
        let at = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        let normal = column.get(at).copied().map_or(0.0, f64::from);
        self.normaliser.mean[index] + self.normaliser.sd[index] * normal
    }

    /// How far a window of normalised values has moved: their distance from the reference less the
    /// distance expected of as many reference-like scans, in training standard deviations, at
    /// least 0. Sorts the window. 0 for an empty one.
    pub fn drift(&self, index: usize, window: &mut [f32]) -> f64 {
        if window.is_empty() {
            return 0.0;
        }
        window.sort_by(f32::total_cmp);
        let distance = wasserstein(&self.columns[index], window);
        (distance - self.sampling_distance(index, window.len())).max(0.0)
    }

    /// Expected distance of `count` independent reference-like scans from the reference. At each
    /// value the two distribution functions differ by about a normal variate of variance
    /// `F (1 − F) (1/n + 1/m)`, whose mean size is `√(2/π)` of its standard deviation.
    fn sampling_distance(&self, index: usize, count: usize) -> f64 {
        let inverse = 1.0 / count as f64 + 1.0 / self.columns[index].len().max(1) as f64;
        (FRAC_2_PI * inverse).sqrt() * self.roughness[index]
    }
}

/// `∫ √(F (1 − F)) dx` of a rising sample.
fn roughness(sorted: &[f32]) -> f64 {
    let count = sorted.len() as f64;
    let pairs = sorted.windows(2).zip(1..);
    pairs
        .map(|(pair, rank)| {
            let share = f64::from(rank) / count;
            f64::from(pair[1] - pair[0]) * (share * (1.0 - share)).sqrt()
        })
        .sum()
}

/// `∫ |F − G| dx` of two rising samples: the 1-Wasserstein distance (Vallender 1974).
fn wasserstein(a: &[f32], b: &[f32]) -> f64 {
    let (mut i, mut j) = (0, 0);
    let mut sum = 0.0;
    let mut last: Option<f32> = None;
    while i < a.len() || j < b.len() {
        let next = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => x.min(*y),
            (Some(x), None) | (None, Some(x)) => *x,
            (None, None) => break,
        };
        if let Some(last) = last {
            let gap = (i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs();
            sum += gap * f64::from(next - last);
        }
        i += usize::from(a.get(i) == Some(&next));
        j += usize::from(b.get(j) == Some(&next));
        last = Some(next);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    fn sample(count: usize, shift: f64, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = || -> f64 { StandardNormal.sample(&mut rng) };
        (0..count).map(|_| (draw() + shift) as f32).collect()
    }

    fn reference() -> DescriptorReference {
        let one = sample(1000, 0.0, 1);
        let rows: Vec<f32> =
            one.iter().flat_map(|value| std::iter::repeat_n(*value, DESCRIPTOR_COUNT)).collect();
        let normaliser =
            Normaliser { mean: vec![10.0; DESCRIPTOR_COUNT], sd: vec![2.0; DESCRIPTOR_COUNT] };
        DescriptorReference::new(normaliser, &rows)
    }

    #[test]
    fn distance_by_eye() {
        assert_eq!(wasserstein(&[0.0, 1.0], &[0.0, 1.0]), 0.0);
        assert_eq!(wasserstein(&[0.0], &[3.0]), 3.0);
        // Half of the mass moves by 1.
        assert_eq!(wasserstein(&[0.0, 0.0], &[0.0, 1.0]), 0.5);
        assert!((wasserstein(&[0.0, 1.0, 2.0], &[1.0]) - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn windows_of_the_reference_show_next_to_no_drift_whatever_their_size() {
        let reference = reference();
        for size in [30, 64, 256] {
            let drifts: Vec<f64> = (0..200)
                .map(|seed| reference.drift(0, &mut sample(size, 0.0, 100 + seed)))
                .collect();
            let mean = drifts.iter().sum::<f64>() / 200.0;
            let most = drifts.iter().copied().fold(0.0, f64::max);
            assert!(mean < 0.08 && most < 0.5, "{size}: mean {mean}, most {most}");
        }
    }

    #[test]
    fn a_shift_of_one_deviation_is_read_as_about_one() {
        let drift = reference().drift(3, &mut sample(128, 1.0, 7));
        assert!((0.7..1.1).contains(&drift), "{drift}");
    }

    #[test]
    fn places_by_eye() {
        let reference = reference();
        let place = reference.place(0, 0.0);
        assert!((place.percentile - 50.0).abs() < 4.0, "{place:?}");
        assert_eq!(reference.place(0, 40.0), Place { percentile: 100.0, deviation: 40.0 });
        assert_eq!(reference.place(0, -40.0).percentile, 0.0);
        assert!((reference.quantile(0, 0.5) - 10.0).abs() < 0.2);
        let normal = reference.normal(&Descriptors::new([12.0; DESCRIPTOR_COUNT]).unwrap());
        assert_eq!(normal[5], 1.0);
    }
}
