//! Whether a scan looks like the simulations the model learnt from.
//!
//! A scan is judged by its normalised descriptors and by its appearance. Each of several distances
//! from the simulations becomes a conformal p-value against held-out simulations (Vovk et al.
//! 2005) and is divided by the distance's share of the false alarms; the smallest (Bonferroni,
//! weighted) is reported. Whatever the distribution, at most [`FALSE_ALARM_RATE`] of scans like the
//! simulations are flagged. It does not see a fault that leaves descriptors and appearance ordinary.
//!
//! A model trained on rows without an appearance judges by the descriptors alone.

mod by_process;
mod classifier;
#[cfg(any(test, feature = "train"))]
mod fit;

pub(crate) use by_process::{Detectors, prefix};

use crate::DiffusionError;
use microdiff_domain::{APPEARANCE_COUNT, Appearance, DESCRIPTOR_COUNT};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Share of ordinary scans that are meant to be flagged: with the chance of which scans were held
/// out, at most one in twenty.
pub const FALSE_ALARM_RATE: f64 = 0.045;
/// Nearest reference simulations averaged over. A choice.
const NEIGHBOURS: usize = 5;
/// Normalised values are held here: beyond it, farther says no more.
pub(crate) const CLAMP: f64 = 50.0;
/// Columns of a scan's descriptors and appearance together.
pub(crate) const COLUMNS: usize = DESCRIPTOR_COUNT + APPEARANCE_COUNT;

/// How unusual a scan is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OutOfDistribution {
    /// The largest of the distances, each over the distance beyond which it alone raises the
    /// flag: rises without bound, above 1 when flagged.
    pub score: f64,
    /// Conformal p-value: the share of held-out simulations at least as unusual by one distance,
    /// over that distance's share of the false alarms, the smallest of them, held at 1.
    pub p_value: f64,
    /// `p_value` below [`FALSE_ALARM_RATE`].
    pub flagged: bool,
}

/// A way to be far from the simulations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distance {
    /// Mahalanobis of the descriptors with a shrunk covariance: sees wrong combinations.
    Mahalanobis,
    /// Mean distance to the nearest reference simulations by descriptors: sees gaps between
    /// regimes.
    Neighbour,
    /// The same by appearance: sees foreign textures and noise.
    Appearance,
    /// Farthest beyond the range of any value over the simulations, plus 1: sees what a bounded
    /// prior rules out, as a voxel size.
    Beyond,
    /// How clearly networks take the scan for one of the foreign ones they were shown: sees wrong
    /// voxel sizes and tracks too far apart, as far as a scan shows them, and textures.
    Shown,
}

impl Distance {
    /// Every distance, in the order they are stored in.
    pub(crate) const ALL: [Distance; 5] = [
        Distance::Mahalanobis,
        Distance::Neighbour,
        Distance::Appearance,
        Distance::Beyond,
        Distance::Shown,
    ];

    /// End of the name of its held-out distances in a bundle.
    pub(crate) fn tensor(self) -> &'static str {
        match self {
            Distance::Mahalanobis => "mahalanobis",
            Distance::Neighbour => "neighbour",
            Distance::Appearance => "appearance",
            Distance::Beyond => "beyond",
            Distance::Shown => "shown",
        }
    }

    /// Its share of the false alarms, before those not asked are taken out. The more foreign kinds
    /// a distance alone sees, the more it gets; chosen on a trial, not fitted.
    fn share(self) -> f64 {
        match self {
            Distance::Mahalanobis => 0.02,
            Distance::Neighbour => 0.04,
            Distance::Appearance => 0.10,
            Distance::Beyond => 0.20,
            Distance::Shown => 0.64,
        }
    }
}

/// The stored reference. Arrays are row-major `f32`, as in the bundle, with [`COLUMNS`] columns or,
/// without an appearance, as many as there are descriptors.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Detector {
    /// Mean and standard deviation of each value of the appearance over training simulations,
    /// (2, A), or nothing.
    pub(crate) scaling: Vec<f32>,
    /// Lower Cholesky factor of the shrunk covariance of the descriptors, (D, D).
    pub(crate) factor: Vec<f32>,
    /// Reference simulations, (any, C).
    pub(crate) reference: Vec<f32>,
    /// Smallest and largest value over training simulations, (2, C), or nothing.
    pub(crate) bounds: Vec<f32>,
    /// Distances of held-out simulations, rising; empty for a distance that is not asked.
    pub(crate) held: [Vec<f32>; Distance::ALL.len()],
}

/// A scan's descriptors in training standard deviations.
type Normal = [f64; DESCRIPTOR_COUNT];

impl Detector {
    /// Columns of its arrays.
    pub(crate) fn columns(&self) -> usize {
        if self.scaling.is_empty() { DESCRIPTOR_COUNT } else { COLUMNS }
    }

    /// Refuses arrays of the wrong length, values that are not finite, distances out of order and
    /// too few of them to flag anything.
    pub(crate) fn check(&self) -> Result<(), DiffusionError> {
        let size = self.columns();
        let arrays = [&self.scaling, &self.factor, &self.reference, &self.bounds];
        let finite = arrays.into_iter().chain(&self.held).flatten().all(|value| value.is_finite());
        let shapes = self.factor.len() == DESCRIPTOR_COUNT * DESCRIPTOR_COUNT
            && self.reference.len() >= size
            && self.reference.len().is_multiple_of(size)
            && [0, 2 * APPEARANCE_COUNT].contains(&self.scaling.len())
            && [0, 2 * size].contains(&self.bounds.len());
        let rising = |held: &Vec<f32>| {
            held.is_empty() || (held.len() >= 100 && held.windows(2).all(|pair| pair[0] <= pair[1]))
        };
        let has = |distance: Distance| !self.held[distance as usize].is_empty();
        let asked = self.held.iter().all(rising)
            && has(Distance::Mahalanobis)
            && has(Distance::Appearance) <= !self.scaling.is_empty()
            && has(Distance::Beyond) <= !self.bounds.is_empty();
        let regular = shapes
            && (0..DESCRIPTOR_COUNT).all(|i| self.factor[i * DESCRIPTOR_COUNT + i] > 0.0)
            && self.scaling.iter().skip(APPEARANCE_COUNT).all(|sd| *sd > 0.0);
        if finite && asked && regular {
            return Ok(());
        }
        Err(DiffusionError::bundle("the out-of-distribution reference is damaged"))
    }

    /// Descriptors of the reference simulations, (any, D).
    pub(crate) fn descriptors(&self) -> Vec<f32> {
        let rows = self.reference.chunks_exact(self.columns());
        rows.flat_map(|row| &row[..DESCRIPTOR_COUNT]).copied().collect()
    }

    /// Judges one scan by its columns; `shown` is its distance of that name.
    pub(crate) fn judge(&self, scan: &[f64], shown: f64) -> OutOfDistribution {
        let (mut p_value, mut score) = (1.0f64, 0.0f64);
        for (distance, share, held) in self.asked() {
            let value = self.distance(distance, scan, shown);
            p_value = p_value.min(conformal(value, held) / share);
            // Within every range it is not strange at all, however narrow the way to the alarm.
            if distance != Distance::Beyond || value > 1.0 {
                score = score.max(value / alarm_distance(held, share).max(1e-12));
            }
        }
        OutOfDistribution { score, p_value, flagged: p_value < FALSE_ALARM_RATE }
    }

    /// The distances with held-out simulations, their shares of the false alarms, and those.
    fn asked(&self) -> impl Iterator<Item = (Distance, f64, &[f32])> {
        let all = Distance::ALL.into_iter().zip(&self.held).filter(|(_, held)| !held.is_empty());
        // Without an appearance nothing tells that one distance sees more than another.
        let share =
            |distance: Distance| if self.scaling.is_empty() { 1.0 } else { distance.share() };
        let whole: f64 = all.clone().map(|(distance, _)| share(distance)).sum();
        all.map(move |(distance, held)| (distance, share(distance) / whole, held.as_slice()))
    }

    /// The columns of a scan. An appearance that is not known is taken for the training mean.
    fn scan(&self, normal: &Normal, appearance: Option<&Appearance>) -> Vec<f64> {
        let mut scan = normal.to_vec();
        if !self.scaling.is_empty() {
            let (mean, sd) = self.scaling.split_at(APPEARANCE_COUNT);
            let scaled = |values: &Appearance| {
                let scale = mean.iter().zip(sd);
                let pairs = values.values().iter().zip(scale);
                pairs.map(|(v, (mean, sd))| (v - f64::from(*mean)) / f64::from(*sd)).collect()
            };
            scan.extend(appearance.map_or_else(|| vec![0.0; APPEARANCE_COUNT], scaled));
        }
        scan.iter_mut().for_each(|value| *value = value.clamp(-CLAMP, CLAMP));
        scan
    }

    /// As `f32`, because the held-out distances it is compared with are stored so.
    fn distance(&self, distance: Distance, scan: &[f64], shown: f64) -> f64 {
        let (descriptors, appearance) = (0..DESCRIPTOR_COUNT, DESCRIPTOR_COUNT..scan.len());
        let value = match distance {
            Distance::Mahalanobis => self.mahalanobis_distance(&scan[..DESCRIPTOR_COUNT]),
            Distance::Neighbour => neighbour_distance(&self.reference, scan, descriptors),
            Distance::Appearance => neighbour_distance(&self.reference, scan, appearance),
            Distance::Shown => shown,
            Distance::Beyond => {
                let (least, most) = self.bounds.split_at(self.bounds.len() / 2);
                let beyond = |(value, (least, most)): (&f64, (&f32, &f32))| {
                    (value - f64::from(*most)).max(f64::from(*least) - value)
                };
                1.0 + scan.iter().zip(least.iter().zip(most)).map(beyond).fold(0.0, f64::max)
            }
        };
        f64::from(value as f32)
    }

    fn mahalanobis_distance(&self, scan: &[f64]) -> f64 {
        let mut solved = [0.0; DESCRIPTOR_COUNT];
        for row in 0..DESCRIPTOR_COUNT {
            let factor = &self.factor[row * DESCRIPTOR_COUNT..][..=row];
            let known: f64 =
                factor[..row].iter().zip(&solved).map(|(f, s)| f64::from(*f) * s).sum();
            solved[row] = (scan[row] - known) / f64::from(factor[row]);
        }
        solved.iter().map(|value| value * value).sum::<f64>().sqrt()
    }
}

/// Mean distance to the nearest rows of a reference in some of the columns.
fn neighbour_distance(reference: &[f32], scan: &[f64], columns: Range<usize>) -> f64 {
    let mut nearest = [f64::INFINITY; NEIGHBOURS];
    let mut found = 0;
    for row in reference.chunks_exact(scan.len()) {
        let pairs = row[columns.clone()].iter().zip(&scan[columns.clone()]);
        let square: f64 = pairs.map(|(r, s)| (f64::from(*r) - s).powi(2)).sum();
        found += 1;
        if square < nearest[NEIGHBOURS - 1] {
            nearest[NEIGHBOURS - 1] = square;
            nearest.sort_by(f64::total_cmp);
        }
    }
    let used = found.clamp(1, NEIGHBOURS);
    let sum: f64 = nearest[..used].iter().map(|square| square.sqrt()).sum();
    sum / used as f64
}

/// Share of held-out values at least as large, the scan itself counted among them.
fn conformal(distance: f64, held: &[f32]) -> f64 {
    let below = held.partition_point(|value| f64::from(*value) < distance);
    (held.len() - below + 1) as f64 / (held.len() + 1) as f64
}

/// Largest held-out distance that does not raise the flag by itself, with this share of the false
/// alarms.
fn alarm_distance(held: &[f32], share: f64) -> f64 {
    let quiet =
        |index: &usize| conformal(f64::from(held[*index]), held) / share >= FALSE_ALARM_RATE;
    let index = (0..held.len()).rev().find(quiet).unwrap_or(0);
    f64::from(held[index])
}

/// What a detector is fitted on and tried on: a scan's normalised descriptors and its appearance.
#[cfg(any(test, feature = "train"))]
pub(crate) type Seen<'a> = (Normal, Option<&'a Appearance>);

#[cfg(test)]
mod tests {
    use super::*;
    use microdiff_domain::Process;
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

    fn seen<'a>(rows: &[Normal], appearance: Option<&'a Appearance>) -> Vec<Seen<'a>> {
        rows.iter().map(|row| (*row, appearance)).collect()
    }

    fn judged(
        detector: &Detector,
        normal: &Normal,
        appearance: Option<&Appearance>,
    ) -> OutOfDistribution {
        detector.judge(&detector.scan(normal, appearance), 0.0)
    }

    fn fitted(train: usize, held: usize) -> Detector {
        Detector::fit(&seen(&rows(train, 1), None), &seen(&rows(held, 2), None), &[])
    }

    #[test]
    fn false_alarms_stay_at_the_stated_rate_and_strangers_are_flagged() {
        let detector = fitted(4000, 1000);
        detector.check().unwrap();
        let flagged =
            rows(2000, 3).iter().filter(|row| judged(&detector, row, None).flagged).count();
        assert!(flagged <= 130 && flagged > 20, "{flagged} of 2000");
        let far = judged(&detector, &[9.0; DESCRIPTOR_COUNT], None);
        assert!(far.flagged && far.score > 1.5, "{far:?}");
        // Each ordinary, together impossible.
        let mut broken = [0.0; DESCRIPTOR_COUNT];
        (broken[0], broken[1]) = (2.0, -2.0);
        assert!(judged(&detector, &broken, None).flagged);
    }

    #[test]
    fn score_crosses_one_where_the_flag_rises() {
        let detector = fitted(2000, 1000);
        for row in rows(500, 4) {
            let verdict = judged(&detector, &row, None);
            assert_eq!(verdict.flagged, verdict.score > 1.0, "{verdict:?}");
        }
    }

    #[test]
    fn a_strange_appearance_is_flagged_and_an_unknown_one_is_not() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut draw = || -> f64 { StandardNormal.sample(&mut rng) };
        let mut appearance =
            |_| Appearance::new([0.0; APPEARANCE_COUNT].map(|_: f64| 40.0 + 3.0 * draw())).unwrap();
        let appearances: Vec<Appearance> = (0..3000).map(&mut appearance).collect();
        let normal = rows(3000, 6);
        let all: Vec<Seen<'_>> = normal.iter().copied().zip(appearances.iter().map(Some)).collect();
        let detector = Detector::fit(&all[..2000], &all[2000..], &[]);
        let ordinary = [0.0; DESCRIPTOR_COUNT];
        let mean = Appearance::new([40.0; APPEARANCE_COUNT]).unwrap();
        assert!(!judged(&detector, &ordinary, Some(&mean)).flagged);
        assert!(!judged(&detector, &ordinary, None).flagged);
        let mut values = [40.0; APPEARANCE_COUNT];
        values[3] = 90.0;
        let strange = Appearance::new(values).unwrap();
        assert!(judged(&detector, &ordinary, Some(&strange)).flagged);
        assert_eq!(detector.descriptors().len() % DESCRIPTOR_COUNT, 0);
    }

    #[test]
    fn what_a_bounded_law_rules_out_is_flagged() {
        // Even between -1 and 1: 1.2 is far from no mean and from no neighbour.
        let even = |seed: u64| -> Vec<Normal> {
            rows(2000, seed).into_iter().map(|row| row.map(|v| v.rem_euclid(2.0) - 1.0)).collect()
        };
        let detector = Detector::fit(&seen(&even(1), None), &seen(&even(2), None), &[]);
        let mut beyond = [0.0; DESCRIPTOR_COUNT];
        let inside = judged(&detector, &beyond, None);
        assert!(!inside.flagged && inside.score < 0.9, "{inside:?}");
        beyond[7] = 1.2;
        assert!(judged(&detector, &beyond, None).flagged);
    }

    #[test]
    fn a_mistake_that_was_shown_is_found_among_the_ordinary() {
        // Shifted by one standard deviation in ten descriptors: ordinary in each by itself.
        let shifted = |seed: u64| -> Vec<Normal> {
            let shift = |mut row: Normal| {
                row[10..20].iter_mut().for_each(|value| *value += 1.0);
                row
            };
            rows(800, seed).into_iter().map(shift).collect()
        };
        let (train, held, shown) = (rows(3000, 1), rows(1000, 2), shifted(3));
        let fit = |shown: &[Normal]| {
            let detectors = Detectors::fit(
                &[Process::Lpbf],
                100,
                [&|_| seen(&train, None), &|_| seen(&held, None), &|_| seen(shown, None)],
            );
            move |rows: &[Normal]| {
                let judged = |row| detectors.judge(Process::Lpbf, row, None).unwrap();
                rows.iter().filter(|row| judged(row).flagged).count()
            }
        };
        let (unshown, shown) = (fit(&[]), fit(&shown));
        let (without, with) = (unshown(&shifted(4)), shown(&shifted(4)));
        assert!(without < 200 && with > 2 * without, "{without} then {with} of 800");
        let alarms = shown(&rows(2000, 5));
        assert!(alarms <= 130, "{alarms} of 2000");
    }

    #[test]
    fn damage_is_refused() {
        let good = fitted(500, 200);
        let damages: [fn(&mut Detector); 6] = [
            |d| d.factor[0] = 0.0,
            |d| d.reference.truncate(1),
            |d| d.held[0].reverse(),
            |d| d.held[0].clear(),
            |d| d.bounds.clear(),
            |d| d.scaling = vec![0.0; 2 * APPEARANCE_COUNT],
        ];
        for damage in damages {
            let mut bad = good.clone();
            damage(&mut bad);
            assert!(bad.check().is_err());
        }
    }
}
