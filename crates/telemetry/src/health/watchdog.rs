//! Watches the runtime from outside: a runtime that stands still can neither answer a probe nor
//! write a line about it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::Counter;

/// When the runtime last ran a trivial task.
pub(super) struct Heart {
    beat: Mutex<Instant>,
    limit: Duration,
}

impl Heart {
    pub(super) fn new(limit: Duration) -> Self {
        Self { beat: Mutex::new(Instant::now()), limit }
    }

    /// Beats for as long as the runtime runs it.
    pub(super) async fn keep_beating(&self) {
        loop {
            *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// Whether the last beat is longer ago than the limit.
    pub(super) fn stalled(&self) -> bool {
        self.still() > self.limit
    }

    fn still(&self) -> Duration {
        self.beat.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn pause(&self) -> Duration {
        (self.limit / 4).clamp(Duration::from_millis(1), Duration::from_secs(1))
    }

    /// Tells and counts once that the runtime stands still, and once that it runs again; until
    /// `stopped` has no sender any more.
    pub(super) fn watch(&self, stopped: &mpsc::Receiver<()>, stalls: &Counter) {
        let mut was = false;
        while stopped.recv_timeout(self.pause()) == Err(RecvTimeoutError::Timeout) {
            let now = self.stalled();
            if now && !was {
                stalls.inc();
                let seconds = self.still().as_secs_f64();
                tracing::error!(seconds, success = false, "the runtime stands still");
            } else if was && !now {
                tracing::info!(success = true, "the runtime runs again");
            }
            was = now;
        }
    }
}
