//! Settings → how good each is, and better ones near the best.

use super::bound::Target;
use super::candidate::Candidate;
use super::error::TargetError;
use super::fit::fit;
use super::space::{AXES, Place, Space};
use crate::predict::{Predictor, Support, evidence::evidence};
use rayon::prelude::*;
use std::cmp::Ordering;

/// Parts of a range that two settings must lie apart in some parameter to be distinct. Chosen.
const APART: f64 = 0.15;
/// Parts of a range that a setting is moved by, coarse to fine.
const MOVES: [f64; 4] = [0.12, 0.06, 0.03, 0.015];
/// Moves of one size, at most.
const ROUNDS: usize = 6;
/// Probabilities nearer than this are not told apart in a ranking: the draws alone move them by
/// half as much.
const TIER: f64 = 0.05;

/// What settings are ranked by: probability in steps, then evidence, then margin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Standing {
    tier: u32,
    support: Support,
    margin: f64,
}

/// A setting with what the search knows of it.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) place: Place,
    pub(super) probability: f64,
    /// Of each bound by itself.
    each: Vec<f64>,
    pub(super) standing: Standing,
}

/// Looks at settings, always with the same draws.
pub(super) struct Scout<'a> {
    space: &'a Space,
    target: &'a Target,
    predictor: Predictor,
}

impl Standing {
    pub(super) fn new(probability: f64, support: Support, margin: f64) -> Self {
        // A probability that is a tier's edge but for rounding belongs above it.
        Self { tier: (probability / TIER + 1e-9) as u32, support, margin }
    }

    /// Best first.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let better = (other.tier, other.support).cmp(&(self.tier, self.support));
        better.then(other.margin.total_cmp(&self.margin))
    }
}

impl<'a> Scout<'a> {
    pub(super) fn new(space: &'a Space, target: &'a Target, seed: u64) -> Self {
        Self { space, target, predictor: Predictor::new(seed) }
    }

    pub(super) fn look_at(&self, places: Vec<Place>) -> Result<Vec<Look>, TargetError> {
        places.into_par_iter().map(|place| self.look(place)).collect()
    }

    fn look(&self, place: Place) -> Result<Look, TargetError> {
        let condition = self.space.condition(place)?;
        let (prediction, drawn) = self.predictor.predict_drawn(&condition);
        let fit = fit(self.target, &prediction, build_rate_cm3_h(&place), &drawn);
        let support = evidence(&condition, &prediction).support;
        Ok(Look {
            place,
            probability: fit.probability,
            each: fit.bounds.iter().map(|bound| bound.probability).collect(),
            standing: Standing::new(fit.probability, support, fit.margin),
        })
    }

    /// Probability that every bound is kept.
    pub(super) fn probability(&self, place: Place) -> Result<f64, TargetError> {
        Ok(self.look(place)?.probability)
    }

    /// Climbs from each start to the best setting around it; with the number of settings tried.
    pub(super) fn better(&self, starts: &[Look]) -> Result<(Vec<Place>, usize), TargetError> {
        let climbed: Vec<(Place, usize)> =
            starts.par_iter().map(|start| self.climb(start)).collect::<Result<_, _>>()?;
        let tried = climbed.iter().map(|(_, tried)| tried).sum();
        Ok((climbed.into_iter().map(|(place, _)| place).collect(), tried))
    }

    fn climb(&self, start: &Look) -> Result<(Place, usize), TargetError> {
        let mut here = start.clone();
        let mut tried = 0;
        for size in MOVES {
            let ways = self.ways(size);
            for _ in 0..ROUNDS {
                let mut best = None;
                for way in &ways {
                    let step = |place, (axis, units): &(usize, f64)| {
                        self.space.neighbour(&place, *axis, *units)
                    };
                    let Some(place) = way.iter().try_fold(here.place, step) else { continue };
                    let there = self.look(place)?;
                    tried += 1;
                    let mark = best.as_ref().unwrap_or(&here);
                    if there.standing.order(&mark.standing) == Ordering::Less {
                        best = Some(there);
                    }
                }
                match best {
                    Some(better) => here = better,
                    None => break,
                }
            }
        }
        Ok((here.place, tried))
    }

    /// Each free parameter up and down; and power with speed, along the ridge of tracks alike, where
    /// neither alone gets anywhere.
    fn ways(&self, size: f64) -> Vec<Vec<(usize, f64)>> {
        let free: Vec<usize> = (0..AXES).filter(|axis| self.space.is_free(*axis)).collect();
        let mut groups: Vec<Vec<usize>> = free.iter().map(|axis| vec![*axis]).collect();
        if let [0, 1, ..] = free[..] {
            groups.push(vec![0, 1]);
        }
        let way =
            |group: &Vec<usize>, units: f64| group.iter().map(|axis| (*axis, units)).collect();
        groups.iter().flat_map(|group| [way(group, size), way(group, -size)]).collect()
    }
}

/// The best looks that lie apart.
pub(super) fn distinct(space: &Space, looks: &[Look], count: usize) -> Vec<Look> {
    let mut ranked: Vec<&Look> = looks.iter().collect();
    ranked.sort_by(|a, b| a.standing.order(&b.standing));
    keep_apart(space, ranked, |look| look.place, count).into_iter().cloned().collect()
}

/// The first candidates that lie apart.
pub(super) fn apart(space: &Space, ranked: Vec<Candidate>, count: usize) -> Vec<Candidate> {
    keep_apart(space, ranked, Candidate::place, count)
}

fn keep_apart<T>(
    space: &Space,
    ranked: Vec<T>,
    place: impl Fn(&T) -> Place,
    count: usize,
) -> Vec<T> {
    let mut taken: Vec<[f64; AXES]> = Vec::new();
    let mut kept = Vec::new();
    for one in ranked {
        let units = space.units(&place(&one));
        let far =
            |other: &[f64; AXES]| units.iter().zip(other).any(|(a, b)| (a - b).abs() >= APART);
        if kept.len() < count && taken.iter().all(far) {
            taken.push(units);
            kept.push(one);
        }
    }
    kept
}

/// For each bound the setting that keeps it likeliest, whatever becomes of the others.
pub(super) fn likeliest_of_each(looks: &[Look], bounds: usize) -> Vec<Place> {
    let likeliest = |k: usize| {
        let best = looks.iter().max_by(|a, b| a.each[k].total_cmp(&b.each[k]));
        best.map(|look| look.place)
    };
    (0..bounds).filter_map(likeliest).collect()
}

/// Volume that a setting consolidates, from mm/s and µm.
pub(super) fn build_rate_cm3_h([_, speed, layer, hatch]: &Place) -> f64 {
    speed * layer * hatch * 3600.0 * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_comes_before_evidence_and_evidence_before_margin() {
        let standing = Standing::new;
        let ranked = [
            standing(0.95, Support::Beyond, -1.0),
            standing(0.92, Support::Tracks, 0.5),
            standing(0.94, Support::Tracks, 0.1),
            standing(0.94, Support::OtherAlloys, 2.0),
            standing(0.4, Support::Tracks, 3.0),
        ];
        assert!(ranked.windows(2).all(|pair| pair[0].order(&pair[1]) == Ordering::Less));
    }

    #[test]
    fn the_build_rate_of_a_usual_setting() {
        // 1083 mm/s × 0.02 mm × 0.09 mm = 1.949 mm³/s
        assert!((build_rate_cm3_h(&[195.0, 1083.0, 20.0, 90.0]) - 7.018).abs() < 1e-3);
    }
}
