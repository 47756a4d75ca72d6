use crate::metrics::Metrics;
use microdiff_domain::{Observer, Phase};
use std::time::Instant;

/// Measures the phases of one job: a histogram observation and a span each. The engine announces,
/// this reads the clock.
pub(super) struct Watch<'a> {
    metrics: &'a Metrics,
    begun: Option<(Phase, Instant)>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(metrics: &'a Metrics) -> Self {
        Self { metrics, begun: None }
    }
}

impl Observer for Watch<'_> {
    fn begin(&mut self, phase: Phase) {
        self.begun = Some((phase, Instant::now()));
    }

    fn end(&mut self, phase: Phase) {
        if let Some((begun, at)) = self.begun.take()
            && begun == phase
        {
            self.metrics.phase(phase).observe(at.elapsed().as_secs_f64());
        }
    }
}
