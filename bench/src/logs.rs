//! One JSON event inside two spans, to a real file, all threads of the process on one core.
//!
//! Two questions: what CPU does an event cost (caller and writer together), and are any lost while
//! two million a second arrive. Logging is global, so each logger runs in a process of its own.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use microdiff_telemetry::logs::LogFile;
use microdiff_telemetry::{Telemetry, TelemetryOptions};
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::timing::{median, table};
use crate::{machine, python};

const EVENTS: u64 = 1_500_000;
const PACE_PER_SECOND: u64 = 2_000_000;
const ROUNDS: usize = 3;
/// More than a line of any logger here takes.
const LINE_BYTES: usize = 512;
const LOGGERS: [(&str, &str); 3] = [
    ("own", "this crate"),
    ("usual", "`tracing-subscriber` JSON + `tracing-appender`"),
    ("lossy", "the same, lossy"),
];

pub fn run() -> Result<String> {
    let mut cpu: Vec<Vec<f64>> = LOGGERS.iter().map(|_| Vec::new()).collect();
    let mut lost = [0_u64; LOGGERS.len()];
    let mut paced = [0.0_f64; LOGGERS.len()];
    for _ in 0..ROUNDS {
        for (i, (kind, _)) in LOGGERS.iter().enumerate() {
            let figures = child_figures(kind)?;
            let number = |key: &str| figures[key].as_f64().context("figure of the child");
            cpu[i].push(number("cpu_ns")?);
            lost[i] += number("lost")? as u64;
            paced[i] = paced[i].max(number("asked_per_second")?);
        }
    }
    let mut rows: Vec<_> = LOGGERS
        .iter()
        .zip(cpu)
        .map(|((_, name), figures)| ((*name).to_owned(), vec![median(figures)]))
        .collect();
    rows.push(("Python `logging`, caller alone".into(), vec![python::figures()?.get("log_ns")]));
    let mut out =
        table("JSON event to a file, ns of CPU (caller and writer)", &["one core"], &rows);
    out += "\n| events lost of those offered at 2 M/s | |\n|---|---:|\n";
    for ((_, name), (lost, asked)) in LOGGERS.iter().zip(lost.into_iter().zip(paced)) {
        let offered = EVENTS * ROUNDS as u64;
        out += &format!("| {name} | {lost} of {offered}, {:.2} M/s kept up |\n", asked / 1e6);
    }
    Ok(out + "\n")
}

fn child_figures(kind: &str) -> Result<Value> {
    let program = std::env::current_exe()?;
    let mut taskset = Command::new("taskset");
    let ran = taskset.args(["-c", "0"]).arg(program).args(["child-log", kind]).output();
    let ran = ran.context("cannot run taskset")?;
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).context("figures of the child")
}

/// Logs as `kind` does and prints its figures.
pub fn child(arguments: &[&str]) -> Result<()> {
    let [kind] = arguments else { bail!("child-log KIND") };
    let folder = std::env::temp_dir().join(format!("telemetry-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    // A virtual machine may have given its free memory back to its host, and taking it again would cost
    // more than all else: the cache of a file that is gone is what the log's file then gets.
    let warm = folder.join("warm");
    std::fs::write(&warm, vec![b' '; EVENTS as usize * LINE_BYTES])?;
    std::fs::remove_file(&warm)?;
    let figures = match *kind {
        "own" => own(&folder),
        "usual" => usual(&folder, false),
        "lossy" => usual(&folder, true),
        other => bail!("`{other}` is no logger"),
    };
    std::fs::remove_dir_all(&folder)?;
    writeln!(std::io::stdout(), "{}", figures?)?;
    Ok(())
}

fn own(folder: &Path) -> Result<Value> {
    let mut options = TelemetryOptions::new("bench", "1", "bench", &[]);
    options.logs.stdout = false;
    options.logs.file = Some(LogFile { max_bytes: u64::MAX, ..LogFile::new(folder.join("a.log")) });
    let (_telemetry, guard) = Telemetry::start(options)?;
    measure(folder, move || guard.shutdown(Duration::from_secs(60)))
}

fn usual(folder: &Path, lossy: bool) -> Result<Value> {
    let file = tracing_appender::rolling::never(folder, "a.log");
    let (writer, guard) =
        tracing_appender::non_blocking::NonBlockingBuilder::default().lossy(lossy).finish(file);
    let layer = tracing_subscriber::fmt::layer().json().with_writer(writer);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
    measure(folder, move || {
        drop(guard);
        true
    })
}

/// Emits at the pace and counts the lines that arrived.
fn measure(folder: &Path, end: impl FnOnce() -> bool) -> Result<Value> {
    let cpu_before = machine::cpu_time("self")?;
    let began = Instant::now();
    emit();
    let took = began.elapsed();
    ensure!(end(), "the log was not written in time");
    let cpu = machine::cpu_time("self")?.saturating_sub(cpu_before);
    let mut lines = 0_u64;
    for entry in std::fs::read_dir(folder)? {
        let text = std::fs::read(entry?.path())?;
        let own = |line: &&[u8]| line.windows(10).any(|part| part == b"\"answered\"");
        lines += text.split(|byte| *byte == b'\n').filter(own).count() as u64;
    }
    Ok(json!({
        "cpu_ns": cpu.as_nanos() as f64 / EVENTS as f64,
        "asked_per_second": EVENTS as f64 / took.as_secs_f64(),
        "lost": EVENTS - lines.min(EVENTS),
    }))
}

/// Offers events in small bursts, so that the mean pace holds while the logger keeps up.
fn emit() {
    const BURST: u64 = 500;
    let request = tracing::info_span!(
        "request",
        request_id = "0af7651916cd43dd8448eb211c80319c",
        trace_id = "0af7651916cd43dd8448eb211c80319c",
    );
    let _request = request.enter();
    let inner = tracing::info_span!("inference", model_type = "conditional_diffusion");
    let _inner = inner.enter();
    let began = Instant::now();
    for burst in 0..EVENTS / BURST {
        for i in 0..BURST {
            tracing::info!(duration_ms = 12.5, attempt = i, success = true, "answered");
        }
        let due = Duration::from_nanos((burst + 1) * BURST * 1_000_000_000 / PACE_PER_SECOND);
        if let Some(early) = due.checked_sub(began.elapsed()) {
            std::thread::sleep(early);
        }
    }
}
