use super::within;
use crate::ServerError;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What happens to a submission that cannot be recorded in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditPolicy {
    /// It is refused with 503 `audit_unavailable`.
    Required,
    /// It is accepted; the loss is logged and counted.
    BestEffort,
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// What happens to a submission that cannot be recorded: `required` refuses it, `best_effort`
    /// accepts it.
    pub policy: AuditPolicy,
    /// Directory of the log; `audit` in the data directory when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// File of the 32 bytes that callers are hashed with, made if missing; `caller.key` in the data
    /// directory when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Days that records are kept at least; a year or more.
    pub retention_days: u64,
    /// Bytes after which a new segment begins.
    pub segment_bytes: u64,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            policy: AuditPolicy::Required,
            dir: None,
            key_file: None,
            retention_days: 366,
            segment_bytes: 64 * 1024 * 1024,
        }
    }
}

impl AuditConfig {
    pub(super) fn check(&self) -> Result<(), ServerError> {
        within("audit.retention_days", self.retention_days, 365, 36_500)?;
        within("audit.segment_bytes", self.segment_bytes, 64 * 1024, 1 << 40)
    }

    pub(crate) fn dir(&self, data_dir: &Path) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| data_dir.join("audit"))
    }

    pub(crate) fn key_file(&self, data_dir: &Path) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| data_dir.join("caller.key"))
    }

    pub(crate) fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_days * 86_400)
    }
}
