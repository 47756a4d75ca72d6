use std::net::SocketAddr;
use thiserror::Error;

/// Why the service could not start or had to stop. Texts are for the operator.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A setting cannot be used.
    #[error("configuration: {0}")]
    Config(String),
    /// A listener's address cannot be had.
    #[error("cannot listen on {address} ({flag}): {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The data directory cannot be used.
    #[error("data directory {path}: {reason}")]
    DataDir {
        /// The directory.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The job database failed.
    #[error("job database: {0}")]
    Database(#[from] sqlx::Error),
    /// The job database's schema could not be brought up to date.
    #[error("job database schema: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A stored row cannot be understood.
    #[error("job {id} cannot be read: {reason}")]
    Record {
        /// The job.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model cannot be loaded.
    #[error("model: {0}")]
    Model(String),
    /// Telemetry cannot be set up.
    #[error("telemetry: {0}")]
    Telemetry(#[from] microdiff_telemetry::TelemetryError),
    /// A thread, signal handler or socket could not be had from the system.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl ServerError {
    /// Whether the operator's settings are at fault rather than the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, ServerError::Config(_) | ServerError::Bind { .. })
    }
}
