//! The held-out scans that travel with a model: a few simulated rows of each defect class with
//! their true parameters, what the model scored on them when it was made, and the calibration of
//! the posterior-predictive check.
//!
//! A running service scores its model on them again; the same model, rows and draws give the same
//! score, so a difference means that something is broken. The rows come from simulations of
//! another seed than training. They are two files beside the bundle and not part of its digest: a
//! validation set may be exchanged without making another model of the same weights.

use crate::DesignError;
use crate::predictive::{Calibration, Question};
use microdiff_diffusion::evaluate::EvaluateOptions;
use microdiff_diffusion::rows::{Row, RowSet};
use microdiff_diffusion::{
    CaseScore, Model, Observation, SampleOptions, SetScore, score_case, set_scores,
};
use microdiff_domain::DefectClass;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// File of the rows.
pub(crate) const ROW_FILE: &str = "validation.rows";
/// File of what is recorded about them.
pub(crate) const RECORD_FILE: &str = "validation.json";
/// Only format this version reads.
const FORMAT: &str = "microdiff.validation/1";
/// Rows kept of each class: 300 rows are 260 kB and a few seconds of one core.
const ROWS_OF_A_CLASS: usize = 75;
/// Draws and steps for each row. The score is unbiased whatever the number of draws; one block of
/// the network holds this many.
const SCORE: EvaluateOptions = EvaluateOptions { samples: 96, steps: 32, seed: 1 };
/// Other rows that the predictive check is calibrated on, at most, and the draws for each.
const CALIBRATION_ROWS: usize = 600;
const CALIBRATION_DRAWS: usize = 128;
/// Discrepancies kept of each observable.
const CALIBRATION_KEPT: usize = 600;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: String,
    /// The model that was scored.
    model_digest: String,
    /// [`RowSet::digest`] of the rows.
    rows_sha256: String,
    simulator_version: String,
    /// Simulations the rows were chosen from, and their seed.
    simulations: usize,
    simulation_seed: u64,
    samples: usize,
    steps: usize,
    seed: u64,
    /// Share of each class among the simulations.
    class_shares: [f64; DefectClass::ALL.len()],
    /// What the model scored.
    scores: Vec<SetScore>,
    predictive: Calibration,
}

/// A validation set with what is recorded about it.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidationSet {
    record: Record,
    rows: Vec<Row>,
}

impl ValidationSet {
    /// Reads both files beside the model with this digest. What is wrong is told as text: a model
    /// answers without a validation set, too.
    pub(crate) fn open(directory: &Path, model_digest: &str) -> Result<Self, String> {
        let read = |name: &str| {
            std::fs::read(directory.join(name)).map_err(|error| format!("{name}: {error}"))
        };
        Self::from_bytes(&read(RECORD_FILE)?, &read(ROW_FILE)?, model_digest)
    }

    /// Takes the content of the two files.
    pub(crate) fn from_bytes(
        record: &[u8],
        rows: &[u8],
        model_digest: &str,
    ) -> Result<Self, String> {
        let record: Record = serde_json::from_slice(record)
            .map_err(|error| format!("{RECORD_FILE} unreadable: {error}"))?;
        if record.format != FORMAT {
            return Err(format!("{RECORD_FILE} is of another format than {FORMAT}"));
        }
        if record.model_digest != model_digest {
            return Err("it was recorded for another model".to_owned());
        }
        if !record.predictive.is_sound() {
            return Err("its calibration is damaged".to_owned());
        }
        let set = RowSet::from_bytes(rows).map_err(|error| error.to_string())?;
        if set.rows.is_empty() || set.digest() != record.rows_sha256 {
            return Err(format!("{ROW_FILE} does not have the record's SHA-256"));
        }
        Ok(Self { record, rows: set.rows })
    }

    /// SHA-256 of the rows, hexadecimal: the name of this set.
    pub fn digest(&self) -> &str {
        &self.record.rows_sha256
    }

    /// Version of the simulator that made the rows.
    pub fn simulator_version(&self) -> &str {
        &self.record.simulator_version
    }

    /// Number of cases.
    pub fn cases(&self) -> usize {
        self.rows.len()
    }

    /// Posterior draws for each case.
    pub fn samples(&self) -> usize {
        self.record.samples
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Share of each class among simulations, in the order of [`DefectClass::ALL`].
    pub fn class_shares(&self) -> [f64; DefectClass::ALL.len()] {
        self.record.class_shares
    }

    /// What the model scored when it was recorded.
    pub fn recorded(&self) -> &[SetScore] {
        &self.record.scores
    }

    /// The scores of all cases together and of each class.
    pub fn summarise(&self, cases: &[CaseScore]) -> Vec<SetScore> {
        set_scores(cases, &self.record.class_shares)
    }

    pub(crate) fn score(&self, model: &Model, case: usize) -> Result<CaseScore, DesignError> {
        let row = self.rows.get(case).ok_or(DesignError::NoRow { index: case })?;
        let Record { samples, steps, seed, .. } = self.record;
        Ok(score_case(model, row, &EvaluateOptions { samples, steps, seed }, case as u64)?)
    }

    pub(crate) fn calibration(&self) -> &Calibration {
        &self.record.predictive
    }
}

/// Chooses from simulations the model was not trained on its validation set, scores the model on
/// it, calibrates the predictive check on the others, and writes both files into the bundle's
/// directory. `progress` hears (done, total).
///
/// # Errors
/// When the bundle cannot be read or answers nothing, or a file cannot be written.
pub fn record_validation(
    directory: &Path,
    simulations: &RowSet,
    simulation_seed: u64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), DesignError> {
    let model = Model::open(directory)?;
    let (chosen, others) = choose(&simulations.rows);
    let others = &others[..others.len().min(CALIBRATION_ROWS)];
    let total = chosen.len() + others.len();
    let mut done = 0;
    let mut told = |done: &mut usize| {
        *done += 1;
        if done.is_multiple_of(50) || *done == total {
            progress(*done, total);
        }
    };
    let mut cases = Vec::with_capacity(chosen.len());
    for (index, row) in chosen.iter().enumerate() {
        cases.push(score_case(&model, row, &SCORE, index as u64)?);
        told(&mut done);
    }
    let mut predictions = Vec::with_capacity(others.len());
    for (index, row) in others.iter().enumerate() {
        predictions.push(predict(&model, row, CALIBRATION_DRAWS, index as u64)?);
        told(&mut done);
    }
    let count = simulations.rows.len().max(1) as f64;
    let class_shares = DefectClass::ALL.map(|class| {
        simulations.rows.iter().filter(|row| row.class == class).count() as f64 / count
    });
    let set = RowSet { simulator_version: simulations.simulator_version.clone(), rows: chosen };
    let record = Record {
        format: FORMAT.to_owned(),
        model_digest: model.digest().to_owned(),
        rows_sha256: set.digest(),
        simulator_version: set.simulator_version.clone(),
        simulations: simulations.rows.len(),
        simulation_seed,
        samples: SCORE.samples,
        steps: SCORE.steps,
        seed: SCORE.seed,
        class_shares,
        scores: set_scores(&cases, &class_shares),
        predictive: Calibration::fit(&predictions, CALIBRATION_KEPT),
    };
    write(directory, &record, &set)
}

fn write(directory: &Path, record: &Record, set: &RowSet) -> Result<(), DesignError> {
    let unwritable = |error: &dyn std::fmt::Display| DesignError::Validation(error.to_string());
    let mut text = serde_json::to_vec(record).map_err(|error| unwritable(&error))?;
    text.push(b'\n');
    set.write(&directory.join(ROW_FILE))?;
    std::fs::write(directory.join(RECORD_FILE), text).map_err(|error| unwritable(&error))
}

/// The first rows of each class, and the rest.
fn choose(rows: &[Row]) -> (Vec<Row>, Vec<&Row>) {
    let mut counts = [0; DefectClass::ALL.len()];
    let (mut chosen, mut others) = (Vec::new(), Vec::new());
    for row in rows {
        let count = &mut counts[row.class.index()];
        *count += 1;
        if *count <= ROWS_OF_A_CLASS {
            chosen.push(row.clone());
        } else {
            others.push(row);
        }
    }
    (chosen, others)
}

/// What the predictive check compares on a simulated row, nothing but scan and alloy given.
pub(crate) fn predict(
    model: &Model,
    row: &Row,
    samples: usize,
    seed: u64,
) -> Result<Vec<crate::predictive::Predicted>, DesignError> {
    let observation = Observation {
        appearance: row.appearance.clone(),
        ..Observation::new(row.process, row.alloy, row.descriptors.clone())
    };
    let options = SampleOptions { samples, steps: SCORE.steps, seed };
    let posterior = model.posterior(&observation, &options, &mut ())?;
    Question {
        process: row.process,
        alloy: row.alloy,
        spots: row.process.spot_um(),
        descriptors: &row.descriptors,
        draws: &posterior.draws,
        seed,
    }
    .predict()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundled;

    fn bundle() -> (Model, ValidationSet) {
        let model = Model::from_bytes(bundled::MANIFEST, bundled::WEIGHTS).unwrap();
        let (record, rows) = (bundled::VALIDATION, bundled::VALIDATION_ROWS);
        let set = ValidationSet::from_bytes(record, rows, model.digest()).unwrap();
        (model, set)
    }

    #[test]
    fn a_case_scores_the_same_again_and_every_class_is_there() {
        let (model, set) = bundle();
        assert_eq!(set.score(&model, 5).unwrap(), set.score(&model, 5).unwrap());
        assert!(set.score(&model, set.cases()).is_err());
        for class in DefectClass::ALL {
            let count = set.rows().iter().filter(|row| row.class == class).count();
            assert!(count >= 50, "{class:?}: {count}");
        }
        assert!((set.class_shares().iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(bundled::VALIDATION_ROWS.len() + bundled::VALIDATION.len() < 300_000);
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let (model, _) = bundle();
        let read = |record: &[u8], rows: &[u8], digest: &str| {
            ValidationSet::from_bytes(record, rows, digest).unwrap_err()
        };
        let (record, rows) = (bundled::VALIDATION, bundled::VALIDATION_ROWS);
        assert!(read(record, rows, "another").contains("another model"));
        let mut bad = rows.to_vec();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        assert!(read(record, &bad, model.digest()).contains("SHA-256"));
        assert!(read(b"{}", rows, model.digest()).contains("unreadable"));
        let other = String::from_utf8_lossy(record).replace(FORMAT, "microdiff.validation/9");
        assert!(read(other.as_bytes(), rows, model.digest()).contains("another format"));
    }

    /// p-values of every `step`-th case, with the weight of its class, under a change to the row.
    fn p_values(step: usize, change: impl Fn(&mut Row)) -> Vec<(f64, f64)> {
        let (model, set) = bundle();
        let count = |class| set.rows().iter().filter(|row| row.class == class).count() as f64;
        let counts = DefectClass::ALL.map(count);
        let judged = set.rows().iter().enumerate().step_by(step).map(|(index, row)| {
            let mut row = row.clone();
            change(&mut row);
            let predictions = predict(&model, &row, CALIBRATION_DRAWS, 77 + index as u64).unwrap();
            let check = set.calibration().judge(&predictions, CALIBRATION_DRAWS).unwrap();
            let class = row.class.index();
            (check.p_value, set.class_shares()[class] / counts[class])
        });
        judged.collect()
    }

    fn share_below(p_values: &[(f64, f64)], limit: f64) -> f64 {
        let total: f64 = p_values.iter().map(|(_, weight)| weight).sum();
        let below = p_values.iter().filter(|(p, _)| *p <= limit);
        below.map(|(_, weight)| weight).sum::<f64>() / total
    }

    #[test]
    fn p_values_are_about_uniform_on_held_out_scans_and_small_at_a_wrong_voxel_size() {
        let right = p_values(2, |_| {});
        // 200 cases: a Kolmogorov distance of 0.12 is beyond 1 in 100 for equal weights.
        for limit in [0.05, 0.1, 0.25, 0.5, 0.75, 0.9] {
            let share = share_below(&right, limit);
            assert!((share - limit).abs() < 0.13, "{share} at or below {limit}");
        }
        // Every length three times too long, as when the voxel size is given wrongly.
        let wrong = p_values(4, |row| {
            let mut values = *row.descriptors.values();
            for (value, spec) in values.iter_mut().zip(microdiff_domain::descriptor::DESCRIPTORS) {
                if spec.unit == "ln um" && spec.name != "ln_diameter_sd" {
                    *value += 3f64.ln();
                }
            }
            row.descriptors = microdiff_domain::Descriptors::new(values).unwrap();
        });
        let (right, wrong) = (share_below(&right, 0.05), share_below(&wrong, 0.05));
        assert!(wrong > 2.0 * right.max(0.04), "{wrong} flagged against {right}");
    }
}
