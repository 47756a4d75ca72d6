//! The crate's one error type.

/// What can go wrong while telemetry is set up. Recording never fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// A row of the metric catalogue breaks a rule.
    #[error("metric `{metric}` in the catalogue: {rule}")]
    Catalogue {
        /// The metric's name.
        metric: String,
        /// The broken rule.
        rule: String,
    },
    /// A handle was asked for that the catalogue does not allow.
    #[error("metric `{metric}`: {reason}")]
    Metric {
        /// The metric's name.
        metric: String,
        /// Why it was refused.
        reason: String,
    },
    /// A list of log levels cannot be read.
    #[error("log levels: {reason}; expected a list such as `info,myservice.storage=debug`")]
    LogLevels {
        /// What is wrong, and where.
        reason: String,
    },
    /// A row of the table of log fields breaks a rule.
    #[error("log field `{field}` in the catalogue: {reason}")]
    LogField {
        /// The field's name.
        field: String,
        /// The broken rule.
        reason: String,
    },
    /// A setting of the log has no such value.
    #[error("log {what}: expected {expected}")]
    LogSetting {
        /// The setting.
        what: &'static str,
        /// Its values.
        expected: &'static str,
    },
    /// The log file or its writer cannot be set up.
    #[error("log file: {0}")]
    LogFile(String),
    /// Another subscriber already receives the program's log events.
    #[error("logging is already set up in this process")]
    AlreadyStarted,
    /// A tracing setting cannot be used.
    #[error("{variable}: {reason}")]
    Traces {
        /// The variable or option.
        variable: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// A thread or socket could not be had from the system.
    #[error("{what}: {source}")]
    System {
        /// What was being started.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
}
