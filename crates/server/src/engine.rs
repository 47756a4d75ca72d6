//! What the service needs of the thing that answers designs.
//!
//! A trait, so that the service's own behaviour under a slow, failing or panicking engine can be
//! tested; the service itself runs [`microdiff_design::Designer`].

use crate::jobs::JobRequest;
use crate::problem::{Failure, FailureKind};
use microdiff_design::{
    CaseScore, DescriptorReference, DesignDocument, DesignError, Designer, ErrorKind, ModelSummary,
    SetScore,
};
use microdiff_domain::{Alloy, DefectClass, Observer, Process};
use std::collections::BTreeMap;
use std::path::Path;

/// How good the model was found to be on one set of held-out cases.
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    /// Name of the set.
    pub validation_set: String,
    /// Skill over the prior: 0 no better than the prior, 1 perfect.
    pub skill: f64,
    /// Number of cases.
    pub samples: u64,
    /// Share of cases whose true value lay in the central 90 % interval.
    pub coverage_90: f64,
}

/// What is known of the held-out scans that travel with the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidationFacts {
    /// SHA-256 of the cases, hexadecimal: the name of the set.
    pub digest: String,
    /// Version of the simulator that made them.
    pub simulator_version: String,
    /// Number of cases.
    pub cases: usize,
    /// Posterior draws for each case.
    pub samples: usize,
    /// Share of each class among simulations, in the order of [`DefectClass::ALL`].
    pub class_shares: [f64; DefectClass::ALL.len()],
    /// What the model scored when it was recorded.
    pub recorded: Vec<SetScore>,
}

/// Result of the known-answer canary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Canary {
    /// Whether the answer is the recorded one within tolerance.
    pub matched: bool,
    /// Largest deviation from it, in units of the tolerance's scale.
    pub deviation: f64,
}

/// An engine's refusal, with the part the log alone may see.
#[derive(Debug, Clone)]
pub struct EngineFailure {
    /// What the submitter reads.
    pub public: Failure,
    /// What the log says.
    pub internal: String,
}

/// Answers designs.
pub trait Engine: Send + Sync + 'static {
    /// The loaded model.
    fn model(&self) -> ModelSummary;
    /// The processes and alloys that the model was trained on, and can be asked about.
    fn pairs(&self) -> Vec<(Process, Alloy)>;
    /// The recorded evaluation of the model.
    fn accuracy(&self) -> Vec<Accuracy>;
    /// Answers one request; `scan` is a readable file.
    ///
    /// # Errors
    /// When the scan or the request cannot be used, or the engine is at fault.
    fn design(
        &self,
        scan: &Path,
        request: &JobRequest,
        observer: &mut dyn Observer,
    ) -> Result<DesignDocument, EngineFailure>;
    /// Runs the known-answer canary.
    ///
    /// # Errors
    /// When it could not be run.
    fn canary(&self) -> Result<Canary, EngineFailure>;
    /// The held-out cases that the model can be scored on while it serves.
    ///
    /// # Errors
    /// When there are none.
    fn validation(&self) -> Result<ValidationFacts, EngineFailure> {
        Err(failed(&DesignError::Validation("this engine has none".to_owned())))
    }
    /// Scores one of them. The same case gives the same score.
    ///
    /// # Errors
    /// When it could not be scored.
    fn score(&self, case: usize) -> Result<CaseScore, EngineFailure> {
        Err(failed(&DesignError::NoRow { index: case }))
    }
    /// The distribution of each descriptor over training scans; without one no drift is measured.
    fn reference(&self) -> Option<&DescriptorReference> {
        None
    }
    /// SHA-256 of a scan, as an answer's document would have it; `None` when it cannot be read.
    fn scan_sha256(&self, scan: &Path) -> Option<String> {
        microdiff_design::scan_sha256(scan).ok()
    }
}

impl Engine for Designer {
    fn model(&self) -> ModelSummary {
        Designer::model(self)
    }

    fn pairs(&self) -> Vec<(Process, Alloy)> {
        self.manifest().pairs().collect()
    }

    fn accuracy(&self) -> Vec<Accuracy> {
        let Some(evaluation) = self.evaluation() else { return Vec::new() };
        let mut sets: BTreeMap<String, Vec<[f64; 3]>> = BTreeMap::new();
        for row in &evaluation.marginals {
            // Only the question as it is asked by default: nothing given.
            if row.given.is_empty() {
                let figures = [row.skill, row.coverage_90, row.rows as f64];
                sets.entry(format!("bundle_{}", row.regime)).or_default().push(figures);
            }
        }
        sets.into_iter().map(|(set, rows)| average(set, &rows)).collect()
    }

    fn design(
        &self,
        scan: &Path,
        request: &JobRequest,
        observer: &mut dyn Observer,
    ) -> Result<DesignDocument, EngineFailure> {
        let asked = request.question().map_err(|error| failed(&error.into()))?;
        let design = Designer::design(self, scan, &asked, observer);
        design.map(|design| design.document).map_err(|error| failed(&error))
    }

    fn canary(&self) -> Result<Canary, EngineFailure> {
        let report = Designer::canary(self).map_err(|error| failed(&error))?;
        Ok(Canary { matched: report.matched, deviation: report.difference })
    }

    fn validation(&self) -> Result<ValidationFacts, EngineFailure> {
        let set = Designer::validation(self).map_err(|error| failed(&error))?;
        Ok(ValidationFacts {
            digest: set.digest().to_owned(),
            simulator_version: set.simulator_version().to_owned(),
            cases: set.cases(),
            samples: set.samples(),
            class_shares: set.class_shares(),
            recorded: set.recorded().to_vec(),
        })
    }

    fn score(&self, case: usize) -> Result<CaseScore, EngineFailure> {
        Designer::score(self, case).map_err(|error| failed(&error))
    }

    fn reference(&self) -> Option<&DescriptorReference> {
        Some(Designer::reference(self))
    }
}

/// The mean over the parameters of one set; each parameter was evaluated on the same cases.
fn average(validation_set: String, rows: &[[f64; 3]]) -> Accuracy {
    let count = rows.len().max(1) as f64;
    let mean = |i: usize| rows.iter().map(|row| row[i]).sum::<f64>() / count;
    let samples = rows.first().map_or(0, |row| row[2] as u64);
    Accuracy { validation_set, skill: mean(0), coverage_90: mean(1), samples }
}

fn failed(error: &DesignError) -> EngineFailure {
    let kind = match error.kind() {
        ErrorKind::Usage => FailureKind::Usage,
        ErrorKind::Data => FailureKind::Data,
        ErrorKind::Internal => FailureKind::Internal,
    };
    let detail = error.to_string();
    EngineFailure {
        public: Failure { kind, code: error.code().into(), detail: detail.clone() },
        internal: detail,
    }
}
