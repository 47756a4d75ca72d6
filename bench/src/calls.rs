//! What one design says of itself, alone: the spans, log lines and observations that the service
//! makes of one, without the service, one design a millisecond.
//!
//! The service's own figure (see [`crate::design`]) is the difference of two large ones; this one is
//! small beside nothing. Writer and exporter threads count, the pace and its wake-ups do not: they
//! are measured alone and taken off. Tests hold the service to its 14 spans and these lines.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use microdiff_telemetry::logs::LogFile;
use microdiff_telemetry::metrics::{Counter, Histogram, LabelSpec, MetricSpec, Unit};
use microdiff_telemetry::traces::{Sampler, SpanKind, TraceOptions, Tracer};
use microdiff_telemetry::{Telemetry, TelemetryOptions};

use crate::machine;
use crate::numbers::BOUNDS;
use crate::timing::median;

const DESIGNS: u32 = 3000;
const ROUNDS: usize = 5;
const PHASES: [&str; 11] = [
    "queue",
    "load",
    "preprocess",
    "segment",
    "describe",
    "encode",
    "sample",
    "check",
    "report",
    "store.write",
    "store.finish",
];
const DURATION: MetricSpec =
    MetricSpec::histogram("bench_phase_duration_seconds", "Phases.", BOUNDS)
        .unit(Unit::Seconds)
        .labels(&[LabelSpec::open("phase")]);
const EVENTS: MetricSpec =
    MetricSpec::counter("bench_events_total", "Events.").labels(&[LabelSpec::open("kind")]);
static METRICS: &[MetricSpec] = &[DURATION, EVENTS];

/// CPU microseconds of one design's telemetry: median of rounds, each less its pace alone.
pub fn run(collector: &str) -> Result<f64> {
    let mut figures = Vec::new();
    for _ in 0..ROUNDS {
        figures.push(figure("calls", collector)? - figure("pace", collector)?);
    }
    Ok(median(figures))
}

fn figure(kind: &str, collector: &str) -> Result<f64> {
    let ran = Command::new(std::env::current_exe()?)
        .args(["child-calls", kind, collector])
        .output()
        .context("cannot run this program again")?;
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Ok(String::from_utf8_lossy(&ran.stdout).trim().parse()?)
}

/// Makes the calls, or only keeps the pace, and prints CPU microseconds a design.
pub fn child(kind: &str, collector: &str) -> Result<()> {
    let make = match kind {
        "calls" => true,
        "pace" => false,
        other => bail!("`{other}` is neither calls nor pace"),
    };
    let folder = std::env::temp_dir().join(format!("telemetry-bench-calls-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut options = TelemetryOptions::new("bench", "1", "bench", METRICS);
    options.logs.stdout = false;
    options.logs.file = Some(LogFile::new(folder.join("calls.log")));
    options.traces = TraceOptions {
        endpoint: Some(format!("http://{collector}/v1/traces")),
        sampler: Sampler { ratio: 1.0, parent_based: true },
        ..TraceOptions::default()
    };
    let (telemetry, guard) = Telemetry::start(options)?;
    let registry = telemetry.registry();
    let phases = PHASES.map(|phase| registry.histogram(&DURATION, &[phase]));
    let events = ["a", "b", "c", "d", "e", "f"].map(|kind| registry.counter(&EVENTS, &[kind]));
    let before = machine::cpu_time("self")?;
    let begun = Instant::now();
    for number in 1..=DESIGNS {
        if make {
            design(telemetry.tracer(), &phases, &events);
        }
        let due = begun + number * Duration::from_millis(1);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    ensure!(guard.shutdown(Duration::from_secs(60)), "the telemetry was not flushed in time");
    let cpu = machine::cpu_time("self")?.saturating_sub(before);
    std::fs::remove_dir_all(&folder)?;
    writeln!(std::io::stdout(), "{}", cpu.as_secs_f64() * 1e6 / f64::from(DESIGNS))?;
    Ok(())
}

/// A request, its design and the design's phases: 14 spans, 3 lines, 17 updates.
fn design(tracer: &Tracer, phases: &[Histogram], events: &[Counter]) {
    let mut request = tracer.start("POST /v1/designs", SpanKind::Server, None);
    request.set("http.request.method", "POST");
    request.set("http.route", "/v1/designs");
    request.set("http.response.status_code", 200_u16);
    request.set("http.request.body.size", 524_288_u64);
    let ids = request.context().log_span();
    let _ids = ids.entered();
    let mut whole = request.child("design");
    whole.set("microdiff.job_id", "01a20e8c-5a99-74ee-862d-038bfc600341");
    whole.set("microdiff.request_id", "f8b15c18355066f728fc45ef163a7c86");
    whole.set("microdiff.alloy", "Ti-6Al-4V");
    whole.set("microdiff.attempt", 1_u64);
    let mut reading = whole.child("process_microstructure");
    reading.set("image_path", "part.tif");
    reading.set("operation", "microstructure");
    for (phase, histogram) in PHASES.iter().zip(phases) {
        let span = whole.child(*phase);
        histogram.observe_traced(0.001, span.context().trace_id, SystemTime::now());
    }
    drop(reading);
    events.iter().for_each(Counter::inc);
    for (target, message) in [
        ("microdiff_api", "request"),
        ("microdiff_jobs", "design accepted"),
        ("microdiff_models", "Model inference completed successfully"),
    ] {
        tracing::info!(
            logger = target,
            request_id = "f8b15c18355066f728fc45ef163a7c86",
            user_id = "b1dfb926fbf1873e425320abf6b6ea92",
            job_id = "01a20e8c-5a99-74ee-862d-038bfc600341",
            model_type = "conditional_diffusion",
            alloy = "Ti-6Al-4V",
            duration_ms = 890.5,
            success = true,
            "{message}"
        );
    }
}
