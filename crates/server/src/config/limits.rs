use super::within;
use crate::ServerError;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a client may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    /// Largest request body, bytes. The default holds a 1024³ scan of 16 bits.
    pub body_bytes: u64,
    /// Uploads received at the same time; one more is told to come back.
    pub uploads: usize,
    /// Connections of the API listener; more wait in the kernel's backlog.
    pub connections: usize,
    /// Seconds in which the head of a request must arrive.
    pub header_read_seconds: u64,
    /// Longest pause between two pieces of a body, seconds.
    pub body_idle_seconds: u64,
    /// Seconds in which a whole body must arrive.
    pub body_total_seconds: u64,
    /// Seconds in which a request that uploads nothing and does not wait must be answered.
    pub request_seconds: u64,
    /// Longest `?wait=`, seconds.
    pub wait_seconds: u64,
    /// Free bytes that must remain in the data directory after an upload.
    pub free_bytes: u64,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            body_bytes: 2 * 1024 * 1024 * 1024 + 1024 * 1024,
            uploads: 4,
            connections: 1024,
            header_read_seconds: 10,
            body_idle_seconds: 30,
            body_total_seconds: 900,
            request_seconds: 15,
            wait_seconds: 120,
            free_bytes: 512 * 1024 * 1024,
        }
    }
}

impl LimitConfig {
    pub(super) fn check(&self) -> Result<(), ServerError> {
        within("limits.body_bytes", self.body_bytes, 1024, 1 << 40)?;
        within("limits.uploads", self.uploads as u64, 1, 1024)?;
        within("limits.connections", self.connections as u64, 8, 65_536)?;
        within("limits.header_read_seconds", self.header_read_seconds, 1, 300)?;
        within("limits.body_idle_seconds", self.body_idle_seconds, 1, 3600)?;
        within("limits.body_total_seconds", self.body_total_seconds, 1, 86_400)?;
        within("limits.request_seconds", self.request_seconds, 1, 3600)?;
        within("limits.wait_seconds", self.wait_seconds, 0, 3600)?;
        within("limits.free_bytes", self.free_bytes, 0, 1 << 50)
    }

    pub(crate) fn header_read(&self) -> Duration {
        Duration::from_secs(self.header_read_seconds)
    }

    pub(crate) fn body_idle(&self) -> Duration {
        Duration::from_secs(self.body_idle_seconds)
    }

    pub(crate) fn body_total(&self) -> Duration {
        Duration::from_secs(self.body_total_seconds)
    }

    pub(crate) fn request(&self) -> Duration {
        Duration::from_secs(self.request_seconds)
    }
}

/// How jobs are queued and run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobConfig {
    /// Jobs run at the same time. The engine uses every core for one job, so 1 is usually right.
    pub workers: usize,
    /// Jobs that may wait; one more is refused with 429.
    pub queue_length: usize,
    /// Seconds a worker owns a job without renewing.
    pub lease_seconds: u64,
    /// Times a job is begun before it is given up: a scan that kills the process must not do so
    /// for ever.
    pub attempts: u32,
    /// Whether scans stay in the data directory after their job has ended.
    pub keep_scans: bool,
    /// Days after which the record of an ended job is removed; 0 keeps it.
    pub retention_days: u64,
}

impl Default for JobConfig {
    fn default() -> Self {
        Self {
            workers: 1,
            queue_length: 64,
            lease_seconds: 30,
            attempts: 3,
            keep_scans: false,
            retention_days: 30,
        }
    }
}

impl JobConfig {
    pub(super) fn check(&self) -> Result<(), ServerError> {
        within("jobs.workers", self.workers as u64, 1, 64)?;
        within("jobs.queue_length", self.queue_length as u64, 1, 100_000)?;
        within("jobs.lease_seconds", self.lease_seconds, 3, 3600)?;
        within("jobs.attempts", u64::from(self.attempts), 1, 100)?;
        within("jobs.retention_days", self.retention_days, 0, 36_500)
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }
}
