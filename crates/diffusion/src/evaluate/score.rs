//! One held-out row → how well its posterior found the truth.

use super::EvaluateOptions;
use super::given::Given;
use super::uniform::{distance_rank, rank};
use crate::posterior::quantile;
use crate::rows::Row;
use crate::{DiffusionError, Model, Posterior, SampleOptions, space};
use microdiff_domain::{DefectClass, PARAMETER_COUNT, Parameter, Process};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One parameter of one row.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MarginalScore {
    pub(crate) crps: f64,
    pub(crate) prior_crps: f64,
    pub(super) error: f64,
    pub(super) inside_50: f64,
    pub(crate) inside_90: f64,
    pub(super) width: f64,
    pub(super) prior_width: f64,
    /// Position of the truth among the draws, 0 to 1.
    pub(super) rank: f64,
}

/// A row's scores in one way of asking.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GivenScores {
    /// Of each parameter that is not given.
    pub(super) marginals: [Option<MarginalScore>; PARAMETER_COUNT],
    /// Position of the truth among the draws by distance from a point that knows nothing of it.
    pub(super) distance_rank: f64,
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct RowScore {
    pub(super) process: Process,
    pub(super) class: DefectClass,
    /// In the order of [`Given::ALL`]; `None` where the question does not fit the row.
    pub(super) given: [Option<GivenScores>; Given::ALL.len()],
    pub(super) log_loss: f64,
    pub(super) correct: bool,
    pub(super) flagged: bool,
}

pub(super) fn score(
    model: &Model,
    row: &Row,
    options: &EvaluateOptions,
    index: u64,
) -> Result<RowScore, DiffusionError> {
    let mut all = [None; Given::ALL.len()];
    let mut first = None;
    for (given, kept) in Given::ALL.iter().zip(&mut all) {
        let Some((scores, posterior)) = given_scores(model, row, given, options, index)? else {
            continue;
        };
        *kept = Some(scores);
        first.get_or_insert((posterior.defects, posterior.out_of_distribution.flagged));
    }
    let (defects, flagged) = first.unwrap_or(([0.0; DefectClass::ALL.len()], false));
    let truth = defects[row.class.index()];
    Ok(RowScore {
        process: row.process,
        class: row.class,
        given: all,
        log_loss: -truth.max(1e-12).ln(),
        correct: defects.iter().all(|share| *share <= truth),
        flagged,
    })
}

/// The scores of every parameter, nothing given. `index` picks the row's own seed.
pub(crate) fn bare_scores(
    model: &Model,
    row: &Row,
    options: &EvaluateOptions,
    index: u64,
) -> Result<[MarginalScore; PARAMETER_COUNT], DiffusionError> {
    let found = given_scores(model, row, &Given::NOTHING, options, index)?;
    // The question fits every row, and no parameter is left out.
    let scores = found.map(|(scores, _)| scores).unwrap_or_default();
    Ok(scores.marginals.map(Option::unwrap_or_default))
}

/// The scores of the parameters that are not given, and the posterior they were read from; `None`
/// when the question does not fit the row. `index` picks the row's own seed.
fn given_scores(
    model: &Model,
    row: &Row,
    given: &Given,
    options: &EvaluateOptions,
    index: u64,
) -> Result<Option<(GivenScores, Posterior)>, DiffusionError> {
    let Some(observation) = given.observation(row, index)? else { return Ok(None) };
    // An odd multiplier spreads the rows' seeds over all 64 bits.
    let seed = options.seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let draw = SampleOptions { samples: options.samples, steps: options.steps, seed };
    let posterior = model.posterior(&observation, &draw, &mut ())?;
    let units = |theta: &[f64; PARAMETER_COUNT]| space::to_unit(theta, row.process, row.alloy);
    let truth = units(&row.theta);
    let prior = model.prior_units(row.process, row.alloy);
    let draws: Vec<_> = posterior.draws.iter().map(units).collect();
    let mut scores = GivenScores::default();
    for p in Parameter::ALL.into_iter().filter(|p| !given.parameters.contains(p)) {
        let column = |rows: &[[f64; PARAMETER_COUNT]]| {
            let mut column: Vec<f64> = rows.iter().map(|row| row[p.index()]).collect();
            column.sort_by(f64::total_cmp);
            column
        };
        let found = marginal(&column(&draws), &column(&prior), truth[p.index()]);
        scores.marginals[p.index()] = Some(found);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::MAX);
    // What is given is the same in every draw and in the truth, so it moves no rank.
    let reference = [0.0; PARAMETER_COUNT].map(|_: f64| rng.random());
    scores.distance_rank = distance_rank(&draws, &truth, &reference);
    Ok(Some((scores, posterior)))
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
        rank: rank(draws, truth),
    }
}

/// Continuous ranked probability score of a rising sample (Gneiting and Raftery 2007, eq. 21), the
/// spread estimated without bias so that samples of different sizes compare.
pub(super) fn crps(sorted: &[f64], truth: f64) -> f64 {
    let count = sorted.len() as f64;
    let error: f64 = sorted.iter().map(|x| (x - truth).abs()).sum::<f64>() / count.max(1.0);
    // Σ|xᵢ − xⱼ| over all pairs of a sorted sample, by rank.
    let rank = |i: usize| 2.0 * i as f64 + 1.0 - count;
    let pairs: f64 = sorted.iter().enumerate().map(|(i, x)| rank(i) * x).sum();
    error - pairs / (count * (count - 1.0)).max(1.0)
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
    fn a_truth_from_the_draws_own_law_is_covered_as_often_as_stated() {
        let prior: Vec<f64> = (0..200).map(|i| f64::from(i) / 199.0).collect();
        let scores: Vec<MarginalScore> =
            (0..100).map(|i| marginal(&prior, &prior, f64::from(i) / 99.0)).collect();
        let mean = |value: fn(&MarginalScore) -> f64| {
            scores.iter().map(value).sum::<f64>() / scores.len() as f64
        };
        assert!(scores.iter().all(|score| score.crps == score.prior_crps));
        assert!((mean(|s| s.inside_90) - 0.9).abs() < 0.02);
        assert!((mean(|s| s.inside_50) - 0.5).abs() < 0.02);
        assert!((mean(|s| s.rank) - 0.5).abs() < 0.01);
    }
}
