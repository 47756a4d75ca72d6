//! Waiting that ends: at a deadline, or when somebody asks the drill to stop.

use crate::failure::Failure;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at something awaited.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Knows whether ctrl-C was pressed, or the drill was asked to end.
#[derive(Clone)]
pub struct Patience {
    stopped: Arc<AtomicBool>,
}

impl Patience {
    /// Begins to listen for SIGINT and SIGTERM; without this they would leave the sandbox's files.
    pub fn listening() -> Result<Self, Failure> {
        let stopped = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::internal)?;
        let flag = Arc::clone(&stopped);
        std::thread::spawn(move || {
            runtime.block_on(async move {
                use tokio::signal::unix::{SignalKind, signal};
                let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminated.recv() => {}
                }
                flag.store(true, Ordering::Release);
            });
        });
        Ok(Self { stopped })
    }

    /// Waits a moment; an error when the drill was asked to end.
    pub fn pause(&self) -> Result<(), Failure> {
        std::thread::sleep(LOOK_EVERY);
        if self.stopped.load(Ordering::Acquire) {
            return Err(Failure::internal("stopped by a signal; the sandbox is gone"));
        }
        Ok(())
    }

    /// Looks until there is something to see; `None` at the deadline.
    pub fn until<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut() -> Result<Option<T>, Failure>,
    ) -> Result<Option<T>, Failure> {
        let end = Instant::now() + limit;
        loop {
            if let Some(seen) = look()? {
                return Ok(Some(seen));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            self.pause()?;
        }
    }
}
