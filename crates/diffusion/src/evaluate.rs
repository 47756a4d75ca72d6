//! How good a model is on held-out simulations: skill over the prior, interval coverage and
//! width, by defect class and by what metadata is given.
//!
//! Everything is measured in the position within the prior's range (0 to 1), so parameters and
//! alloys can be averaged. The prior is the training rows' own distribution for the process and alloy, not
//! told the regime.

use crate::error::within;
use crate::posterior::quantile;
use crate::rows::Row;
use crate::{DiffusionError, Model, Observation, Posterior, SampleOptions, space};
use microdiff_domain::{DefectClass, KnownParameters, PARAMETER_COUNT, Parameter};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What parameters are given to the model in each pass.
pub const GIVEN: [&[Parameter]; 2] = [&[], &[Parameter::LayerThickness, Parameter::HatchSpacing]];

/// How to evaluate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Draws per row, 20 to 100,000.
    pub samples: usize,
    /// Solver steps.
    pub steps: usize,
    /// Seed; each row has its own seed made from it.
    pub seed: u64,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self { samples: 128, steps: 32, seed: 1 }
    }
}

/// Results on held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Rows evaluated.
    pub rows: usize,
    /// Draws per row.
    pub samples: usize,
    /// One entry for each of: what is given, regime (all, then each class present), parameter
    /// not given.
    pub marginals: Vec<Marginal>,
    /// The defect-class head.
    pub classifier: ClassifierQuality,
    /// Share of these ordinary rows flagged as out of distribution.
    pub false_alarm_rate: f64,
}

/// Quality of one parameter's marginal in one regime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marginal {
    /// Parameters given to the model, by name.
    pub given: Vec<String>,
    /// `all` or a defect class.
    pub regime: String,
    /// The parameter, by name.
    pub parameter: String,
    /// Rows averaged.
    pub rows: usize,
    /// 1 − CRPS/CRPS of the prior: 0 is no better than the prior, 1 is exact.
    pub skill: f64,
    /// Mean distance of the median from the truth, as a share of the prior's range.
    pub mean_absolute_error: f64,
    /// Share of rows whose truth lies in the central 50 % interval.
    pub coverage_50: f64,
    /// Share of rows whose truth lies in the central 90 % interval.
    pub coverage_90: f64,
    /// Mean width of the 90 % interval over the prior's.
    pub relative_width: f64,
}

/// Quality of the defect-class head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierQuality {
    /// Mean −ln of the probability of the true class.
    pub log_loss: f64,
    /// Share of rows whose most probable class is the true one.
    pub accuracy: f64,
}

/// Evaluates a model on rows it has not seen. `progress` hears (done, total) from time to time.
pub fn evaluate(
    model: &Model,
    rows: &[Row],
    options: &EvaluateOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Evaluation, DiffusionError> {
    within("rows", rows.len(), 1..=10_000_000)?;
    within("samples", options.samples, 20..=100_000)?;
    let mut scored = Vec::with_capacity(rows.len());
    for (chunk, first) in rows.chunks(64).zip((0..).step_by(64)) {
        let scores: Result<Vec<RowScore>, DiffusionError> = chunk
            .par_iter()
            .enumerate()
            .map(|(i, row)| score(model, row, options, first + i as u64))
            .collect();
        scored.extend(scores?);
        progress(scored.len(), rows.len());
    }
    Ok(summarise(&scored, options.samples))
}

/// One parameter of one row.
#[derive(Clone, Copy, Default)]
pub(crate) struct MarginalScore {
    pub(crate) crps: f64,
    pub(crate) prior_crps: f64,
    error: f64,
    inside_50: f64,
    pub(crate) inside_90: f64,
    width: f64,
    prior_width: f64,
}

struct RowScore {
    class: DefectClass,
    marginals: [[Option<MarginalScore>; PARAMETER_COUNT]; GIVEN.len()],
    log_loss: f64,
    correct: bool,
    flagged: bool,
}

fn score(
    model: &Model,
    row: &Row,
    options: &EvaluateOptions,
    index: u64,
) -> Result<RowScore, DiffusionError> {
    let mut marginals = [[None; PARAMETER_COUNT]; GIVEN.len()];
    let mut first = None;
    for (given, marginals) in GIVEN.iter().zip(&mut marginals) {
        let (scores, posterior) = given_scores(model, row, given, options, index)?;
        *marginals = scores;
        first.get_or_insert((posterior.defects, posterior.out_of_distribution.flagged));
    }
    let (defects, flagged) = first.unwrap_or(([0.0; DefectClass::ALL.len()], false));
    let truth = defects[row.class.index()];
    Ok(RowScore {
        class: row.class,
        marginals,
        log_loss: -truth.max(1e-12).ln(),
        correct: defects.iter().all(|share| *share <= truth),
        flagged,
    })
}

/// The scores of the parameters that are not given, and the posterior they were read from. `index`
/// picks the row's own seed.
pub(crate) fn given_scores(
    model: &Model,
    row: &Row,
    given: &[Parameter],
    options: &EvaluateOptions,
    index: u64,
) -> Result<([Option<MarginalScore>; PARAMETER_COUNT], Posterior), DiffusionError> {
    let mut known = KnownParameters::NONE;
    for parameter in given {
        let range = parameter.range(row.process, row.alloy);
        let value = row.theta[parameter.index()].clamp(range.low, range.high);
        known = known.with(*parameter, value, row.process, row.alloy)?;
    }
    let observation = Observation {
        process: row.process,
        alloy: row.alloy,
        descriptors: row.descriptors.clone(),
        appearance: row.appearance.clone(),
        known,
        // Hidden, as it is from most who ask; giving it can only help.
        spot: None,
    };
    // An odd multiplier spreads the rows' seeds over all 64 bits.
    let seed = options.seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let draw = SampleOptions { samples: options.samples, steps: options.steps, seed };
    let posterior = model.posterior(&observation, &draw, &mut ())?;
    let truth = space::to_unit(&row.theta, row.process, row.alloy);
    let prior = model.prior_units(row.process, row.alloy);
    let unit = |draw| space::to_unit(draw, row.process, row.alloy);
    let units: Vec<_> = posterior.draws.iter().map(unit).collect();
    let mut scores = [None; PARAMETER_COUNT];
    for p in Parameter::ALL.into_iter().filter(|p| !given.contains(p)) {
        let column = |rows: &[[f64; PARAMETER_COUNT]]| {
            let mut column: Vec<f64> = rows.iter().map(|row| row[p.index()]).collect();
            column.sort_by(f64::total_cmp);
            column
        };
        scores[p.index()] = Some(marginal(&column(&units), &column(&prior), truth[p.index()]));
    }
    Ok((scores, posterior))
}

fn marginal(draws: &[f64], prior: &[f64], truth: f64) -> MarginalScore {
    // Type 6 of Hyndman and Fan 1996: a fresh draw of the same law falls inside with exactly the
    // stated probability, however few the draws; type 7 would read as under-coverage.
    let count = draws.len() as f64;
    let unbiased = |share: f64| {
        let position = (share * (count + 1.0) - 1.0) / (count - 1.0).max(1.0);
        quantile(draws, position.clamp(0.0, 1.0))
    };
    let inside = |share: f64| {
        let tail = (1.0 - share) / 2.0;
        let interval = unbiased(tail)..=unbiased(1.0 - tail);
        if interval.contains(&truth) { 1.0 } else { 0.0 }
    };
    let width = |sorted: &[f64]| quantile(sorted, 0.95) - quantile(sorted, 0.05);
    MarginalScore {
        crps: crps(draws, truth),
        prior_crps: crps(prior, truth),
        error: (quantile(draws, 0.5) - truth).abs(),
        inside_50: inside(0.5),
        inside_90: inside(0.9),
        width: width(draws),
        prior_width: width(prior),
    }
}

/// Continuous ranked probability score of a rising sample (Gneiting and Raftery 2007, eq. 21), the
/// spread estimated without bias so that samples of different sizes compare.
fn crps(sorted: &[f64], truth: f64) -> f64 {
    let count = sorted.len() as f64;
    let error: f64 = sorted.iter().map(|x| (x - truth).abs()).sum::<f64>() / count.max(1.0);
    // Σ|xᵢ − xⱼ| over all pairs of a sorted sample, by rank.
    let rank = |i: usize| 2.0 * i as f64 + 1.0 - count;
    let pairs: f64 = sorted.iter().enumerate().map(|(i, x)| rank(i) * x).sum();
    error - pairs / (count * (count - 1.0)).max(1.0)
}

fn summarise(rows: &[RowScore], samples: usize) -> Evaluation {
    let mut marginals = Vec::new();
    for (index, given) in GIVEN.iter().enumerate() {
        let regimes = std::iter::once(None).chain(DefectClass::ALL.map(Some));
        for regime in regimes {
            for p in Parameter::ALL {
                let scores: Vec<MarginalScore> = rows
                    .iter()
                    .filter(|row| regime.is_none_or(|class| row.class == class))
                    .filter_map(|row| row.marginals[index][p.index()])
                    .collect();
                if scores.is_empty() {
                    continue;
                }
                let name = regime.map_or("all", DefectClass::name);
                marginals.push(summary(given, name, p, &scores));
            }
        }
    }
    let share = |count: usize| count as f64 / rows.len() as f64;
    Evaluation {
        rows: rows.len(),
        samples,
        marginals,
        classifier: ClassifierQuality {
            log_loss: rows.iter().map(|row| row.log_loss).sum::<f64>() / rows.len() as f64,
            accuracy: share(rows.iter().filter(|row| row.correct).count()),
        },
        false_alarm_rate: share(rows.iter().filter(|row| row.flagged).count()),
    }
}

fn summary(
    given: &[Parameter],
    regime: &str,
    parameter: Parameter,
    scores: &[MarginalScore],
) -> Marginal {
    let mean = |value: fn(&MarginalScore) -> f64| {
        scores.iter().map(value).sum::<f64>() / scores.len() as f64
    };
    let ratio = |above: f64, below: f64| if below > 0.0 { above / below } else { 1.0 };
    Marginal {
        given: given.iter().map(|p| p.name().to_owned()).collect(),
        regime: regime.to_owned(),
        parameter: parameter.name().to_owned(),
        rows: scores.len(),
        skill: 1.0 - ratio(mean(|s| s.crps), mean(|s| s.prior_crps)),
        mean_absolute_error: mean(|s| s.error),
        coverage_50: mean(|s| s.inside_50),
        coverage_90: mean(|s| s.inside_90),
        relative_width: ratio(mean(|s| s.width), mean(|s| s.prior_width)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crps_by_eye() {
        // Two draws at 0 and 1, truth 0: mean error 0.5, half the mean pair distance 0.5.
        assert!(crps(&[0.0, 1.0], 0.0).abs() < 1e-12);
        assert_eq!(crps(&[0.25, 0.25, 0.25], 0.75), 0.5);
        // A fine uniform sample and its middle: 1/4 − 1/6.
        let uniform: Vec<f64> = (0..2000).map(|i| (f64::from(i) + 0.5) / 2000.0).collect();
        assert!((crps(&uniform, 0.5) - 1.0 / 12.0).abs() < 1e-3);
    }

    #[test]
    fn a_posterior_equal_to_the_prior_has_no_skill_and_full_width() {
        let prior: Vec<f64> = (0..200).map(|i| f64::from(i) / 199.0).collect();
        let scores: Vec<MarginalScore> =
            (0..100).map(|i| marginal(&prior, &prior, f64::from(i) / 99.0)).collect();
        let summary = summary(&[], "all", Parameter::LaserPower, &scores);
        assert!(summary.skill.abs() < 1e-12 && summary.relative_width == 1.0);
        assert!((summary.coverage_90 - 0.9).abs() < 0.02);
        assert!((summary.coverage_50 - 0.5).abs() < 0.02);
    }
}
