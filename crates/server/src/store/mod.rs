//! What survives a crash: job records in SQLite, scans as files beside them.
//!
//! A job is recorded only after its scan is on disk, and both are durable before anyone is told
//! of it. One process owns a data directory (a lock file says so), so whatever was running when it
//! starts was left by a dead process and goes back to the queue.

mod files;
mod jobs;
mod record;

pub use files::{ScanFiles, ScanWriter};
pub use jobs::JobStore;
pub use record::{Claim, Job, JobId, JobState, NewJob, Outcome};

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
