use microdiff_domain::{Observer, Phase};
use std::collections::BTreeMap;
use std::time::Instant;

/// Times phases and passes them on to another observer.
pub(crate) struct Stopwatch<'a> {
    next: &'a mut dyn Observer,
    start: Instant,
    began: Option<(Phase, Instant)>,
    milliseconds: BTreeMap<String, f64>,
}

impl<'a> Stopwatch<'a> {
    pub(crate) fn start(next: &'a mut dyn Observer) -> Self {
        Self { next, start: Instant::now(), began: None, milliseconds: BTreeMap::new() }
    }

    /// Milliseconds by phase, and `total`.
    pub(crate) fn stop(mut self) -> BTreeMap<String, f64> {
        let total = self.start.elapsed().as_secs_f64() * 1e3;
        self.milliseconds.insert("total".to_owned(), total);
        self.milliseconds
    }
}

impl Observer for Stopwatch<'_> {
    fn begin(&mut self, phase: Phase) {
        self.began = Some((phase, Instant::now()));
        self.next.begin(phase);
    }

    fn end(&mut self, phase: Phase) {
        if let Some((began, at)) = self.began.take()
            && began == phase
        {
            *self.milliseconds.entry(phase.name().to_owned()).or_default() +=
                at.elapsed().as_secs_f64() * 1e3;
        }
        self.next.end(phase);
    }
}
