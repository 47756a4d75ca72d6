//! Every metric this service declares itself, one row each. The telemetry crate adds its own rows
//! (requests, health, logs, spans, process, GPU). Nothing else names a metric.

use crate::config::HealthConfig;
use crate::listen::Role;
use crate::problem::JOB_FAILURES;
use crate::router;
use microdiff_design::DesignError;
use microdiff_domain::DESCRIPTOR_COUNT;
use microdiff_domain::descriptor::DESCRIPTORS;
use microdiff_telemetry::http::UNMATCHED;
use microdiff_telemetry::metrics::{DURATION_BUCKETS, LabelSpec, MetricSpec, Unit};

/// Values of a label that is open to the registry, where the service knows them all beforehand:
/// route templates and health checks. `None` for any other label.
#[must_use]
pub fn known_values(label: &str) -> Option<Vec<&'static str>> {
    match label {
        "endpoint" => {
            let routes = Role::ALL.iter().flat_map(|role| router::endpoints(*role));
            Some(routes.map(|(_, endpoint)| *endpoint).chain([UNMATCHED]).collect())
        }
        "check" => Some(HealthConfig::CHECKS.to_vec()),
        _ => None,
    }
}

/// Prefix of all metrics but the `process_*` ones.
pub const PREFIX: &str = "microdiff";

const MODEL_TYPE: LabelSpec = LabelSpec::closed("model_type", &["conditional_diffusion", "other"]);
const ALLOY: LabelSpec =
    LabelSpec::closed("alloy", &["Ti-6Al-4V", "316L", "IN718", "AlSi10Mg", "other"]);
const PHASE: LabelSpec = LabelSpec::closed(
    "phase",
    &["queue", "load", "preprocess", "segment", "describe", "encode", "sample", "check", "report"],
);
const VALIDATION_SET: LabelSpec = LabelSpec::closed(
    "validation_set",
    &[
        "simulated_all",
        "simulated_dense",
        "simulated_lack_of_fusion",
        "simulated_keyhole",
        "simulated_balling",
    ],
);
const RECORDED_SET: LabelSpec = LabelSpec::closed(
    "validation_set",
    &[
        "simulated_all",
        "simulated_dense",
        "simulated_lack_of_fusion",
        "simulated_keyhole",
        "simulated_balling",
        "bundle_all",
        "bundle_dense",
        "bundle_lack_of_fusion",
        "bundle_keyhole",
        "bundle_balling",
    ],
);

/// The names of the descriptor schema.
const DESCRIPTOR_NAMES: [&str; DESCRIPTOR_COUNT] = {
    let mut names = [""; DESCRIPTOR_COUNT];
    let mut index = 0;
    while index < DESCRIPTOR_COUNT {
        names[index] = DESCRIPTORS[index].name;
        index += 1;
    }
    names
};

/// Why a design may fail: the codes of the service itself, then those of the engine. Each has its
/// series from the start, so that the first failure is an increase.
const JOB_ERROR_TYPES: [&str; JOB_FAILURES.len() + DesignError::CODES.len() + 1] = {
    let mut types = ["other"; JOB_FAILURES.len() + DesignError::CODES.len() + 1];
    let mut index = 0;
    while index < types.len() - 1 {
        types[index] = match index.checked_sub(JOB_FAILURES.len()) {
            Some(code) => DesignError::CODES[code],
            None => JOB_FAILURES[index],
        };
        index += 1;
    }
    types
};

/// An out-of-distribution score is a distance over the distance at which scans are flagged.
const SCORE_BUCKETS: &[f64] = &[0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0];

/// Time of one inference.
pub const INFERENCE_DURATION: MetricSpec = MetricSpec::histogram(
    "microdiff_model_inference_duration_seconds",
    "Time from a worker taking a design to its answer, whether it succeeded or not.",
    DURATION_BUCKETS,
)
.unit(Unit::Seconds)
.labels(&[MODEL_TYPE, ALLOY]);
/// Inferences by how they ended.
pub const INFERENCES: MetricSpec = MetricSpec::counter(
    "microdiff_model_inferences_total",
    "Inferences by alloy and by how they ended.",
)
.labels(&[MODEL_TYPE, ALLOY, LabelSpec::closed("status", &["success", "error"])]);
/// Time of each phase.
pub const PHASE_DURATION: MetricSpec = MetricSpec::histogram(
    "microdiff_phase_duration_seconds",
    "Time of one phase of a design; `queue` is the wait for a worker.",
    DURATION_BUCKETS,
)
.unit(Unit::Seconds)
.labels(&[PHASE]);
/// Skill of the model.
pub const ACCURACY: MetricSpec = MetricSpec::gauge(
    "microdiff_model_accuracy",
    "Skill of the loaded model on held-out simulated scans, as last measured by this process: the \
     mean over the parameters of 1 - CRPS / CRPS of the prior, in (-inf, 1]; 0 is no better than \
     the prior, 1 is perfect.",
)
.labels(&[MODEL_TYPE, VALIDATION_SET])
.absent_until_set();
/// Skill when the model was made.
pub const ACCURACY_RECORDED: MetricSpec = MetricSpec::gauge(
    "microdiff_model_accuracy_recorded",
    "Skill as recorded with the model: simulated_* on the same scans and draws as \
     microdiff_model_accuracy, which should equal it; bundle_* by the larger evaluation of the \
     bundle.",
)
.labels(&[MODEL_TYPE, RECORDED_SET])
.absent_until_set();
/// Cases behind the skill.
pub const ACCURACY_SAMPLES: MetricSpec = MetricSpec::gauge(
    "microdiff_model_accuracy_samples",
    "Number of held-out cases behind microdiff_model_accuracy.",
)
.labels(&[MODEL_TYPE, VALIDATION_SET])
.absent_until_set();
/// When the skill was measured.
pub const ACCURACY_TIME: MetricSpec = MetricSpec::gauge(
    "microdiff_model_accuracy_evaluated_timestamp_seconds",
    "Unix time at which microdiff_model_accuracy was last measured.",
)
.unit(Unit::Seconds)
.labels(&[MODEL_TYPE, VALIDATION_SET])
.absent_until_set();
/// Coverage of the intervals.
pub const COVERAGE: MetricSpec = MetricSpec::gauge(
    "microdiff_model_coverage_90_ratio",
    "Share of held-out cases whose true value lies in the central 90 % interval.",
)
.unit(Unit::Ratio)
.labels(&[MODEL_TYPE, VALIDATION_SET])
.absent_until_set();
/// Which cases the skill is measured on.
pub const VALIDATION_INFO: MetricSpec = MetricSpec::gauge(
    "microdiff_validation_set_info",
    "Always 1; the labels say which held-out cases the model is scored on.",
)
.labels(&[LabelSpec::open("digest"), LabelSpec::open("simulator_version")])
.absent_until_set()
.max_series(8);
/// Scorings by outcome.
pub const EVALUATIONS: MetricSpec = MetricSpec::counter(
    "microdiff_model_evaluations_total",
    "Scorings of the model on its validation set by how they ended.",
)
.labels(&[LabelSpec::closed("status", &["success", "error"])]);
/// Time of the last scoring.
pub const EVALUATION_DURATION: MetricSpec = MetricSpec::gauge(
    "microdiff_model_evaluation_duration_seconds",
    "Time of the last scoring that succeeded, waits for designs included.",
)
.unit(Unit::Seconds)
.absent_until_set();
/// Distance of measurement and prediction.
pub const PREDICTIVE_ERROR: MetricSpec = MetricSpec::histogram(
    "microdiff_posterior_predictive_error",
    "Distance of a measured quantity from what the posterior's draws predict, in predicted \
     standard deviations, before calibration.",
    &[0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0],
)
.labels(&[LabelSpec::closed("observable", &["porosity", "layer_period", "hatch_period"])]);
/// Whether prediction and measurement belong together.
pub const PREDICTIVE_P_VALUE: MetricSpec = MetricSpec::histogram(
    "microdiff_posterior_predictive_p_value",
    "Calibrated p-value of the posterior-predictive check; about uniform for scans like the \
     simulations.",
    &[0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
);
/// Answers that do not predict their scan.
pub const PREDICTIVE_FLAGGED: MetricSpec = MetricSpec::counter(
    "microdiff_posterior_predictive_flagged_total",
    "Answered designs whose posterior does not predict what was measured (p below 0.05).",
);
/// What scans tell.
pub const INFORMATION_GAIN: MetricSpec = MetricSpec::histogram(
    "microdiff_posterior_information_gain_nats",
    "Kullback-Leibler divergence of a parameter's posterior from its prior; 0 says that the scan \
     told nothing. Known parameters are left out.",
    &[0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0],
)
.labels(&[LabelSpec::closed(
    "parameter",
    &["laser_power", "scan_speed", "layer_thickness", "hatch_spacing", "bed_temperature"],
)]);
/// How far inputs have moved.
pub const DRIFT: MetricSpec = MetricSpec::gauge(
    "microdiff_descriptor_drift",
    "1-Wasserstein distance of a descriptor over the last designs from the training scans, in \
     training standard deviations, less what sampling alone gives; from 30 designs on.",
)
.labels(&[LabelSpec::closed("descriptor", &DESCRIPTOR_NAMES)])
.absent_until_set();
/// Designs behind the drift.
pub const DRIFT_WINDOW: MetricSpec = MetricSpec::gauge(
    "microdiff_drift_window_samples",
    "Answered designs in the window of microdiff_descriptor_drift.",
);
/// What model is loaded.
pub const MODEL_INFO: MetricSpec =
    MetricSpec::gauge("microdiff_model_info", "Always 1; the labels say which model is loaded.")
        .labels(&[
            MODEL_TYPE,
            LabelSpec::open("name"),
            LabelSpec::open("digest"),
            LabelSpec::open("simulator_version"),
        ])
        .absent_until_set()
        .max_series(8);
/// Time to load the model.
pub const MODEL_LOAD: MetricSpec = MetricSpec::gauge(
    "microdiff_model_load_duration_seconds",
    "Time it took to load the model at start-up.",
)
.unit(Unit::Seconds)
.absent_until_set();
/// Deviation of the canary.
pub const CANARY_DEVIATION: MetricSpec = MetricSpec::gauge(
    "microdiff_model_canary_deviation",
    "Largest deviation of the last known-answer canary from the recorded answer.",
)
.absent_until_set();
/// Draws made.
pub const SAMPLES_DRAWN: MetricSpec = MetricSpec::counter(
    "microdiff_posterior_samples_total",
    "Posterior samples drawn for answered designs.",
);
/// Strangeness of scans.
pub const OOD_SCORE: MetricSpec = MetricSpec::histogram(
    "microdiff_out_of_distribution_score",
    "Distance of a scan's descriptors from the training scans.",
    SCORE_BUCKETS,
);
/// Scans too strange to trust.
pub const OOD_FLAGGED: MetricSpec = MetricSpec::counter(
    "microdiff_out_of_distribution_total",
    "Answered designs whose scan was flagged as out of distribution.",
);
/// Bytes of scans accepted.
pub const SCAN_BYTES: MetricSpec =
    MetricSpec::counter("microdiff_scan_bytes_total", "Bytes of the scans accepted.")
        .unit(Unit::Bytes);
/// Designs accepted.
pub const SUBMITTED: MetricSpec =
    MetricSpec::counter("microdiff_jobs_submitted_total", "Designs accepted into the queue.");
/// Designs ended.
pub const ENDED: MetricSpec =
    MetricSpec::counter("microdiff_jobs_ended_total", "Designs ended by this process.")
        .labels(&[LabelSpec::closed("state", &["succeeded", "failed"])]);
/// Failures by type.
pub const JOB_ERRORS: MetricSpec =
    MetricSpec::counter("microdiff_job_errors_total", "Designs that failed, by type of error.")
        .labels(&[LabelSpec::closed("error_type", &JOB_ERROR_TYPES)]);
/// Jobs that went back.
pub const REQUEUED: MetricSpec = MetricSpec::counter(
    "microdiff_jobs_requeued_total",
    "Designs put back into the queue: found unfinished at start-up, or handed back while stopping.",
)
.labels(&[LabelSpec::closed("reason", &["restart", "drain"])]);
/// Jobs in each state.
pub const JOBS: MetricSpec = MetricSpec::gauge("microdiff_jobs", "Recorded designs by state.")
    .labels(&[LabelSpec::closed("state", &["queued", "running", "succeeded", "failed"])]);
/// Jobs waiting.
pub const QUEUE_DEPTH: MetricSpec =
    MetricSpec::gauge("microdiff_queue_depth", "Designs waiting for a worker.");
/// Jobs that may wait.
pub const QUEUE_CAPACITY: MetricSpec =
    MetricSpec::gauge("microdiff_queue_capacity", "Designs that may wait for a worker.");
/// Time in the queue.
pub const QUEUE_WAIT: MetricSpec = MetricSpec::histogram(
    "microdiff_queue_wait_seconds",
    "Time from a design's record to a worker taking it.",
    QUEUE_BUCKETS,
)
.unit(Unit::Seconds);
/// A queue may be hours long.
const QUEUE_BUCKETS: &[f64] = &[
    0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
    3600.0, 14_400.0,
];
/// Submissions refused.
pub const REJECTED: MetricSpec = MetricSpec::counter(
    "microdiff_queue_rejections_total",
    "Submissions refused before they were recorded, by reason.",
)
.labels(&[LabelSpec::closed(
    "reason",
    &["queue_full", "uploads_full", "no_room", "draining", "audit_unavailable"],
)]);
/// Workers.
pub const WORKERS: MetricSpec = MetricSpec::gauge("microdiff_workers", "Workers by what they do.")
    .labels(&[LabelSpec::closed("state", &["busy", "total"])]);
/// Room on the disk.
pub const STORAGE_FREE: MetricSpec = MetricSpec::gauge(
    "microdiff_storage_free_bytes",
    "Bytes free in the file system of the data directory.",
)
.unit(Unit::Bytes)
.absent_until_set();
/// Database connections.
pub const DB_CONNECTIONS: MetricSpec =
    MetricSpec::gauge("microdiff_database_connections", "Connections to the job database.")
        .labels(&[LabelSpec::closed("state", &["open", "idle"])]);

const FLIGHT_CLASS: LabelSpec = LabelSpec::closed(
    "class",
    &["failed", "refused", "out_of_distribution", "slow", "request", "abandoned", "normal"],
);
/// Records that the flight recorder took.
pub const FLIGHT_RECORDS: MetricSpec = MetricSpec::counter(
    "microdiff_flight_records_total",
    "Records that the flight recorder took, by class.",
)
.labels(&[FLIGHT_CLASS])
.observed();
/// Records that had to go.
pub const FLIGHT_EVICTIONS: MetricSpec = MetricSpec::counter(
    "microdiff_flight_evictions_total",
    "Records that the flight recorder let go for newer ones of their class.",
)
.labels(&[FLIGHT_CLASS])
.observed();
/// Records held.
pub const FLIGHT_HELD: MetricSpec =
    MetricSpec::gauge("microdiff_flight_held", "Records that the flight recorder holds, by class.")
        .labels(&[FLIGHT_CLASS]);

/// The rows above, in the order of the reference page.
pub static METRICS: &[MetricSpec] = &[
    INFERENCE_DURATION,
    INFERENCES,
    PHASE_DURATION,
    ACCURACY,
    ACCURACY_RECORDED,
    ACCURACY_SAMPLES,
    ACCURACY_TIME,
    COVERAGE,
    VALIDATION_INFO,
    EVALUATIONS,
    EVALUATION_DURATION,
    MODEL_INFO,
    MODEL_LOAD,
    CANARY_DEVIATION,
    SAMPLES_DRAWN,
    OOD_SCORE,
    OOD_FLAGGED,
    PREDICTIVE_ERROR,
    PREDICTIVE_P_VALUE,
    PREDICTIVE_FLAGGED,
    INFORMATION_GAIN,
    DRIFT,
    DRIFT_WINDOW,
    SCAN_BYTES,
    SUBMITTED,
    ENDED,
    JOB_ERRORS,
    REQUEUED,
    JOBS,
    QUEUE_DEPTH,
    QUEUE_CAPACITY,
    QUEUE_WAIT,
    REJECTED,
    WORKERS,
    STORAGE_FREE,
    DB_CONNECTIONS,
    FLIGHT_RECORDS,
    FLIGHT_EVICTIONS,
    FLIGHT_HELD,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flight::CLASSES;
    use microdiff_design::Observable;
    use microdiff_domain::{Alloy, Parameter, Phase};
    use microdiff_telemetry::metrics::{LabelValues, Registry};

    fn values(label: LabelSpec) -> &'static [&'static str] {
        match label.values {
            LabelValues::Closed(values) => values,
            LabelValues::Open => &[],
        }
    }

    #[test]
    fn the_table_passes_the_rules_of_the_registry() {
        Registry::new(PREFIX, METRICS).unwrap();
    }

    #[test]
    fn labels_list_what_the_domain_knows() {
        assert!(values(ALLOY).iter().take(4).eq(Alloy::ALL.map(Alloy::name).iter()));
        assert!(values(PHASE).iter().eq(Phase::ALL.map(Phase::name).iter()));
        let of = |spec: &MetricSpec| values(spec.labels[0]).to_vec();
        assert_eq!(of(&PREDICTIVE_ERROR), Observable::ALL.map(Observable::name));
        assert_eq!(of(&INFORMATION_GAIN), Parameter::ALL.map(Parameter::name));
        let errors = of(&JOB_ERRORS);
        assert!(JOB_FAILURES.iter().chain(&DesignError::CODES).all(|code| errors.contains(code)));
        assert!(values(FLIGHT_CLASS).iter().eq(CLASSES.iter().map(|class| &class.name)));
    }
}
