//! Handles of the quality rows of the catalogue, resolved once.

use super::LiveEvaluation;
use crate::catalogue as rows;
use crate::engine::{Accuracy, ValidationFacts};
use microdiff_design::{DesignDocument, Observable, SetScore};
use microdiff_domain::{DefectClass, PARAMETER_COUNT, Parameter};
use microdiff_telemetry::metrics::{Counter, Gauge, Histogram, MetricSpec, Registry};
use std::time::UNIX_EPOCH;

pub(super) struct Handles {
    registry: Registry,
    model_type: String,
    pub(super) succeeded: Counter,
    pub(super) failed: Counter,
    duration: Gauge,
    predictive_error: [Histogram; Observable::ALL.len()],
    predictive_p: Histogram,
    predictive_flagged: Counter,
    information_gain: [Histogram; PARAMETER_COUNT],
}

impl Handles {
    pub(super) fn new(registry: &Registry, model_type: &str) -> Self {
        let outcome = |outcome| registry.counter(&rows::EVALUATIONS, &[outcome]);
        Self {
            registry: registry.clone(),
            model_type: model_type.to_owned(),
            succeeded: outcome("success"),
            failed: outcome("error"),
            duration: registry.gauge(&rows::EVALUATION_DURATION, &[]),
            predictive_error: Observable::ALL.map(|observable| {
                registry.histogram(&rows::PREDICTIVE_ERROR, &[observable.name()])
            }),
            predictive_p: registry.histogram(&rows::PREDICTIVE_P_VALUE, &[]),
            predictive_flagged: registry.counter(&rows::PREDICTIVE_FLAGGED, &[]),
            information_gain: Parameter::ALL
                .map(|p| registry.histogram(&rows::INFORMATION_GAIN, &[p.name()])),
        }
    }

    /// What the bundle's own evaluation found when the model was made.
    pub(super) fn show_bundle(&self, accuracy: &[Accuracy]) {
        for row in accuracy {
            let labels = [self.model_type.as_str(), row.validation_set.as_str()];
            self.registry.gauge(&rows::ACCURACY_RECORDED, &labels).set(row.skill);
        }
    }

    /// Which validation set there is and what the model scored on it when it was recorded.
    pub(super) fn show_validation(&self, facts: &ValidationFacts) {
        let labels = [facts.digest.as_str(), facts.simulator_version.as_str()];
        self.registry.gauge(&rows::VALIDATION_INFO, &labels).set(1.0);
        for score in &facts.recorded {
            let labels = [self.model_type.as_str(), set_name(score)];
            self.registry.gauge(&rows::ACCURACY_RECORDED, &labels).set(score.skill);
        }
    }

    pub(super) fn show_evaluation(&self, evaluation: &LiveEvaluation) {
        let at = evaluation.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        for score in &evaluation.scores {
            let labels = [self.model_type.as_str(), set_name(score)];
            let gauge = |row: &MetricSpec| self.registry.gauge(row, &labels);
            gauge(&rows::ACCURACY).set(score.skill);
            gauge(&rows::ACCURACY_SAMPLES).set(score.cases as f64);
            gauge(&rows::COVERAGE).set(score.coverage_90);
            gauge(&rows::ACCURACY_TIME).set(at);
        }
        self.duration.set(evaluation.seconds);
        self.succeeded.inc();
    }

    /// The signs of one answered design.
    pub(super) fn record(&self, document: &DesignDocument) {
        let quality = &document.quality;
        for (histogram, parameter) in self.information_gain.iter().zip(Parameter::ALL) {
            if let Some(gain) = quality.information_gain_nats.get(parameter.key()) {
                histogram.observe(*gain);
            }
        }
        let Some(check) = &quality.predictive else { return };
        self.predictive_p.observe(check.p_value);
        if check.flagged {
            self.predictive_flagged.inc();
        }
        for (histogram, observable) in self.predictive_error.iter().zip(Observable::ALL) {
            let found = check.observables.iter().find(|found| found.name == observable);
            if let Some(found) = found {
                histogram.observe(found.discrepancy.abs());
            }
        }
    }
}

/// The name of a set in labels and answers.
pub(crate) fn set_name(score: &SetScore) -> &'static str {
    match score.regime {
        None => "simulated_all",
        Some(DefectClass::Dense) => "simulated_dense",
        Some(DefectClass::LackOfFusion) => "simulated_lack_of_fusion",
        Some(DefectClass::Keyhole) => "simulated_keyhole",
        Some(DefectClass::Balling) => "simulated_balling",
    }
}
