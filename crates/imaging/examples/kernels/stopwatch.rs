//! Wall time, processor time and memory of a piece of work.

use serde_json::{Value, json};
use std::time::Instant;

/// Rounds after the first, which does not count.
const ROUNDS: usize = 7;

/// What is measured.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    pub name: &'a str,
    pub voxels: usize,
    /// Bytes per voxel that have to come from or go to memory whatever the algorithm.
    pub bytes: f64,
}

/// Runs a piece of work some times; prints the median wall time and the median processor time.
pub fn timed<T>(task: Task<'_>, mut work: impl FnMut() -> T) -> T {
    let mut result = work();
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        // Not the time of giving the last result back.
        drop(result);
        let (began, spent) = (Instant::now(), processor_seconds());
        result = work();
        rounds.push([began.elapsed().as_secs_f64(), processor_seconds() - spent]);
    }
    let [wall, cpu] = [0, 1].map(|which| median(rounds.iter().map(|round| round[which])));
    let least = rounds.iter().map(|round| round[0]).fold(f64::MAX, f64::min);
    print(&json!({
        "kernel": task.name, "voxels": task.voxels, "bytes": task.bytes,
        "wall": wall, "least": least, "cpu": cpu,
    }));
    result
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[expect(clippy::print_stdout, reason = "the output of this program")]
pub fn print(line: &Value) {
    println!("{line}");
}

/// Time that the threads of this process have had a processor so far, in seconds; 0 where the
/// system does not tell.
pub fn processor_seconds() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let on_processor = |thread: std::fs::DirEntry| {
        let figures = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        figures.split_whitespace().next()?.parse::<f64>().ok()
    };
    threads.flatten().filter_map(on_processor).sum::<f64>() * 1e-9
}

/// Most memory of this process that was resident at once, in bytes; 0 where the system does not
/// tell.
pub fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kibibytes.unwrap_or(0u64) << 10
}

/// What memory gives two threads: copies of 512 MiB, and as much read in one stream for each.
pub fn bandwidth() {
    let from = vec![1u64; 64 << 20];
    let mut to = vec![2u64; 64 << 20];
    let half = to.len() / 2;
    timed(Task { name: "memory-copy", voxels: 8 * from.len(), bytes: 2.0 }, || {
        let (left, right) = to.split_at_mut(half);
        rayon::join(
            || left.copy_from_slice(&from[..half]),
            || right.copy_from_slice(&from[half..]),
        );
    });
    let sum = |half: &[u64]| half.iter().fold(0u64, |sum, value| sum.wrapping_add(*value));
    timed(Task { name: "memory-read", voxels: 8 * from.len(), bytes: 1.0 }, || {
        rayon::join(|| sum(&from[..half]), || sum(&from[half..]))
    });
}
