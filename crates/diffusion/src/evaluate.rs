//! How good a model is on held-out simulations: skill over the prior, coverage and width of its
//! intervals, and two tests of calibration, by process, by defect class and by what is given.
//!
//! Everything is measured in the position within the prior's range (0 to 1), so parameters and
//! alloys can be averaged. The prior is the training rows' own distribution for process and alloy,
//! not told the regime.

mod compare;
mod given;
mod neighbours;
mod score;
mod summary;
mod uniform;

pub use compare::{Compared, Comparison, compare};
pub use given::Given;
pub(crate) use score::bare_scores;
pub use uniform::Uniformity;

use crate::error::within;
use crate::rows::Row;
use crate::{DiffusionError, Model};
use microdiff_domain::Process;
use rayon::prelude::*;
use score::{RowScore, score};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// One entry for each of: what is given, process, regime (all, then each class present),
    /// parameter not given.
    pub marginals: Vec<Marginal>,
    /// One entry for each of: what is given, process.
    pub calibration: Vec<CalibrationTest>,
    /// The defect-class head.
    pub classifier: ClassifierQuality,
    /// Share of these ordinary rows flagged as out of distribution.
    pub false_alarm_rate: f64,
}

/// Quality of one parameter's marginal in one regime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marginal {
    /// What is given to the model, see [`Given::names`].
    pub given: Vec<String>,
    /// The process.
    pub process: Process,
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

/// Whether the truth lies among the draws like one of them, regimes together: by what class a part
/// truly is, which no scan shows for certain, not even a right posterior would pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationTest {
    /// What is given to the model, see [`Given::names`].
    pub given: Vec<String>,
    /// The process.
    pub process: Process,
    /// Simulation-based calibration: ranks of the truth, by name of the parameter.
    pub ranks: BTreeMap<String, Uniformity>,
    /// TARP, over all parameters not given together: expected coverage against credibility, with
    /// reference points uniform over the prior's ranges.
    pub tarp: Uniformity,
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
    Ok(summary::evaluation(&scored, options.samples))
}
