//! A process that gets a few milliseconds of the processor now and then.

use super::habit::Habit;
use rustix::process::{Pid, Signal, kill_process};
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
pub fn starve(pid: Pid) -> Habit {
    let runs = (RUNS / processors()).clamp(RUNS / 10, RUNS / 2);
    Habit::of(move || {
        // A process that has ended needs no stopping.
        let _ = kill_process(pid, Signal::STOP);
        std::thread::sleep(STANDS);
        let _ = kill_process(pid, Signal::CONT);
        // Slept here, because a pause that came late must not shorten what the process runs.
        std::thread::sleep(runs);
        Duration::ZERO
    })
}
