//! What the service needs of the thing that answers designs.
//!
//! A trait, so that the service's own behaviour under a slow, failing or panicking engine can be
//! tested; the service itself runs [`microdiff_design::Designer`].

use crate::problem::Failure;
use crate::jobs::JobRequest;
use microdiff_design::{DesignDocument, ModelSummary};
use microdiff_domain::Observer;
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
}
