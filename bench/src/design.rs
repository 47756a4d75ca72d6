//! What it costs to observe one design: the service as it is, with an engine that gives a finished
//! answer at once, everything on beside nothing on.
//!
//! Both services store the scan, record the job and audit it. With everything on, log lines go to a
//! file and every trace to a collector; with nothing on there is neither. Metrics and the flight
//! recorder cannot be turned off and are in both; [`crate::numbers`] has what an update costs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use microdiff_design::{DescriptorReference, DesignDocument, Designer, ModelSummary};
use microdiff_domain::{Alloy, Observer, Phase, Process};
use microdiff_server::jobs::JobRequest;
use microdiff_server::{Accuracy, Canary, Config, Engine, EngineFailure, Parts, Stop};

use crate::timing::{median, table};
use crate::traces::collector;
use crate::{calls, machine};

/// What the first request uploads, for an answer to repeat. The others upload a few bytes in its
/// place: receiving a scan is no part of observing.
const SCAN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/lack-of-fusion.tif");
const ROUNDS: usize = 11;
/// CPU time is told in steps of 10 ms: 10 us in this many.
const DESIGNS: u32 = 1000;

pub fn run() -> Result<String> {
    let collector = collector()?;
    let alone = calls::run(&collector)?;
    let kinds = [("off", "no log, no spans"), ("on", "log file, every trace exported")];
    let mut services = Vec::new();
    for (kind, name) in kinds {
        services.push((name, Service::start(kind, &collector)?, Vec::new()));
    }
    for round in 0..=ROUNDS {
        for (_, service, figures) in &mut services {
            let micros = service.designs(DESIGNS)?;
            // The first round warms caches, the database and lazy state.
            if round > 0 {
                figures.push(micros);
            }
        }
    }
    let [off, on] = [0, 1].map(|at| services.get(at).map_or(&[][..], |(_, _, figures)| figures));
    let mut each: Vec<f64> = on.iter().zip(off).map(|(on, off)| on - off).collect();
    each.sort_by(f64::total_cmp);
    let quartile = |of: usize| each.get(each.len() * of / 4).copied().unwrap_or(f64::NAN);
    let told = format!(
        "Difference: {:.0} us (quartiles of {ROUNDS} rounds {:.0} and {:.0}). The same spans, lines and \
         observations without the service: {alone:.0} us.\n",
        quartile(2),
        quartile(1),
        quartile(3)
    );
    let rows: Vec<_> = services
        .into_iter()
        .map(|(name, _, figures)| (name.to_owned(), vec![median(figures)]))
        .collect();
    let head = "One design through the service, engine answering at once";
    Ok(table(head, &["us CPU a design"], &rows) + "\n" + &told)
}

struct Service {
    child: Child,
    connection: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    fn start(kind: &str, collector: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["child-design", kind, collector])
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("stdout of the service")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        let connection = BufReader::new(TcpStream::connect(address.trim())?);
        let scan = std::fs::read(SCAN).context(SCAN)?;
        let mut service = Self { child, connection, request: request(address.trim(), &scan)? };
        service.design()?;
        service.request = request(address.trim(), b"a scan")?;
        Ok(service)
    }

    /// Has so many designs answered; CPU microseconds of the service for each.
    fn designs(&mut self, count: u32) -> Result<f64> {
        let id = self.child.id().to_string();
        let before = machine::cpu_time(&id)?;
        for _ in 0..count {
            self.design()?;
        }
        let cpu = machine::cpu_time(&id)?.saturating_sub(before);
        Ok(cpu.as_secs_f64() * 1e6 / f64::from(count))
    }

    fn design(&mut self) -> Result<()> {
        self.connection.get_mut().write_all(&self.request)?;
        let mut line = String::new();
        self.connection.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 200"), "the design was answered with {line}");
        let mut length = None;
        loop {
            line.clear();
            self.connection.read_line(&mut line)?;
            let field = line.trim().to_ascii_lowercase();
            if field.is_empty() {
                break;
            }
            if let Some(value) = field.strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            }
        }
        let mut body = vec![0; length.context("an answer without a length")?];
        self.connection.read_exact(&mut body)?;
        Ok(())
    }
}

/// A submission that waits for its answer.
fn request(host: &str, scan: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    let part = "--part\r\ncontent-disposition: form-data; name=";
    write!(body, "{part}\"alloy\"\r\n\r\nTi-6Al-4V\r\n")?;
    write!(body, "{part}\"scan\"; filename=\"scan.tif\"\r\n\r\n")?;
    body.extend_from_slice(scan);
    body.extend_from_slice(b"\r\n--part--\r\n");
    let head = format!(
        "POST /v1/designs?wait=30 HTTP/1.1\r\nhost: {host}\r\n\
         content-type: multipart/form-data; boundary=part\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Ok([head.into_bytes(), body].concat())
}

/// Serves as `kind` does, after printing its address, until it is killed.
pub fn child(kind: &str, collector: &str) -> Result<()> {
    // In memory, where to be durable costs next to nothing: that is no part of observing either.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = folder.join(format!("telemetry-bench-design-{kind}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let config = config(kind, collector, &folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut options = microdiff_server::telemetry_options(&config)?;
        options.logs.stdout = false;
        let (telemetry, _guard) = microdiff_telemetry::Telemetry::start(options)?;
        let engine = Arc::new(Ready { model: Designer::bundled()?, answer: OnceLock::new() });
        let parts = Parts { engine, model_load: Duration::ZERO, telemetry, hangups: None };
        let tell = |ready: &microdiff_server::Ready| {
            let mut out = std::io::stdout();
            let _ = writeln!(out, "{}", ready.api).and_then(|()| out.flush());
        };
        microdiff_server::serve(config, parts, Stop::default(), tell).await?;
        Ok(())
    })
}

fn config(kind: &str, collector: &str, folder: &Path) -> Result<Config> {
    let mut config = Config { data_dir: folder.join("data"), ..Config::default() };
    let listen = &mut config.listen;
    for address in [&mut listen.api, &mut listen.metrics, &mut listen.gpu, &mut listen.admin] {
        address.set_port(0);
    }
    config.quality.evaluate = false;
    match kind {
        "on" => {
            config.log.file = Some(folder.join("microdiff.log"));
            config.traces.endpoint = Some(format!("http://{collector}"));
            config.traces.sample_ratio = Some(1.0);
        }
        "off" => config.log.level = "off".into(),
        other => bail!("`{other}` is neither on nor off"),
    }
    Ok(config)
}

/// Answers every design with the first one's document.
struct Ready {
    model: Designer,
    answer: OnceLock<DesignDocument>,
}

impl Engine for Ready {
    fn model(&self) -> ModelSummary {
        Engine::model(&self.model)
    }

    fn pairs(&self) -> Vec<(Process, Alloy)> {
        Engine::pairs(&self.model)
    }

    fn accuracy(&self) -> Vec<Accuracy> {
        Engine::accuracy(&self.model)
    }

    fn design(
        &self,
        scan: &Path,
        request: &JobRequest,
        observer: &mut dyn Observer,
    ) -> Result<DesignDocument, EngineFailure> {
        if let Some(document) = self.answer.get() {
            for phase in Phase::ALL.into_iter().filter(|phase| *phase != Phase::Queue) {
                observer.begin(phase);
                observer.end(phase);
            }
            return Ok(document.clone());
        }
        let document = Engine::design(&self.model, scan, request, observer)?;
        Ok(self.answer.get_or_init(|| document).clone())
    }

    fn canary(&self) -> Result<Canary, EngineFailure> {
        Ok(Canary { matched: true, deviation: 0.0 })
    }

    fn reference(&self) -> Option<&DescriptorReference> {
        Engine::reference(&self.model)
    }
}
