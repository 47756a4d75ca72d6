//! Which machine the figures come from, and the CPU time of a process.

use anyhow::{Context, Result};
use std::time::Duration;

/// One line about the processor.
pub fn describe() -> Result<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = info
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or("unknown", |(_, value)| value.trim());
    let threads = std::thread::available_parallelism()?;
    Ok(format!("Machine: {model} ({threads} threads), Linux."))
}

/// User and system time that the process `id` (or `self`) has used, all threads, to 10 ms.
pub fn cpu_time(id: &str) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let rest = text.rsplit_once(')').context("stat of the process")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |number: usize| -> Result<u64> {
        Ok(fields.get(number - 3).context("stat of the process")?.parse()?)
    };
    Ok(Duration::from_millis(10 * (ticks(14)? + ticks(15)?)))
}
