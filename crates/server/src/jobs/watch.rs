use crate::metrics::{Metrics, observe};
use crate::store::Job;
use microdiff_domain::{DESCRIPTOR_COUNT, Observer, Phase};
use microdiff_telemetry::traces::{Span, SpanKind, TraceContext, Tracer};
use std::sync::Arc;
use std::time::Instant;

/// Measures the phases of one job: a histogram observation and a span each. The engine announces,
/// this reads the clock.
///
/// Spans: `design` (in the trace of the submitting request) → `process_microstructure` → load to
/// describe; `design` → the phases after that.
pub(super) struct Watch {
    metrics: Arc<Metrics>,
    design: Span,
    microstructure: Option<Span>,
    phase: Option<(Phase, Instant, Span)>,
    image_path: String,
    draws: [usize; 2],
}

impl Watch {
    /// Begins the `design` span of a job.
    pub(super) fn new(metrics: Arc<Metrics>, tracer: &Tracer, job: &Job) -> Self {
        let parent = job.traceparent.as_deref().and_then(TraceContext::parse);
        let mut design = tracer.start("design", SpanKind::Internal, parent);
        design.set("job_id", job.id.to_string());
        design.set("request_id", job.request_id.as_str());
        design.set("alloy", job.request.alloy.name());
        design.set("attempt", job.attempts);
        Self {
            metrics,
            design,
            microstructure: None,
            phase: None,
            image_path: job.scan_name.clone(),
            draws: [job.request.steps, job.request.samples],
        }
    }

    /// Ends the open spans; as failed when there is a reason, which is a bounded code.
    pub(super) fn finish(mut self, failure: Option<&str>) -> Span {
        if let Some(reason) = failure {
            let open = self.phase.iter_mut().map(|(_, _, span)| span);
            for span in open.chain(&mut self.microstructure) {
                span.fail(reason);
            }
            self.design.set("error.type", reason);
            self.design.fail(reason);
        }
        self.design
    }

    fn parent(&mut self, phase: Phase) -> &Span {
        let reading =
            matches!(phase, Phase::Load | Phase::Preprocess | Phase::Segment | Phase::Describe);
        if !reading {
            if let Some(mut span) = self.microstructure.take() {
                // What the microstructure was reduced to: that many numbers.
                span.set("result_size", DESCRIPTOR_COUNT);
            }
            return &self.design;
        }
        self.microstructure.get_or_insert_with(|| {
            let mut span = self.design.child("process_microstructure");
            span.set("image_path", self.image_path.as_str());
            span.set("operation", "microstructure_processing");
            span
        })
    }
}

impl Observer for Watch {
    fn begin(&mut self, phase: Phase) {
        let mut span = self.parent(phase).child(phase.name());
        if phase == Phase::Sample {
            let [steps, samples] = self.draws;
            span.set("steps", steps);
            span.set("samples", samples);
        }
        self.phase = Some((phase, Instant::now(), span));
    }

    fn end(&mut self, phase: Phase) {
        if let Some((begun, at, span)) = self.phase.take()
            && begun == phase
        {
            let context = span.context();
            observe(self.metrics.phase(phase), at.elapsed(), context);
        }
    }
}
