//! `GET /health` under `wrk`: bare axum, this crate with everything on, and the usual stack.
//!
//! Each server is a process of its own with its own CPU time. The probe's access line, which a
//! service leaves out, is written here, so that the figure holds for any route.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use axum::Router;
use axum::routing::get;
use microdiff_telemetry::health::Health;
use microdiff_telemetry::http::{HttpLayer, HttpOptions, health_routes};
use microdiff_telemetry::logs::LogFile;
use microdiff_telemetry::traces::{Sampler, TraceOptions};
use microdiff_telemetry::{Telemetry, TelemetryOptions};

use crate::machine;
use crate::timing::{median, table};
use crate::traces::collector;

mod usual;

const SERVERS: [(&str, &str); 4] = [
    ("bare", "bare axum"),
    ("own", "this crate: metrics, access line, traces at 1 %"),
    ("usual", "usual stack at 1 %"),
    ("usual-all", "usual stack at 100 %"),
];
const ROUNDS: usize = 3;
const SECONDS: u64 = 4;

pub fn run() -> Result<String> {
    let mut figures: Vec<[Vec<f64>; 2]> = SERVERS.iter().map(|_| Default::default()).collect();
    for _ in 0..ROUNDS {
        for ((kind, _), [rate, cpu]) in SERVERS.iter().zip(&mut figures) {
            let (per_second, micros) = load(kind)?;
            rate.push(per_second);
            cpu.push(micros);
        }
    }
    let rows: Vec<_> = SERVERS
        .iter()
        .zip(figures)
        .map(|((_, name), [rate, cpu])| ((*name).to_owned(), vec![median(rate), median(cpu)]))
        .collect();
    let heads = ["requests/s", "us CPU a request"];
    Ok(table("`GET /health` under wrk (1 thread, 32 connections)", &heads, &rows) + "\n")
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Requests a second, and CPU microseconds of the server for each.
fn load(kind: &str) -> Result<(f64, f64)> {
    let program = std::env::current_exe()?;
    let mut child =
        Command::new(program).args(["child-serve", kind]).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("stdout of the server")?;
    let server = Server(child);
    let mut address = String::new();
    BufReader::new(stdout).read_line(&mut address)?;
    let url = format!("http://{}/health", address.trim());
    wrk(&url, 1)?;
    let id = server.0.id().to_string();
    let before = machine::cpu_time(&id)?;
    let began = Instant::now();
    let requests = wrk(&url, SECONDS)?;
    let took = began.elapsed();
    let cpu = machine::cpu_time(&id)?.saturating_sub(before);
    Ok((requests as f64 / took.as_secs_f64(), cpu.as_secs_f64() * 1e6 / requests as f64))
}

/// Requests answered in `seconds`.
fn wrk(url: &str, seconds: u64) -> Result<u64> {
    let ran = Command::new("wrk")
        .args(["-t1", "-c32", &format!("-d{seconds}s"), url])
        .output()
        .context("cannot run wrk (Debian package wrk)")?;
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    ensure!(ran.status.success() && !text.contains("Non-2xx"), "wrk: {text}");
    text.lines()
        .find_map(|line| line.trim().split_once(" requests in"))
        .and_then(|(count, _)| count.parse().ok())
        .with_context(|| format!("no count of requests: {text}"))
}

/// Serves as `kind` does, after printing its address, until it is killed.
pub fn child(kind: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (router, _guards): (Router, Box<dyn std::any::Any>) = match kind {
            "bare" => (Router::new().route("/health", get(usual::answer)), Box::new(())),
            "own" => own()?,
            "usual" => usual::router(0.01)?,
            "usual-all" => usual::router(1.0)?,
            other => bail!("`{other}` is no server"),
        };
        writeln!(std::io::stdout(), "{address}")?;
        std::io::stdout().flush()?;
        axum::serve(listener, router).await?;
        Ok(())
    })
}

fn own() -> Result<(Router, Box<dyn std::any::Any>)> {
    let folder = scratch()?;
    let mut options = TelemetryOptions::new("bench", "1", "bench", &[]);
    options.logs.stdout = false;
    options.logs.file = Some(LogFile::new(folder.join("own.log")));
    options.traces = TraceOptions {
        endpoint: Some(format!("http://{}/v1/traces", collector()?)),
        sampler: Sampler { ratio: 0.01, parent_based: true },
        ..TraceOptions::default()
    };
    let (telemetry, guard) = Telemetry::start(options)?;
    let health = Health::builder(&telemetry).start();
    health.set_ready();
    let http = HttpOptions { quiet_paths: Vec::new(), ..HttpOptions::default() };
    let router = health_routes(&health).layer(HttpLayer::new(&telemetry, http));
    Ok((router, Box::new((guard, health))))
}

fn scratch() -> Result<std::path::PathBuf> {
    let folder = std::env::temp_dir().join("telemetry-bench-http");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
