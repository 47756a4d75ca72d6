//! Answers for one scan and prints, as a Markdown table, the wall time and the peak resident memory
//! of each phase. Linux only: the peak is the kernel's, set back at the start of each phase.
//!
//! `cargo run --release -p microdiff-design --example memory -- scan.tif Ti-6Al-4V`

#![expect(clippy::print_stdout, reason = "an example talks to a terminal")]

use microdiff_design::{DesignRequest, Designer};
use microdiff_domain::{Observer, Phase};
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

/// Reads clock and memory as phases pass.
struct Meter {
    began: Instant,
}

impl Observer for Meter {
    fn begin(&mut self, _: Phase) {
        // 5 sets the high-water mark to what is resident now (proc(5)); without it the figures
        // only grow, which is still true.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        self.began = Instant::now();
    }

    fn end(&mut self, phase: Phase) {
        let milliseconds = self.began.elapsed().as_secs_f64() * 1e3;
        let peak = peak_megabytes().unwrap_or(f64::NAN);
        println!("| `{}` | {milliseconds:.0} ms | {peak:.0} MB |", phase.name());
    }
}

fn peak_megabytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? * 1024.0 / 1e6)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(scan), Some(alloy)) = (arguments.next(), arguments.next()) else {
        return Err("give a scan and an alloy".into());
    };
    let designer = Designer::bundled()?;
    let request = DesignRequest::new(alloy.parse()?);
    println!("| phase | wall | peak resident memory |\n|---|---:|---:|");
    designer.design(&PathBuf::from(scan), &request, &mut Meter { began: Instant::now() })?;
    Ok(())
}
