//! The first figures of `docs/benchmarks.md`: runs the released binary as a user would and prints
//! a Markdown table of medians. It compares nothing; figures depend on the machine, which is named.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs behind each median.
const RUNS: usize = 5;

/// How long a started service is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(5);

/// Measures and returns the table.
pub fn run(root: &Path) -> Result<String> {
    let binary = root.join("target/release/microdiff");
    ensure!(binary.exists(), "{} is not built: just build", binary.display());
    let scratch = std::env::temp_dir().join(format!("microdiff-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let rows = measure(&binary, &scratch);
    std::fs::remove_dir_all(&scratch)?;
    let mut table = format!("{}\n\n| what | median of {RUNS} |\n|---|---:|\n", machine()?);
    for (what, figure) in rows? {
        table += &format!("| {what} | {figure} |\n");
    }
    Ok(table)
}

fn machine() -> Result<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        info.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map_or("unknown", |(_, value)| value.trim())
    };
    let threads = std::thread::available_parallelism()?;
    Ok(format!("Machine: {} ({threads} threads), Linux.", field("model name")))
}

fn measure(binary: &Path, scratch: &Path) -> Result<Vec<(String, String)>> {
    let size = std::fs::metadata(binary)?.len() as f64 / 1e6;
    let mut rows = vec![("binary, stripped".to_owned(), format!("{size:.1} MB"))];
    let scan = simulate(binary, scratch)?;
    rows.extend(design(binary, &scan)?);
    rows.extend(serve(binary, scratch)?);
    Ok(rows)
}

fn simulate(binary: &Path, scratch: &Path) -> Result<PathBuf> {
    let scan = scratch.join("scan.tif");
    let status = Command::new(binary)
        .args(["simulate", "--alloy", "Ti-6Al-4V", "--power", "180", "--speed", "1500"])
        .args(["--hatch", "140", "--layer", "50", "--voxel-size", "5", "--seed", "7"])
        .args(["--shape", "256,256,256", "-o"])
        .arg(&scan)
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "the simulation failed");
    Ok(scan)
}

/// Wall time, peak memory and the phases of a design of 4,096 draws.
fn design(binary: &Path, scan: &Path) -> Result<Vec<(String, String)>> {
    let mut walls = Vec::new();
    let mut peaks = Vec::new();
    let mut phases: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        let mut child = Command::new(binary)
            .arg("design")
            .arg(scan)
            .args(["--alloy", "Ti-6Al-4V", "--json"])
            .stdout(Stdio::piped())
            .spawn()?;
        peaks.push(peak_megabytes(&mut child)?);
        walls.push(start.elapsed().as_secs_f64());
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "the design failed");
        let document: Value = serde_json::from_slice(&output.stdout)?;
        for (phase, value) in document["timings_ms"].as_object().context("no timings")? {
            let value = value.as_f64().context("a timing is no number")?;
            phases.entry(phase.clone()).or_default().push(value);
        }
    }
    let what = "design of a 256³ u16 scan, 4,096 draws";
    let mut rows = vec![
        (format!("{what}: wall, cold process"), format!("{:.2} s", median(walls))),
        (format!("{what}: peak memory"), format!("{:.0} MB", median(peaks))),
    ];
    for (phase, values) in phases {
        rows.push((format!("phase `{phase}`"), format!("{:.0} ms", median(values))));
    }
    Ok(rows)
}

/// Follows the high-water mark of a process until it has ended.
fn peak_megabytes(child: &mut Child) -> Result<f64> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0;
    while child.try_wait()?.is_none() {
        peak = status_megabytes(&status, "VmHWM:").unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(peak)
}

fn status_megabytes(path: &str, field: &str) -> Option<f64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024.0 / 1e6)
}

/// Time from start to the ready line, and memory at rest.
fn serve(binary: &Path, scratch: &Path) -> Result<Vec<(String, String)>> {
    let mut starts = Vec::new();
    let mut idles = Vec::new();
    for run in 0..RUNS {
        let mut child = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"])
            .args(["--gpu-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(scratch.join(format!("data-{run}")))
            .stdout(Stdio::piped())
            .spawn()?;
        let outcome = ready(&mut child);
        // The service has told what was asked of it, or failed to; either way it is done.
        child.kill()?;
        child.wait()?;
        let (start, idle) = outcome?;
        starts.push(start);
        idles.push(idle);
    }
    Ok(vec![
        ("serve: start to ready, bundled model".to_owned(), format!("{:.0} ms", median(starts))),
        ("serve: memory at rest".to_owned(), format!("{:.0} MB", median(idles))),
    ])
}

fn ready(child: &mut Child) -> Result<(f64, f64)> {
    let start = Instant::now();
    let mut lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
    for line in &mut lines {
        let line: Value = serde_json::from_str(&line?)?;
        if line["ready"] == true {
            let milliseconds = start.elapsed().as_secs_f64() * 1e3;
            std::thread::sleep(IDLE);
            let status = format!("/proc/{}/status", child.id());
            let idle = status_megabytes(&status, "VmRSS:").context("no memory figure")?;
            return Ok((milliseconds, idle));
        }
    }
    anyhow::bail!("the service ended before it was ready")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn a_process_has_memory() {
        assert!(status_megabytes("/proc/self/status", "VmHWM:").unwrap() > 0.1);
    }
}
