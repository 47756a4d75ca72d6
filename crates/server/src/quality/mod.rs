//! Model quality as a signal: what the evaluator finds on held-out scans, and what every answered
//! design says of itself, as metrics.
//!
//! Held-out scores tell a broken model; they cannot tell that real scans differ from simulated
//! ones. The label-free signs of the designs (predictive check, drift, information gain) tell that
//! inputs or answers have changed, and never that an answer is right (docs/adr/0011).

mod drift;
mod evaluator;
mod handles;

pub(crate) use evaluator::start;
pub(crate) use handles::set_name;

use crate::config::QualityConfig;
use crate::engine::{Engine, ValidationFacts};
use drift::DriftWindow;
use handles::Handles;
use microdiff_design::{DesignDocument, SetScore};
use microdiff_telemetry::metrics::Registry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The last complete scoring of the validation set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LiveEvaluation {
    /// What was scored.
    pub(crate) facts: ValidationFacts,
    /// What was found.
    pub(crate) scores: Vec<SetScore>,
    /// When it ended.
    pub(crate) at: SystemTime,
    /// How long it took, waits for designs included.
    pub(crate) seconds: f64,
}

/// What is known of the model's quality.
pub(crate) struct Quality {
    engine: Arc<dyn Engine>,
    handles: Handles,
    window: Mutex<DriftWindow>,
    latest: Mutex<Option<LiveEvaluation>>,
}

impl Quality {
    /// Resolves the handles and shows what was recorded with the model.
    pub(crate) fn new(
        registry: &Registry,
        engine: &Arc<dyn Engine>,
        config: &QualityConfig,
    ) -> Self {
        let handles = Handles::new(registry, &engine.model().model_type);
        handles.show_bundle(&engine.accuracy());
        if let Ok(facts) = engine.validation() {
            handles.show_validation(&facts);
        }
        Self {
            engine: Arc::clone(engine),
            handles,
            window: Mutex::new(DriftWindow::new(config.drift_window)),
            latest: Mutex::new(None),
        }
    }

    /// Takes in an answered design: its own signs, and its descriptors into the window of drift.
    pub(crate) fn record(&self, document: &DesignDocument) {
        self.handles.record(document);
        let Some(reference) = self.engine.reference() else { return };
        let Some(descriptors) = drift::descriptors(document) else { return };
        let mut window = lock(&self.window);
        window.push(reference.normal(&descriptors));
        self.handles.drift_window.set(window.len() as f64);
        if let Some(drifts) = window.drifts(reference) {
            for (gauge, drift) in self.handles.drift.iter().zip(drifts) {
                gauge.set(drift);
            }
        }
    }

    /// The last complete scoring.
    pub(crate) fn latest(&self) -> Option<LiveEvaluation> {
        lock(&self.latest).clone()
    }

    fn conclude(&self, evaluation: LiveEvaluation) {
        self.handles.show_evaluation(&evaluation);
        *lock(&self.latest) = Some(evaluation);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
