use crate::metrics::{Metrics, observe};
use crate::spans;
use crate::store::Job;
use microdiff_domain::{DESCRIPTOR_COUNT, Observer, Phase};
use microdiff_telemetry::traces::{Span, SpanKind, TraceContext, Tracer};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Measures the phases of one job: a histogram observation and a span each. The engine announces,
/// this reads the clock.
///
/// Spans: `design` (in the trace of the submitting request) → `process_microstructure` → load to
/// describe; `design` → the phases after that.
pub(super) struct Watch {
    metrics: Arc<Metrics>,
    spans: OpenSpans,
    phase: Option<(Phase, Instant)>,
    image_path: String,
    draws: [usize; 2],
    times: Vec<(&'static str, Duration)>,
}

/// The open spans of one job. Cheap to clone; whoever comes first ends them: the engine's thread, or
/// a drain that no longer waits for it.
#[derive(Clone)]
pub(super) struct OpenSpans(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    design: Option<Span>,
    microstructure: Option<Span>,
    phase: Option<Span>,
}

impl OpenSpans {
    /// Begins the `design` span of a job.
    pub(super) fn begin(tracer: &Tracer, job: &Job) -> Self {
        let parent = job.traceparent.as_deref().and_then(TraceContext::parse);
        let mut design = tracer.start(spans::DESIGN.name, SpanKind::Internal, parent);
        if design.is_recording() {
            design.set(spans::JOB_ID.name, job.id.to_string());
            design.set(spans::REQUEST_ID.name, job.request_id.clone());
            design.set(spans::ALLOY.name, job.request.alloy.name());
            design.set(spans::ATTEMPT.name, job.attempts);
        }
        Self(Arc::new(Mutex::new(Open { design: Some(design), ..Open::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the spans inside the `design` span and hands that over, unless it has been before; as
    /// failed when there is a reason, which is a bounded code.
    pub(super) fn finish(&self, failure: Option<&str>) -> Option<Span> {
        let Open { design, mut microstructure, mut phase } = std::mem::take(&mut *self.lock());
        let mut design = design?;
        if let Some(reason) = failure {
            for span in phase.iter_mut().chain(&mut microstructure) {
                span.fail(reason);
            }
            design.set(spans::ERROR_TYPE.name, reason.to_owned());
            design.fail(reason);
        }
        // The inner first.
        drop(phase);
        drop(microstructure);
        Some(design)
    }
}

impl Open {
    fn begin(&mut self, phase: Phase, image_path: &str, [steps, samples]: [usize; 2]) {
        let Some(design) = &self.design else { return };
        let reading =
            matches!(phase, Phase::Load | Phase::Preprocess | Phase::Segment | Phase::Describe);
        let mut span = if reading {
            let microstructure = self.microstructure.get_or_insert_with(|| {
                let mut span = design.child(spans::PROCESS.name);
                span.set(spans::IMAGE_PATH.name, image_path.to_owned());
                span.set(spans::OPERATION.name, spans::MICROSTRUCTURE);
                span
            });
            microstructure.child(phase.name())
        } else {
            if let Some(mut span) = self.microstructure.take() {
                // What the microstructure was reduced to: that many numbers.
                span.set(spans::RESULT_SIZE.name, DESCRIPTOR_COUNT);
            }
            design.child(phase.name())
        };
        if phase == Phase::Sample {
            span.set(spans::STEPS.name, steps);
            span.set(spans::SAMPLES.name, samples);
        }
        self.phase = Some(span);
    }
}

impl Watch {
    /// Watches a job whose spans are begun.
    pub(super) fn new(metrics: Arc<Metrics>, spans: OpenSpans, job: &Job) -> Self {
        Self {
            metrics,
            spans,
            phase: None,
            image_path: job.scan_name.clone(),
            draws: [job.request.steps, job.request.samples],
            times: Vec::with_capacity(Phase::ALL.len()),
        }
    }

    /// How long each phase took that has ended, in their order.
    pub(super) fn times(&mut self) -> Vec<(&'static str, Duration)> {
        std::mem::take(&mut self.times)
    }

    /// Ends the open spans; see [`OpenSpans::finish`].
    pub(super) fn finish(self, failure: Option<&str>) -> Option<Span> {
        self.spans.finish(failure)
    }
}

impl Observer for Watch {
    fn begin(&mut self, phase: Phase) {
        self.spans.lock().begin(phase, &self.image_path, self.draws);
        self.phase = Some((phase, Instant::now()));
    }

    fn end(&mut self, phase: Phase) {
        let span = self.spans.lock().phase.take();
        let Some((_, at)) = self.phase.take().filter(|(begun, _)| *begun == phase) else { return };
        let took = at.elapsed();
        self.times.push((phase.name(), took));
        let histogram = self.metrics.phase(phase);
        match span {
            Some(span) => observe(histogram, took, span.context()),
            // A drain has ended the spans meanwhile.
            None => histogram.observe(took.as_secs_f64()),
        }
    }
}
