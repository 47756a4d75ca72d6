//! Handles of the catalogue's rows, resolved once.

use crate::catalogue as rows;
use crate::engine::Engine;
use crate::store::JobState;
use microdiff_domain::{Alloy, Phase};
use microdiff_telemetry::metrics::{Counter, Gauge, Histogram, Registry};
use microdiff_telemetry::traces::TraceContext;
use std::time::{Duration, SystemTime};

/// Every handle the service records through.
pub(crate) struct Metrics {
    registry: Registry,
    model_type: String,
    inference: [AlloyMetrics; Alloy::ALL.len()],
    phases: [Histogram; Phase::ALL.len()],
    jobs: [Gauge; JobState::ALL.len()],
    pub(crate) samples: Counter,
    pub(crate) ood_score: Histogram,
    pub(crate) ood_flagged: Counter,
    pub(crate) scan_bytes: Counter,
    pub(crate) submitted: Counter,
    pub(crate) succeeded: Counter,
    pub(crate) failed: Counter,
    pub(crate) requeued_restart: Counter,
    pub(crate) requeued_drain: Counter,
    pub(crate) queue_depth: Gauge,
    pub(crate) queue_wait: Histogram,
    pub(crate) rejected_queue: Counter,
    pub(crate) rejected_uploads: Counter,
    pub(crate) rejected_room: Counter,
    pub(crate) rejected_draining: Counter,
    pub(crate) rejected_audit: Counter,
    pub(crate) busy: Gauge,
    pub(crate) free_bytes: Gauge,
    pub(crate) connections_open: Gauge,
    pub(crate) connections_idle: Gauge,
    pub(crate) canary_deviation: Gauge,
}

/// The handles of one alloy.
pub(crate) struct AlloyMetrics {
    pub(crate) duration: Histogram,
    pub(crate) success: Counter,
    pub(crate) error: Counter,
}

/// Records a duration, with an exemplar when the trace is recorded.
pub(crate) fn observe(histogram: &Histogram, took: Duration, context: TraceContext) {
    if context.sampled {
        histogram.observe_traced(took.as_secs_f64(), context.trace_id, SystemTime::now());
    } else {
        histogram.observe(took.as_secs_f64());
    }
}

/// What is known once at start-up.
pub(crate) struct StartFigures {
    pub(crate) model_load: Duration,
    pub(crate) queue_capacity: usize,
    pub(crate) workers: usize,
}

impl Metrics {
    /// Resolves the handles and sets what does not change.
    pub(crate) fn new(registry: &Registry, engine: &dyn Engine, start: &StartFigures) -> Self {
        let model = engine.model();
        let model_type = model.model_type.as_str();
        let rejected = |reason| registry.counter(&rows::REJECTED, &[reason]);
        let inference = Alloy::ALL.map(|alloy| AlloyMetrics {
            duration: registry.histogram(&rows::INFERENCE_DURATION, &[model_type, alloy.name()]),
            success: registry.counter(&rows::INFERENCES, &[model_type, alloy.name(), "success"]),
            error: registry.counter(&rows::INFERENCES, &[model_type, alloy.name(), "error"]),
        });
        let metrics = Self {
            registry: registry.clone(),
            inference,
            phases: Phase::ALL
                .map(|phase| registry.histogram(&rows::PHASE_DURATION, &[phase.name()])),
            jobs: JobState::ALL.map(|state| registry.gauge(&rows::JOBS, &[state.name()])),
            samples: registry.counter(&rows::SAMPLES_DRAWN, &[]),
            ood_score: registry.histogram(&rows::OOD_SCORE, &[]),
            ood_flagged: registry.counter(&rows::OOD_FLAGGED, &[]),
            scan_bytes: registry.counter(&rows::SCAN_BYTES, &[]),
            submitted: registry.counter(&rows::SUBMITTED, &[]),
            succeeded: registry.counter(&rows::ENDED, &["succeeded"]),
            failed: registry.counter(&rows::ENDED, &["failed"]),
            requeued_restart: registry.counter(&rows::REQUEUED, &["restart"]),
            requeued_drain: registry.counter(&rows::REQUEUED, &["drain"]),
            queue_depth: registry.gauge(&rows::QUEUE_DEPTH, &[]),
            queue_wait: registry.histogram(&rows::QUEUE_WAIT, &[]),
            rejected_queue: rejected("queue_full"),
            rejected_uploads: rejected("uploads_full"),
            rejected_room: rejected("no_room"),
            rejected_draining: rejected("draining"),
            rejected_audit: rejected("audit_unavailable"),
            busy: registry.gauge(&rows::WORKERS, &["busy"]),
            free_bytes: registry.gauge(&rows::STORAGE_FREE, &[]),
            connections_open: registry.gauge(&rows::DB_CONNECTIONS, &["open"]),
            connections_idle: registry.gauge(&rows::DB_CONNECTIONS, &["idle"]),
            canary_deviation: registry.gauge(&rows::CANARY_DEVIATION, &[]),
            model_type: model.model_type.clone(),
        };
        registry.gauge(&rows::MODEL_LOAD, &[]).set(start.model_load.as_secs_f64());
        registry.gauge(&rows::QUEUE_CAPACITY, &[]).set(start.queue_capacity as f64);
        registry.gauge(&rows::WORKERS, &["total"]).set(start.workers as f64);
        let labels =
            [model_type, model.name.as_str(), &model.digest, model.simulator_version.as_str()];
        registry.gauge(&rows::MODEL_INFO, &labels).set(1.0);
        metrics
    }

    /// Kind of the loaded model, as in labels and log lines.
    pub(crate) fn model_type(&self) -> &str {
        &self.model_type
    }

    pub(crate) fn inference(&self, alloy: Alloy) -> &AlloyMetrics {
        &self.inference[alloy.index()]
    }

    pub(crate) fn phase(&self, phase: Phase) -> &Histogram {
        &self.phases[phase.index()]
    }

    /// Counts a failed job by its error's code. The codes are a closed set of the engine's.
    pub(crate) fn job_error(&self, code: &str) {
        self.registry.counter(&rows::JOB_ERRORS, &[code]).inc();
    }

    /// Shows how many jobs are in each state.
    pub(crate) fn set_jobs(&self, counts: [u64; JobState::ALL.len()]) {
        for (gauge, count) in self.jobs.iter().zip(counts) {
            gauge.set(count as f64);
        }
        self.queue_depth.set(counts[JobState::Queued as usize] as f64);
    }
}
