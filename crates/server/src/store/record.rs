use crate::jobs::JobRequest;
use crate::problem::Failure;
use serde::Serialize;
use std::fmt;
use uuid::Uuid;

/// Identifies a job: 128 bits, sorted by time of creation (RFC 9562, version 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(Uuid);

impl JobId {
    /// A fresh one.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// Reads the text form; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 36).then(|| Uuid::try_parse(text).ok().map(Self)).flatten()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Recorded, waiting for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Ended with an answer.
    Succeeded,
    /// Ended without.
    Failed,
}

impl JobState {
    /// Every state.
    pub const ALL: [JobState; 4] =
        [JobState::Queued, JobState::Running, JobState::Succeeded, JobState::Failed];

    /// Name as in JSON, in the database and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Succeeded => "succeeded",
            JobState::Failed => "failed",
        }
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, JobState::Succeeded | JobState::Failed)
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A job to be recorded.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its identity.
    pub id: JobId,
    /// What was asked beside the scan.
    pub request: JobRequest,
    /// File name of the stored scan.
    pub scan: String,
    /// Size of the scan.
    pub scan_bytes: u64,
    /// Cleaned name the client gave it.
    pub scan_name: String,
    /// Identity of the submitting request.
    pub request_id: String,
    /// W3C trace context of the submitting request.
    pub traceparent: Option<String>,
    /// Keyed hash of whoever submitted it.
    pub caller: String,
}

/// A recorded job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its identity.
    pub id: JobId,
    /// When it was recorded, ms since 1970.
    pub created_ms: i64,
    /// When its record last changed, ms since 1970.
    pub updated_ms: i64,
    /// Where it stands.
    pub state: JobState,
    /// What was asked beside the scan.
    pub request: JobRequest,
    /// File name of the stored scan.
    pub scan: String,
    /// Size of the scan.
    pub scan_bytes: u64,
    /// Cleaned name the client gave it.
    pub scan_name: String,
    /// The answer document as JSON text, when it succeeded.
    pub result: Option<String>,
    /// Why it failed, when it did.
    pub failure: Option<Failure>,
    /// Times it was begun.
    pub attempts: u32,
    /// Identity of the submitting request.
    pub request_id: String,
    /// W3C trace context of the submitting request.
    pub traceparent: Option<String>,
    /// Keyed hash of whoever submitted it; empty when an older version recorded it.
    pub caller: String,
}

/// A job handed to a worker, with the right to write its end.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The job.
    pub job: Job,
    /// Must be the job's newest for a write to count.
    pub fence: i64,
}

/// How a job ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The answer document as JSON text.
    Succeeded(String),
    /// Why there is none.
    Failed(Failure),
}
