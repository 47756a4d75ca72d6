//! The standard `process_*` metrics, read from `/proc/self` at each scrape.
//!
//! On systems without `/proc` they are absent, not zero. Source: proc(5).

use std::fs;

use crate::builtin;
use crate::metrics::{MetricSpec, Registry};

/// Clock ticks a second in `/proc/self/stat`: `USER_HZ`, 100 on every Linux ABI we know of.
const TICKS_PER_SECOND: f64 = 100.0;

/// Makes `registry` show the process it runs in.
pub(crate) fn observe(registry: &Registry) {
    let gauge = |spec: &MetricSpec| registry.gauge(spec, &[]);
    let cpu = registry.observed_counter(&builtin::CPU_SECONDS, &[]);
    let resident = gauge(&builtin::RESIDENT);
    let virtual_memory = gauge(&builtin::VIRTUAL);
    let threads = gauge(&builtin::THREADS);
    let open_files = gauge(&builtin::OPEN_FDS);
    if let Some(limit) = fs::read_to_string("/proc/self/limits").ok().and_then(|t| open_limit(&t)) {
        gauge(&builtin::MAX_FDS).set(limit);
    }
    let boot = fs::read_to_string("/proc/stat").ok().and_then(|text| boot_time(&text));
    let start = gauge(&builtin::START_TIME);
    registry.on_scrape(move || {
        if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|t| Stat::read(&t))
        {
            cpu.set((stat.user + stat.system) / TICKS_PER_SECOND);
            resident.set(stat.resident_kib * 1024.0);
            virtual_memory.set(stat.virtual_bytes);
            threads.set(stat.threads);
            if let Some(boot) = boot {
                start.set(boot + stat.started / TICKS_PER_SECOND);
            }
        }
        if let Some(kib) = fs::read_to_string("/proc/self/status").ok().and_then(|t| rss_kib(&t)) {
            resident.set(kib * 1024.0);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // The directory being read is itself an open file.
            open_files.set(entries.count().saturating_sub(1) as f64);
        }
    });
}

struct Stat {
    user: f64,
    system: f64,
    threads: f64,
    started: f64,
    virtual_bytes: f64,
    /// Pages, taken as 4 KiB; `VmRSS` replaces it where there is one.
    resident_kib: f64,
}

impl Stat {
    /// Fields are counted after the command, which may itself hold spaces and brackets.
    fn read(text: &str) -> Option<Self> {
        let rest = text.get(text.rfind(')')? + 1..)?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            user: field(14)?,
            system: field(15)?,
            threads: field(20)?,
            started: field(22)?,
            virtual_bytes: field(23)?,
            resident_kib: field(24)? * 4.0,
        })
    }
}

fn rss_kib(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn boot_time(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn open_limit(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_brackets_does_not_shift_the_fields() {
        let tail = (4..=24).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let stat = Stat::read(&format!("7 (a) b (c) S {tail}\n")).unwrap();
        assert_eq!((stat.user, stat.system, stat.threads), (14.0, 15.0, 20.0));
        assert_eq!((stat.started, stat.virtual_bytes, stat.resident_kib), (22.0, 23.0, 96.0));
        assert!(Stat::read("7 (a S 1").is_none());
        assert_eq!(open_limit("Max open files  1024  4096 files"), Some(1024.0));
        assert_eq!(boot_time("cpu 1\nbtime 17\n"), Some(17.0));
        assert_eq!(rss_kib("VmRSS:\t 12 kB"), Some(12.0));
    }
}
