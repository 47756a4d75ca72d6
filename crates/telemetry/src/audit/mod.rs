//! Audit: from what a service says was done to hash-chained lines that prove they are whole.
//!
//! Each record is one JSON line with its number, the time, the hash of the record before, an event,
//! fields of the service's own, and the SHA-256 of all that. Lines lie in segments
//! (`audit-000001.jsonl`, a new one by size and by day); `head.json` beside them names the newest
//! and the oldest record that must be there. Together they tell an altered record, a removed line,
//! a removed segment (the first and the newest too), and the torn end that a crash leaves apart:
//! see [`verify()`]. Who can rewrite the whole directory can make a new chain; a head hash kept
//! elsewhere (it is logged with every closed segment and at the end) shows that as well.
//!
//! Records are written and synced by a thread of their own, many with one sync. Nothing is lost in
//! silence: what cannot be written is reported to whoever waits, retried for whoever does not, and
//! counted when it is given up.
//!
//! Deliberately absent: encryption, sending records elsewhere, and any notion of what is recorded.

mod caller;
mod chain;
mod clock;
mod export;
mod record;
mod scan;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::oneshot;

pub use caller::{CallerKey, UserId};
pub use clock::{AuditClock, SystemClock};
pub use export::{ExportFilter, ExportFormat, export};
pub use record::Head;
pub use verify::{Finding, Report, verify};

use crate::{Telemetry, TelemetryError};
use writer::Handle;

/// Where the records lie and for how long.
#[derive(Clone)]
pub struct AuditOptions {
    /// Directory of the segments, which nothing else should use; created if missing.
    pub dir: PathBuf,
    /// A segment that has grown to this many bytes makes way for the next.
    pub segment_bytes: u64,
    /// A segment is removed only when all its records are older than this, both by their own times
    /// and by the time that the service has been running since.
    pub retention: Duration,
    /// Records that may wait to be written.
    pub queue_records: usize,
    /// The time; the system's unless a test has another.
    pub clock: Arc<dyn AuditClock>,
}

impl AuditOptions {
    /// Segments of 64 MiB, kept for a year (of 366 days).
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 << 20,
            retention: Duration::from_secs(366 * 86_400),
            queue_records: 4096,
            clock: Arc::new(SystemClock::default()),
        }
    }
}

/// Why a record is not on the disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// More records wait than may.
    #[error("the queue of audit records is full")]
    Full,
    /// The log has been closed.
    #[error("the audit log is closed")]
    Closed,
    /// The disk refused it.
    #[error("the audit log cannot be written: {0}")]
    Disk(String),
    /// The directory cannot be read.
    #[error("the audit log cannot be read: {0}")]
    Unreadable(String),
}

/// The running audit log. Cheap to clone; the last clone closes it, without waiting for the end.
#[derive(Clone)]
pub struct Audit {
    shared: Arc<Handle>,
}

impl Audit {
    /// Opens the log in its directory, puts right what a crash left, and starts the writer.
    ///
    /// # Errors
    /// When the directory cannot be written, another process writes there, or no thread can be had.
    pub fn start(options: AuditOptions, telemetry: &Telemetry) -> Result<Self, TelemetryError> {
        writer::start(options, telemetry).map(|handle| Self { shared: Arc::new(handle) })
    }

    /// Records an event without waiting. A record that cannot be written is tried again; one that
    /// is given up is counted and logged. The text values of `fields` are scrubbed.
    pub fn record(&self, event: &str, fields: Map<String, Value>) {
        self.shared.push(event, fields, None);
    }

    /// Records an event and returns once it is on the disk. It is not tried again on failure, unless
    /// nobody awaits it any more: then it is as with [`Audit::record`].
    ///
    /// # Errors
    /// When it is not on the disk.
    pub async fn record_durably(
        &self,
        event: &str,
        fields: Map<String, Value>,
    ) -> Result<(), AuditError> {
        let (done, written) = oneshot::channel();
        self.shared.push(event, fields, Some(done));
        written.await.unwrap_or(Err(AuditError::Closed))
    }

    /// Whether the last attempt to write failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.shared.is_failing()
    }

    /// The newest record on the disk, to be kept elsewhere as a proof.
    #[must_use]
    pub fn head(&self) -> Head {
        self.shared.head()
    }

    /// Takes no more records and waits until all are written and the directory is free for another
    /// process; `false` when `deadline` came first.
    pub fn close(&self, deadline: Duration) -> bool {
        self.shared.close(deadline)
    }
}
