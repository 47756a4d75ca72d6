//! The service's spans: one table from which the reference is written, and against which a test
//! holds what a collector receives.

use microdiff_telemetry::traces::SpanKind::Internal;
use microdiff_telemetry::traces::catalogue::{AttributeSpec, SpanSpec};
pub(crate) use microdiff_telemetry::traces::catalogue::{ERROR_TYPE, REQUEST_ID};

pub(crate) const JOB_ID: AttributeSpec =
    AttributeSpec::text("job_id", "Id of the design, as in its address.");
pub(crate) const ALLOY: AttributeSpec = AttributeSpec::text("alloy", "Alloy of the part.").of(&[
    "Ti-6Al-4V",
    "316L",
    "IN718",
    "AlSi10Mg",
]);
pub(crate) const ATTEMPT: AttributeSpec = AttributeSpec::count(
    "attempt",
    "attempts",
    "Which attempt this is; above 1 after a process that died at it.",
);
pub(crate) const IMAGE_PATH: AttributeSpec = AttributeSpec::text(
    "image_path",
    "Name of the scan as its submitter declared it; never a path of the host.",
);
pub(crate) const OPERATION: AttributeSpec =
    AttributeSpec::text("operation", "What is done to the scan.").of(&[MICROSTRUCTURE]);
pub(crate) const RESULT_SIZE: AttributeSpec = AttributeSpec::count(
    "result_size",
    "descriptors",
    "Numbers that the scan was reduced to. Only when it was.",
);
pub(crate) const STEPS: AttributeSpec =
    AttributeSpec::count("steps", "steps", "Steps of the sampler for each sample.");
pub(crate) const SAMPLES: AttributeSpec =
    AttributeSpec::count("samples", "samples", "Samples drawn from the posterior.");

/// The value of [`OPERATION`].
pub(crate) const MICROSTRUCTURE: &str = "microstructure_processing";

/// Name of the server span inside which a design is submitted.
const SUBMISSION: &str = "POST /v1/designs";

pub(crate) const DESIGN: SpanSpec = SpanSpec {
    name: "design",
    kind: Internal,
    parents: &[SUBMISSION],
    when: "A worker on a design, from taking it to its recorded end, in the trace of the request \
           that submitted it and often after that has ended. Whether it is kept as failed or slow \
           is decided for it alone.",
    fails: "The design failed, or was handed back to the queue by a drain (`drain`).",
    attributes: &[JOB_ID, REQUEST_ID, ALLOY, ATTEMPT, ERROR_TYPE],
};
pub(crate) const PROCESS: SpanSpec = SpanSpec {
    name: "process_microstructure",
    kind: Internal,
    parents: &[DESIGN.name],
    when: "The scan on its way to descriptors.",
    fails: "With the phase inside it.",
    attributes: &[IMAGE_PATH, OPERATION, RESULT_SIZE],
};
pub(crate) const STORE_SCAN: SpanSpec = SpanSpec {
    name: "store.scan",
    kind: Internal,
    parents: &[SUBMISSION],
    when: "The uploaded scan is made durable.",
    fails: "It could not be.",
    attributes: &[],
};
pub(crate) const STORE_ENQUEUE: SpanSpec = SpanSpec {
    name: "store.enqueue",
    kind: Internal,
    parents: &[SUBMISSION],
    when: "The design is recorded in the database.",
    fails: "It could not be; a full queue is no failure.",
    attributes: &[],
};
pub(crate) const STORE_FINISH: SpanSpec = SpanSpec {
    name: "store.finish",
    kind: Internal,
    parents: &[DESIGN.name],
    when: "The end of the design is recorded, and its scan removed.",
    fails: "It could not be recorded.",
    attributes: &[],
};

const fn phase(
    name: &'static str,
    parent: &'static [&'static str],
    when: &'static str,
    attributes: &'static [AttributeSpec],
) -> SpanSpec {
    let fails = "The design failed, or was handed back, in this phase.";
    SpanSpec { name, kind: Internal, parents: parent, when, fails, attributes }
}

const IN_PROCESS: &[&str] = &[PROCESS.name];
const IN_DESIGN: &[&str] = &[DESIGN.name];

/// Every span of the service; the server span is a row of the telemetry crate.
pub const SPANS: &[SpanSpec] = &[
    STORE_SCAN,
    STORE_ENQUEUE,
    DESIGN,
    PROCESS,
    phase("load", IN_PROCESS, "The scan is read from disk.", &[]),
    phase("preprocess", IN_PROCESS, "It is filtered.", &[]),
    phase("segment", IN_PROCESS, "Part and pores are told apart.", &[]),
    phase("describe", IN_PROCESS, "Pores are measured and reduced to descriptors.", &[]),
    phase("encode", IN_DESIGN, "Descriptors become the model's condition.", &[]),
    phase("sample", IN_DESIGN, "The posterior is drawn.", &[STEPS, SAMPLES]),
    phase("check", IN_DESIGN, "The scan is compared with those of the training.", &[]),
    phase("report", IN_DESIGN, "The answer is put together.", &[]),
    STORE_FINISH,
];

#[cfg(test)]
mod tests {
    use super::*;
    use microdiff_domain::{Alloy, Phase};

    #[test]
    fn every_phase_of_the_engine_and_every_alloy_is_described() {
        for phase in Phase::ALL.into_iter().filter(|phase| *phase != Phase::Queue) {
            assert!(SPANS.iter().any(|span| span.name == phase.name()), "{}", phase.name());
        }
        assert_eq!(ALLOY.values, Alloy::ALL.map(Alloy::name));
    }
}
