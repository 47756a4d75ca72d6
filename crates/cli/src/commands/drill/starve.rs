//! A process that gets a few milliseconds of the processor now and then.

use rustix::process::{Pid, Signal, kill_process};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Of each period the process runs this long, summed over all processors: scrapes and probes get
/// through, a design does not.
const RUNS: Duration = Duration::from_millis(20);
const STANDS: Duration = Duration::from_millis(140);

/// Processors that a design is computed on.
pub fn processors() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(processors).unwrap_or(u32::MAX)
}

/// Stops and continues a process until this is dropped; then it runs freely.
pub struct Starved {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Starved {
    pub fn begin(pid: Pid) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let runs = (RUNS / processors()).clamp(RUNS / 10, RUNS / 2);
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Acquire) {
                // A process that has ended needs no stopping.
                let _ = kill_process(pid, Signal::STOP);
                std::thread::sleep(STANDS);
                let _ = kill_process(pid, Signal::CONT);
                std::thread::sleep(runs);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Its last act lets the process run.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
