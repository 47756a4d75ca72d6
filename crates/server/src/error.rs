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
    /// The file of the job database was removed or replaced while it was open.
    #[error("job database {path}: the file is not the one that was opened")]
    Displaced {
        /// The file.
        path: String,
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
    /// Whether the job database may well answer later: another process has it locked, every
    /// connection is taken, or its file is not in place.
    #[must_use]
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            ServerError::Displaced { .. } | ServerError::Database(sqlx::Error::PoolTimedOut) => {
                true
            }
            ServerError::Database(error) => matches!(code(error), Some(BUSY | LOCKED | CANTOPEN)),
            _ => false,
        }
    }

    /// Whether another process has the job database locked.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self, ServerError::Database(error) if matches!(code(error), Some(BUSY | LOCKED)))
    }

    /// Whether the operator's settings are at fault rather than the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, ServerError::Config(_) | ServerError::Bind { .. })
    }

    /// Whether a file that the operator named cannot be used.
    #[must_use]
    pub fn is_data(&self) -> bool {
        matches!(self, ServerError::Model(_))
    }
}

/// Result codes of SQLite (sqlite.org/rescode.html).
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const CANTOPEN: u32 = 14;

/// SQLite's primary result code: the low byte of an extended one.
fn code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?.parse::<u32>().ok()?;
    Some(code & 0xff)
}
