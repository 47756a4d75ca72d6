//! Starts a service in this process and speaks to it.

use microdiff_server::log_fields::log_catalogue;
use microdiff_server::{Config, Engine, Parts, Ready, ServerError, Stop};
use microdiff_telemetry::logs::LogSchema;
use microdiff_telemetry::{Guard, Telemetry};
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Long enough for any machine; only a hang meets it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the service is told that loading the model took.
pub const MODEL_LOAD: Duration = Duration::from_millis(250);

/// A running service.
pub struct Server {
    pub ready: Ready,
    pub stop: Stop,
    pub dir: Arc<TempDir>,
    pub client: reqwest::Client,
    pub telemetry: Telemetry,
    task: JoinHandle<Result<(), ServerError>>,
    log: PathBuf,
    _guard: Guard,
    _subscriber: tracing::dispatcher::DefaultGuard,
}

/// Settings for a test: free ports, a fresh directory.
pub fn config(dir: &Path) -> Config {
    let mut config = Config { data_dir: dir.join("data"), ..Config::default() };
    for address in [
        &mut config.listen.api,
        &mut config.listen.metrics,
        &mut config.listen.gpu,
        &mut config.listen.admin,
    ] {
        address.set_port(0);
    }
    config.limits.free_bytes = 0;
    // Costs seconds of a core; the tests of it turn it on.
    config.quality.evaluate = false;
    config.log.file = Some(dir.join("microdiff.log"));
    config
}

pub async fn start(engine: Arc<dyn Engine>) -> Server {
    start_with(engine, Arc::new(TempDir::new().unwrap()), |_| {}).await
}

/// Starts a service in `dir` with edited settings.
pub async fn start_with(
    engine: Arc<dyn Engine>,
    dir: Arc<TempDir>,
    edit: impl FnOnce(&mut Config),
) -> Server {
    let mut config = config(dir.path());
    edit(&mut config);
    let mut options = microdiff_server::telemetry_options(&config).unwrap();
    options.logs.stdout = false;
    options.traces.delay = Duration::from_millis(50);
    let (telemetry, guard, dispatch) = Telemetry::start_local(options).unwrap();
    let subscriber = tracing::dispatcher::set_default(&dispatch);
    let stop = Stop::default();
    let (send, receive) = tokio::sync::oneshot::channel();
    let parts =
        Parts { engine, model_load: MODEL_LOAD, telemetry: telemetry.clone(), hangups: None };
    let log = config.log.file.clone().unwrap();
    let serving = microdiff_server::serve(config, parts, stop.clone(), move |ready| {
        let _ = send.send(*ready);
    });
    let task = tokio::spawn(serving);
    let ready = match timeout(PATIENCE, receive).await.unwrap() {
        Ok(ready) => ready,
        Err(_) => panic!("the service did not start: {:?}", task.await),
    };
    Server {
        ready,
        stop,
        dir,
        client: reqwest::Client::new(),
        telemetry,
        task,
        log,
        _guard: guard,
        _subscriber: subscriber,
    }
}

impl Server {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.ready.api)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        read(self.client.get(self.url(path)).send().await.unwrap()).await
    }

    pub async fn post(&self, query: &str, form: Form) -> reqwest::Response {
        let url = self.url(&format!("/v1/designs{query}"));
        timeout(PATIENCE, self.client.post(url).multipart(form).send()).await.unwrap().unwrap()
    }

    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.ready.metrics);
        self.client.get(url).send().await.unwrap().text().await.unwrap()
    }

    pub async fn gpu_metrics(&self) -> String {
        let url = format!("http://{}/gpu-metrics", self.ready.gpu);
        self.client.get(url).send().await.unwrap().text().await.unwrap()
    }

    /// The value of one series, named as on the metrics page.
    pub async fn metric(&self, series: &str) -> f64 {
        let page = self.metrics().await;
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in\n{page}")).parse().unwrap()
    }

    /// Polls until one series has the value.
    pub async fn until_metric(&self, series: &str, value: f64) {
        let series = format!("{series} {value}");
        let reached = async { while !self.metrics().await.lines().any(|line| line == series) {} };
        timeout(PATIENCE, reached).await.unwrap();
    }

    /// Polls until a worker has a job.
    pub async fn busy(&self) {
        let busy = async { while self.metric("microdiff_workers{state=\"busy\"}").await < 1.0 {} };
        timeout(PATIENCE, busy).await.unwrap();
    }

    /// Polls until `path` answers `status` and its body holds `text`.
    pub async fn until(&self, path: &str, status: u16, text: &str) -> Value {
        let poll = async {
            loop {
                let (now, body) = self.get(path).await;
                if now == status && body.to_string().contains(text) {
                    return body;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, poll).await.unwrap()
    }

    /// The log so far, one object a line, each of which has declared fields only.
    pub fn log(&self) -> Vec<Value> {
        assert!(self.telemetry.logs().flush(PATIENCE));
        read_log(&std::fs::read_to_string(&self.log).unwrap())
    }

    /// Number of files among the stored scans.
    pub fn scans(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("data/scans")).unwrap().count()
    }

    /// Begins the drain and awaits its end; every line of the log is looked at.
    pub async fn drain(self) -> Arc<TempDir> {
        self.drain_and_read().await.0
    }

    /// [`Server::drain`], and all the log.
    pub async fn drain_and_read(mut self) -> (Arc<TempDir>, Vec<Value>) {
        self.stop.drain();
        timeout(PATIENCE, &mut self.task).await.unwrap().unwrap().unwrap();
        let log = self.log();
        (self.dir, log)
    }
}

/// Checks and parses lines of the log.
pub fn read_log(text: &str) -> Vec<Value> {
    let catalogue = log_catalogue().unwrap();
    let read = |line: &str| {
        catalogue.check(LogSchema::Native, line).unwrap_or_else(|wrong| panic!("{wrong}"));
        serde_json::from_str(line).unwrap()
    };
    text.lines().map(read).collect()
}

pub async fn read(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// A form with a scan and what a quick design needs.
pub fn form(scan: Vec<u8>) -> Form {
    Form::new()
        .part("scan", Part::bytes(scan).file_name("part 7.tif"))
        .text("alloy", "Ti-6Al-4V")
        .text("voxel_size_um", "5")
        .text("samples", "64")
        .text("steps", "8")
        .text("seed", "11")
}

/// A small part as an uncompressed 8-bit TIFF stack: bright, noisy, with a few round pores.
pub fn scan() -> Vec<u8> {
    const N: usize = 48;
    let pores = [(12, 14, 15, 4), (30, 25, 20, 5), (38, 36, 33, 3), (20, 33, 12, 4)];
    let mut noise = 1_u32;
    let mut voxel = |z: usize, y: usize, x: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let hole = pores.iter().any(|&(pz, py, px, radius)| {
            let square = |a: usize, b: usize| a.abs_diff(b).pow(2);
            square(z, pz) + square(y, py) + square(x, px) <= radius * radius
        });
        (if hole { 40 } else { 190 }) + (noise >> 28) as u8
    };
    let pages: Vec<Vec<u8>> =
        (0..N).map(|z| (0..N * N).map(|i| voxel(z, i / N, i % N)).collect()).collect();
    tiff(&pages, N as u32)
}

/// Little-endian TIFF 6.0, one strip a page.
fn tiff(pages: &[Vec<u8>], edge: u32) -> Vec<u8> {
    let mut out = b"II*\0".to_vec();
    let strip = edge * edge;
    for page in pages {
        let at = out.len() as u32 + 4;
        out.extend_from_slice(&(at + strip).to_le_bytes());
        out.extend_from_slice(page);
        let tags: [(u16, u16, u32); 9] = [
            (256, 4, edge),
            (257, 4, edge),
            (258, 3, 8),
            (259, 3, 1),
            (262, 3, 1),
            (273, 4, at),
            (277, 3, 1),
            (278, 4, edge),
            (279, 4, strip),
        ];
        out.extend_from_slice(&(tags.len() as u16).to_le_bytes());
        for (tag, kind, value) in tags {
            out.extend_from_slice(&tag.to_le_bytes());
            out.extend_from_slice(&kind.to_le_bytes());
            out.extend_from_slice(&1_u32.to_le_bytes());
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
    out.extend_from_slice(&0_u32.to_le_bytes());
    out
}
