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

use crate::catalogue as rows;
use crate::config::QualityConfig;
use crate::engine::{Engine, ValidationFacts};
use drift::DriftWindow;
use handles::Handles;
use microdiff_design::{DesignDocument, SetScore};
use microdiff_domain::descriptor::{DESCRIPTORS, DescriptorSpec};
use microdiff_telemetry::metrics::{Gauge, Registry};
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
    window: Arc<Mutex<DriftWindow>>,
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
        let window = Arc::new(Mutex::new(DriftWindow::new(config.drift_window)));
        show_drift(registry, Arc::clone(engine), Arc::clone(&window));
        Self { engine: Arc::clone(engine), handles, window, latest: Mutex::new(None) }
    }

    /// Takes in an answered design: its own signs, and its descriptors into the window of drift.
    pub(crate) fn record(&self, document: &DesignDocument) {
        self.handles.record(document);
        let Some(reference) = self.engine.reference() else { return };
        let Some(descriptors) = drift::descriptors(document) else { return };
        lock(&self.window).push(reference.normal(&descriptors));
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

/// Shows the drift at each scrape that follows a design: it sorts every descriptor's window, which
/// no design should wait for.
fn show_drift(registry: &Registry, engine: Arc<dyn Engine>, window: Arc<Mutex<DriftWindow>>) {
    let gauge = |spec: &DescriptorSpec| registry.gauge(&rows::DRIFT, &[spec.name]);
    let drift: Vec<Gauge> = DESCRIPTORS.iter().map(gauge).collect();
    let samples = registry.gauge(&rows::DRIFT_WINDOW, &[]);
    registry.on_scrape(move || {
        let mut window = lock(&window);
        if !window.take_change() {
            return;
        }
        samples.set(window.len() as f64);
        let drifts = engine.reference().and_then(|reference| window.drifts(reference));
        for (gauge, drift) in drift.iter().zip(drifts.into_iter().flatten()) {
            gauge.set(drift);
        }
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
