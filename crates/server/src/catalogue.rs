//! Every metric this service declares itself, one row each. The telemetry crate adds its own rows
//! (requests, health, logs, spans, process, GPU). Nothing else names a metric.

use microdiff_telemetry::metrics::{DURATION_BUCKETS, LabelSpec, MetricSpec, Unit};

/// Prefix of all metrics but the `process_*` ones.
pub const PREFIX: &str = "microdiff";

const MODEL_TYPE: LabelSpec = LabelSpec::closed("model_type", &["conditional_diffusion", "other"]);
const ALLOY: LabelSpec =
    LabelSpec::closed("alloy", &["Ti-6Al-4V", "316L", "IN718", "AlSi10Mg", "other"]);
const PHASE: LabelSpec = LabelSpec::closed(
    "phase",
    &["queue", "load", "preprocess", "segment", "describe", "encode", "sample", "check", "report"],
);
const VALIDATION_SET: LabelSpec = LabelSpec::open("validation_set");

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
    "Skill of the model over the prior on a held-out set, as recorded in the bundle: 0 is no \
     better than the prior, 1 is perfect.",
)
.labels(&[MODEL_TYPE, VALIDATION_SET])
.absent_until_set()
.max_series(64);
/// Cases behind the skill.
pub const ACCURACY_SAMPLES: MetricSpec = MetricSpec::gauge(
    "microdiff_model_accuracy_samples",
    "Number of held-out cases behind microdiff_model_accuracy.",
)
.labels(&[MODEL_TYPE, VALIDATION_SET])
.absent_until_set()
.max_series(64);
/// Coverage of the intervals.
pub const COVERAGE: MetricSpec = MetricSpec::gauge(
    "microdiff_model_coverage_90_ratio",
    "Share of held-out cases whose true value lies in the central 90 % interval.",
)
.unit(Unit::Ratio)
.labels(&[MODEL_TYPE, VALIDATION_SET])
.absent_until_set()
.max_series(64);
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
        .labels(&[LabelSpec::open("error_type")])
        .max_series(64);
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

/// The rows above, in the order of the reference page.
pub static METRICS: &[MetricSpec] = &[
    INFERENCE_DURATION,
    INFERENCES,
    PHASE_DURATION,
    ACCURACY,
    ACCURACY_SAMPLES,
    COVERAGE,
    MODEL_INFO,
    MODEL_LOAD,
    CANARY_DEVIATION,
    SAMPLES_DRAWN,
    OOD_SCORE,
    OOD_FLAGGED,
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
];

#[cfg(test)]
mod tests {
    use super::*;
    use microdiff_domain::{Alloy, Phase};
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
    }
}
