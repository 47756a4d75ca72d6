//! Settings of the log.

use super::within;
use crate::ServerError;
use microdiff_telemetry::TelemetryError;
use microdiff_telemetry::logs::{
    DEFAULT_QUEUE_BYTES, LogFile, LogFormat, LogLevels, LogOptions, LogSchema,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Log lines. SIGHUP reads `level` again and opens the file anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Default level and exceptions by logger: `info,microdiff.imaging=debug`.
    pub level: String,
    /// Keys of the lines: `native`, or `ecs` for the Elastic Common Schema.
    pub schema: LogSchemaName,
    /// Lines on stdout: `json`, or `pretty` for a person. A file always has JSON.
    pub format: LogFormatName,
    /// A rotated file beside stdout, as `logs/microdiff.log`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The file makes way for the next one before it grows beyond this, bytes.
    pub rotate_bytes: u64,
    /// Whether it also does at midnight UTC.
    pub rotate_daily: bool,
    /// Rotated files are removed after so many days.
    pub keep_days: u64,
    /// Lines that wait for the writer may take this many bytes; an eighth is kept for errors.
    pub queue_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        let file = LogFile::new("");
        Self {
            level: "info".into(),
            schema: LogSchemaName::Native,
            format: LogFormatName::Json,
            file: None,
            rotate_bytes: file.max_bytes,
            rotate_daily: file.daily,
            keep_days: file.keep.as_secs() / DAY_SECONDS,
            queue_bytes: DEFAULT_QUEUE_BYTES as u64,
        }
    }
}

const DAY_SECONDS: u64 = 86_400;

/// [`LogSchema`] as it is written in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSchemaName {
    /// The service's own keys.
    Native,
    /// Elastic Common Schema.
    Ecs,
}

impl FromStr for LogSchemaName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let schema = text.parse().map_err(|error: TelemetryError| error.to_string())?;
        Ok(match schema {
            LogSchema::Native => Self::Native,
            LogSchema::Ecs => Self::Ecs,
        })
    }
}

/// [`LogFormat`] as it is written in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormatName {
    /// One JSON object a line.
    Json,
    /// For a person.
    Pretty,
}

impl FromStr for LogFormatName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let format = text.parse().map_err(|error: TelemetryError| error.to_string())?;
        Ok(match format {
            LogFormat::Json => Self::Json,
            LogFormat::Pretty => Self::Pretty,
        })
    }
}

impl LogConfig {
    pub(super) fn check(&self) -> Result<(), ServerError> {
        // One line may have a few fields of 8 KiB each.
        within("log.rotate_bytes", self.rotate_bytes, 64 << 10, 1 << 40)?;
        within("log.keep_days", self.keep_days, 1, 36_500)?;
        within("log.queue_bytes", self.queue_bytes, 64 << 10, 1 << 30)?;
        self.levels().map(drop)
    }

    /// The levels, parsed.
    pub(crate) fn levels(&self) -> Result<LogLevels, ServerError> {
        let fault = |error: TelemetryError| ServerError::Config(format!("log.level: {error}"));
        self.level.parse().map_err(fault)
    }

    /// What the telemetry crate is told.
    pub(crate) fn options(&self) -> Result<LogOptions, ServerError> {
        let file = self.file.as_ref().map(|path| LogFile {
            max_bytes: self.rotate_bytes,
            daily: self.rotate_daily,
            keep: Duration::from_secs(self.keep_days * DAY_SECONDS),
            ..LogFile::new(path)
        });
        Ok(LogOptions {
            levels: self.levels()?,
            schema: match self.schema {
                LogSchemaName::Native => LogSchema::Native,
                LogSchemaName::Ecs => LogSchema::Ecs,
            },
            format: match self.format {
                LogFormatName::Json => LogFormat::Json,
                LogFormatName::Pretty => LogFormat::Pretty,
            },
            file,
            queue_bytes: usize::try_from(self.queue_bytes).unwrap_or(usize::MAX),
            ..LogOptions::default()
        })
    }
}
