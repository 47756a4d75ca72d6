//! Every log field and logger that this service declares itself, one row each. The telemetry crate
//! adds its own rows (moment, level, ids, access lines, health). A line with another field fails
//! the tests.

use crate::catalogue::PREFIX;
use microdiff_telemetry::TelemetryError;
use microdiff_telemetry::logs::{LogCatalogue, LogField};

const INFERENCE: &str = "summary lines of inferences";
const JOB: &str = "lines about a job";
const EVALUATION: &str = "the line `Model evaluated`";
const START: &str = "the line `serving`";

/// The service's own fields.
pub static LOG_FIELDS: &[LogField] = &[
    LogField::text("job_id", "The design job.").when(JOB),
    LogField::text("model_type", "The kind of model.").when(INFERENCE),
    LogField::text("alloy", "The alloy that the request names.").when(INFERENCE),
    LogField::number("porosity", "Share of the part that is pores.")
        .unit("ratio")
        .when("`Scan measured`, at `debug`"),
    LogField::integer("pores", "Number of pores found.").when("`Scan measured`, at `debug`"),
    LogField::integer("samples", "Draws of the posterior.").when("`Posterior drawn`, at `debug`"),
    LogField::integer("steps", "Steps of the sampler.").when("`Posterior drawn`, at `debug`"),
    LogField::number(
        "out_of_distribution",
        "Distance of the scan from the training data over the distance that is flagged.",
    )
    .when("`Posterior drawn`, at `debug`"),
    LogField::integer("attempts", "How often the job was tried.")
        .when("the line about a job that is given up"),
    LogField::text("levels", "The log levels in force.").when("lines about a change of levels"),
    LogField::text("api", "The address of the API.").when(START),
    LogField::text("metrics", "The address of `/metrics`.").when(START),
    LogField::integer("jobs", "Unfinished jobs that the last process left.")
        .when("the line about them, at the start"),
    LogField::integer("deadline_seconds", "Time that the drain may take.")
        .unit("s")
        .when("the line `draining`"),
    LogField::text("validation_set", "Digest of the held-out cases.").when(EVALUATION),
    LogField::integer("cases", "Held-out cases that the model was scored on.").when(EVALUATION),
    LogField::number("skill", "Skill over the prior: 0 is no better, 1 is perfect.")
        .when(EVALUATION),
    LogField::number("coverage_90", "Share of the cases whose truth the 90 % interval holds.")
        .unit("ratio")
        .when(EVALUATION),
    LogField::text("flight_file", "The file of the flight recorder.")
        .when("the line about it, at a stop or panic"),
];

/// A logger of the service.
#[derive(Debug, Clone, Copy)]
pub struct Logger {
    /// What it is called in lines and levels.
    pub name: &'static str,
    /// The crate or module path whose events it shows.
    pub target: &'static str,
    /// What it speaks of.
    pub meaning: &'static str,
}

const fn logger(name: &'static str, target: &'static str, meaning: &'static str) -> Logger {
    Logger { name, target, meaning }
}

/// Every logger; the longest matching target decides.
pub const LOGGERS: &[Logger] = &[
    logger("microdiff", "microdiff_server", "start, stop, settings, and whatever has no other"),
    logger("microdiff.store", "microdiff_server::store", "the data directory and the database"),
    logger("microdiff.jobs", "microdiff_server::jobs", "the queue and its workers"),
    logger("microdiff.models", "microdiff_models", "one summary line for each inference"),
    logger("microdiff.imaging", "microdiff_imaging", "what was measured in a scan"),
    logger("microdiff.optimization", "microdiff_optimization", "the draws of the posterior"),
    logger("microdiff.telemetry", "microdiff_telemetry", "telemetry itself, and panics"),
    logger("microdiff.http", "microdiff_telemetry::http", "one access line for each request"),
    logger("microdiff.health", "microdiff_telemetry::health", "health checks that turn"),
    logger("microdiff.gpu", "microdiff_telemetry::gpu", "GPUs that come, go and fail"),
];

/// All fields that a line of this service may have, those of the telemetry crate included.
///
/// # Errors
/// When a row above breaks a rule of the table.
pub fn log_catalogue() -> Result<LogCatalogue, TelemetryError> {
    LogCatalogue::new(PREFIX, LOG_FIELDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_keep_the_rules() {
        let catalogue = log_catalogue().unwrap();
        assert!(catalogue.fields().len() > LOG_FIELDS.len());
    }
}
