//! The two clocks of the audit log.

use std::time::{Duration, Instant, SystemTime};

/// Tells the time of day and the time gone by, which nobody can set.
pub trait AuditClock: Send + Sync {
    /// The time of day.
    fn now(&self) -> SystemTime;
    /// Time gone by since some moment before the log was opened; never goes back.
    fn running(&self) -> Duration;
}

/// The system's clocks.
#[derive(Clone, Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl AuditClock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn running(&self) -> Duration {
        self.0.elapsed()
    }
}
