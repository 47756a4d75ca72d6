//! A few held-out cases → the model's skill as one number for each regime, case by case.
//!
//! For a service that scores its own model while it runs: one case at a time, so that it can stand
//! back for other work between two. The complete evaluation, by parameter and by what is given, is
//! [`crate::evaluate`]; both score a case by the same code.

use crate::evaluate::{EvaluateOptions, bare_scores};
use crate::rows::Row;
use crate::{DiffusionError, Model};
use microdiff_domain::{DefectClass, PARAMETER_COUNT};
use serde::{Deserialize, Serialize};

/// How the model did on one case, nothing but scan and alloy given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CaseScore {
    /// The case's true dominant defect.
    pub class: DefectClass,
    /// Continuous ranked probability score of each parameter, in its position within the prior's
    /// range; 0 is exact.
    pub crps: [f64; PARAMETER_COUNT],
    /// The same of the prior.
    pub prior_crps: [f64; PARAMETER_COUNT],
    /// 1 where the truth lies in the central 90 % interval, else 0.
    pub inside_90: [f64; PARAMETER_COUNT],
}

/// The model's quality on one set of cases.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetScore {
    /// The cases of this true class; all when absent.
    pub regime: Option<DefectClass>,
    /// Number of cases.
    pub cases: usize,
    /// Mean over the parameters of 1 − CRPS/CRPS of the prior (Gneiting and Raftery 2007), in
    /// (−∞, 1]: 0 is no better than the prior, 1 is exact.
    pub skill: f64,
    /// Share of true values inside the central 90 % interval, over cases and parameters.
    pub coverage_90: f64,
}

/// Scores one case. `index` picks the draws' seed: the same index and options give the same score.
///
/// # Errors
/// As [`Model::posterior`].
pub fn score_case(
    model: &Model,
    row: &Row,
    options: &EvaluateOptions,
    index: u64,
) -> Result<CaseScore, DiffusionError> {
    let scores = bare_scores(model, row, options, index)?;
    Ok(CaseScore {
        class: row.class,
        crps: scores.map(|score| score.crps),
        prior_crps: scores.map(|score| score.prior_crps),
        inside_90: scores.map(|score| score.inside_90),
    })
}

/// The scores of all cases together, then of each class that is present. `shares` says how often
/// each class comes among simulations, in the order of [`DefectClass::ALL`]: a set may hold rare
/// classes in greater number, and all together are weighted back.
pub fn set_scores(cases: &[CaseScore], shares: &[f64; DefectClass::ALL.len()]) -> Vec<SetScore> {
    let count = |class| cases.iter().filter(|case| case.class == class).count();
    let counts = DefectClass::ALL.map(count);
    let all = |class: DefectClass| shares[class.index()] / counts[class.index()].max(1) as f64;
    let mut scores: Vec<SetScore> = weighted(cases, None, all).into_iter().collect();
    for class in DefectClass::ALL {
        let one = |other| if other == class { 1.0 } else { 0.0 };
        scores.extend(weighted(cases, Some(class), one));
    }
    scores
}

fn weighted(
    cases: &[CaseScore],
    regime: Option<DefectClass>,
    weight: impl Fn(DefectClass) -> f64,
) -> Option<SetScore> {
    let total: f64 = cases.iter().map(|case| weight(case.class)).sum();
    if total <= 0.0 {
        return None;
    }
    let sum = |value: fn(&CaseScore) -> &[f64; PARAMETER_COUNT], p: usize| -> f64 {
        cases.iter().map(|case| weight(case.class) * value(case)[p]).sum()
    };
    let mean = |of: &dyn Fn(usize) -> f64| {
        (0..PARAMETER_COUNT).map(of).sum::<f64>() / PARAMETER_COUNT as f64
    };
    let skill = |p: usize| {
        let below = sum(|case| &case.prior_crps, p);
        if below > 0.0 { 1.0 - sum(|case| &case.crps, p) / below } else { 0.0 }
    };
    Some(SetScore {
        regime,
        cases: cases.iter().filter(|case| regime.is_none_or(|r| r == case.class)).count(),
        skill: mean(&skill),
        coverage_90: mean(&|p| sum(|case| &case.inside_90, p) / total),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(class: DefectClass, crps: f64) -> CaseScore {
        let five = |value| [value; PARAMETER_COUNT];
        CaseScore { class, crps: five(crps), prior_crps: five(0.2), inside_90: five(1.0) }
    }

    #[test]
    fn exact_is_one_the_prior_is_nought_and_worse_is_negative() {
        let shares = [0.25; 4];
        let skill = |crps| set_scores(&[case(DefectClass::Dense, crps)], &shares)[0].skill;
        assert_eq!(skill(0.0), 1.0);
        assert_eq!(skill(0.2), 0.0);
        assert!((skill(0.3) + 0.5).abs() < 1e-12);
    }

    #[test]
    fn all_together_are_weighted_back_to_the_shares_of_simulations() {
        let mut cases = vec![case(DefectClass::Dense, 0.2); 3];
        cases.push(case(DefectClass::Balling, 0.0));
        let scores = set_scores(&cases, &[0.9, 0.0, 0.0, 0.1]);
        let regimes: Vec<_> = scores.iter().map(|score| (score.regime, score.cases)).collect();
        let each = [(None, 4), (Some(DefectClass::Dense), 3), (Some(DefectClass::Balling), 1)];
        assert_eq!(regimes, each);
        assert!((scores[0].skill - 0.1).abs() < 1e-12, "{scores:?}");
        assert_eq!((scores[1].skill, scores[2].skill), (0.0, 1.0));
        assert!((scores[0].coverage_90 - 1.0).abs() < 1e-12);
    }
}
