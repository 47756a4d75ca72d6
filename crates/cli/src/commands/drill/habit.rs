//! Something that is done again and again beside a drill.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A thread that does something again and again until this is dropped.
pub struct Habit {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Habit {
    /// `act` says how long after its begin it is due again; it is always ended, never cut short.
    pub fn of(mut act: impl FnMut() -> Duration + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Acquire) {
                let begun = Instant::now();
                let every = act();
                std::thread::sleep(every.saturating_sub(begun.elapsed()));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Habit {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
