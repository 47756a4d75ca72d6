//! How numeric code tells what it is doing without knowing who listens: it announces phases, the
//! caller's observer reads the clock.

/// The phases of turning a scan into a posterior. Names are the `phase` label of the telemetry
/// contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Waiting for a worker.
    Queue,
    /// Reading and decoding the scan.
    Load,
    /// Denoising and normalising grey values.
    Preprocess,
    /// Thresholding and labelling pores.
    Segment,
    /// Measuring pores and building descriptors.
    Describe,
    /// Normalising descriptors and metadata into the model's condition.
    Encode,
    /// Drawing from the posterior.
    Sample,
    /// Out-of-distribution and sanity checks.
    Check,
    /// Assembling the answer.
    Report,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Phase; 9] = [
        Phase::Queue,
        Phase::Load,
        Phase::Preprocess,
        Phase::Segment,
        Phase::Describe,
        Phase::Encode,
        Phase::Sample,
        Phase::Check,
        Phase::Report,
    ];

    /// Position in [`Phase::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Name as in metrics, spans and timings.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Queue => "queue",
            Phase::Load => "load",
            Phase::Preprocess => "preprocess",
            Phase::Segment => "segment",
            Phase::Describe => "describe",
            Phase::Encode => "encode",
            Phase::Sample => "sample",
            Phase::Check => "check",
            Phase::Report => "report",
        }
    }
}

/// Hears about phases as they begin and end. Phases do not overlap; a phase left by an error has
/// a beginning and no end.
pub trait Observer {
    /// The phase begins.
    fn begin(&mut self, phase: Phase);
    /// The phase ended normally.
    fn end(&mut self, phase: Phase);
}

/// Hears nothing.
impl Observer for () {
    fn begin(&mut self, _: Phase) {}
    fn end(&mut self, _: Phase) {}
}
