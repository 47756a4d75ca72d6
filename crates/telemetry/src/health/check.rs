//! What a check is and what it says.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// What a failing check means for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Failing: the service is unhealthy and not ready.
    Required,
    /// Failing: the service is degraded and still ready.
    Optional,
    /// Not run, and counted as true: what is not configured cannot fail.
    Disabled,
}

impl Policy {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::Disabled => "disabled",
        }
    }
}

/// How a check is run and judged.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// Its name in answers and metrics.
    pub name: String,
    /// What its failure means.
    pub policy: Policy,
    /// The time from the end of one run to the start of the next.
    pub every: Duration,
    /// A run that takes longer has failed.
    pub deadline: Duration,
    /// Failures in a row that turn a good state bad.
    pub failures: u32,
    /// Successes in a row that turn a bad state good.
    pub successes: u32,
}

impl CheckOptions {
    fn new(name: &str, policy: Policy) -> Self {
        Self {
            name: name.to_owned(),
            policy,
            every: Duration::from_secs(10),
            deadline: Duration::from_secs(5),
            failures: 2,
            successes: 1,
        }
    }

    /// A required check: every 10 s, 5 s at most, two failures turn it, one success returns it.
    #[must_use]
    pub fn required(name: &str) -> Self {
        Self::new(name, Policy::Required)
    }

    /// An optional check with the same timing.
    #[must_use]
    pub fn optional(name: &str) -> Self {
        Self::new(name, Policy::Optional)
    }

    /// A check that is not run.
    #[must_use]
    pub fn disabled(name: &str) -> Self {
        Self::new(name, Policy::Disabled)
    }

    /// With this cadence and deadline.
    #[must_use]
    pub fn timing(mut self, every: Duration, deadline: Duration) -> Self {
        self.every = every;
        self.deadline = deadline;
        self
    }

    /// With these streaks.
    #[must_use]
    pub fn streaks(mut self, failures: u32, successes: u32) -> Self {
        self.failures = failures.max(1);
        self.successes = successes.max(1);
        self
    }
}

/// A check that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckDetail {
    pub(super) degraded: bool,
    pub(super) note: Option<String>,
    pub(super) cause: Option<String>,
}

impl CheckDetail {
    /// All is well.
    #[must_use]
    pub const fn ok() -> Self {
        Self { degraded: false, note: None, cause: None }
    }

    /// All is well, with a remark for the detailed answer. It is shown to anonymous callers.
    #[must_use]
    pub fn noted(note: impl Into<String>) -> Self {
        Self { degraded: false, note: Some(note.into()), cause: None }
    }

    /// It works, and somebody should look at it. The reason is shown to anonymous callers.
    #[must_use]
    pub fn degraded(reason: impl Into<String>) -> Self {
        Self { degraded: true, note: Some(reason.into()), cause: None }
    }

    /// With the error behind it, which goes to the log and nowhere else.
    #[must_use]
    pub fn caused_by(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckFailure {
    pub(super) reason: String,
    pub(super) cause: Option<String>,
}

impl CheckFailure {
    /// `reason` is shown to anonymous callers: a few words, no error text.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), cause: None }
    }

    /// With the error behind it, which goes to the log and nowhere else.
    #[must_use]
    pub fn caused_by(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
}

pub(super) type CheckRun =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = CheckResult> + Send>> + Send + Sync>;
pub(super) type CheckResult = Result<CheckDetail, CheckFailure>;
