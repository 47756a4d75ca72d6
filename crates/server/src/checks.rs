//! The four health checks, each a proof rather than a look at a flag.

use crate::App;
use crate::config::{CheckConfig, CheckPolicy};
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::store::ScanFiles;
use microdiff_telemetry::gpu::GpuStatus;
use microdiff_telemetry::health::{CheckDetail, CheckFailure, CheckOptions, Health};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

type CheckResult = Result<CheckDetail, CheckFailure>;

/// How long running designs stand in for the canary before it runs beside them all the same.
const BUSY_LIMIT: Duration = Duration::from_secs(900);

/// Starts the checks of `app`.
pub(crate) fn start(app: &Arc<App>, busy: Arc<AtomicUsize>) -> Health {
    let config = &app.config.health;
    let store = app.queue.store().clone();
    let database = move || {
        let store = store.clone();
        async move {
            let failed = |error| CheckFailure::new("no round trip").caused_by(error);
            store.ping().await.map_err(failed).map(|()| CheckDetail::ok())
        }
    };
    let storage = {
        let app = Arc::clone(app);
        move || {
            let app = Arc::clone(&app);
            blocking(move || prove_storage(&app))
        }
    };
    let model = {
        let canary = Arc::new(ModelCanary {
            engine: Arc::clone(&app.engine),
            metrics: Arc::clone(&app.metrics),
            busy,
            last_proof: Mutex::new(None),
        });
        move || {
            let canary = Arc::clone(&canary);
            async move { canary.check().await }
        }
    };
    let gpu = {
        let app = Arc::clone(app);
        move || std::future::ready(prove_gpu(app.gpu.status()))
    };
    Health::builder(&app.telemetry)
        .check(options("database", &config.database), database)
        .check(options("gpu", &config.gpu), gpu)
        .check(options("model", &config.model), model)
        .check(options("storage", &config.storage), storage)
        .start()
}

fn options(name: &str, config: &CheckConfig) -> CheckOptions {
    let base = match config.policy {
        CheckPolicy::Required => CheckOptions::required(name),
        CheckPolicy::Optional => CheckOptions::optional(name),
        CheckPolicy::Disabled => CheckOptions::disabled(name),
    };
    base.timing(
        Duration::from_secs(config.every_seconds),
        Duration::from_secs(config.deadline_seconds),
    )
    .streaks(config.fail_after, config.recover_after)
}

async fn blocking(check: impl FnOnce() -> CheckResult + Send + 'static) -> CheckResult {
    let task = tokio::task::spawn_blocking(check).await;
    task.unwrap_or_else(|error| Err(CheckFailure::new("panic").caused_by(error)))
}

/// Writes and reads back in the data directory, reads the bundle's directory, looks at the room.
fn prove_storage(app: &App) -> CheckResult {
    let failed = |reason: &'static str| {
        move |error: std::io::Error| CheckFailure::new(reason).caused_by(error)
    };
    app.files.prove_writable().map_err(failed("data directory not writable"))?;
    if let Some(directory) = &app.config.model_dir {
        read_every_file(directory).map_err(failed("model directory not readable"))?;
    }
    let free = show_free(&app.files, &app.metrics).map_err(failed("free space unknown"))?;
    if free < app.config.limits.free_bytes {
        return Err(CheckFailure::new("little free space"));
    }
    Ok(CheckDetail::ok())
}

/// Sets the gauge of free bytes and returns them.
pub(crate) fn show_free(files: &ScanFiles, metrics: &Metrics) -> std::io::Result<u64> {
    let free = files.free_bytes()?;
    metrics.free_bytes.set(free as f64);
    Ok(free)
}

/// Reads the first byte of each file: the directory's entries alone may come from a cache.
fn read_every_file(directory: &Path) -> std::io::Result<()> {
    use std::io::Read as _;
    let mut seen = 0;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_file() {
            let mut byte = [0; 1];
            std::fs::File::open(path)?.read_exact(&mut byte)?;
            seen += 1;
        }
    }
    if seen == 0 {
        return Err(std::io::Error::other("it holds no file"));
    }
    Ok(())
}

/// The known-answer canary; tells a busy model from a broken and from a wrong one.
struct ModelCanary {
    engine: Arc<dyn Engine>,
    metrics: Arc<Metrics>,
    busy: Arc<AtomicUsize>,
    /// When the canary last passed.
    last_proof: Mutex<Option<Instant>>,
}

impl ModelCanary {
    async fn check(self: &Arc<Self>) -> CheckResult {
        if self.busy.load(Ordering::Acquire) > 0 && self.proven_lately() {
            return Ok(CheckDetail::noted("busy with a design"));
        }
        let canary = Arc::clone(self);
        blocking(move || canary.run()).await
    }

    /// A running design needs every core, and is itself a sign that a proven model answers.
    fn proven_lately(&self) -> bool {
        self.last_proof().is_some_and(|proof| proof.elapsed() < BUSY_LIMIT)
    }

    fn run(&self) -> CheckResult {
        let failed =
            |failure: crate::EngineFailure| CheckFailure::new("broken").caused_by(failure.internal);
        let canary = self.engine.canary().map_err(failed)?;
        self.metrics.canary_deviation.set(canary.deviation);
        if !canary.matched {
            let cause = format!("the canary's answer deviates by {}", canary.deviation);
            return Err(CheckFailure::new("wrong answer").caused_by(cause));
        }
        *self.last_proof() = Some(Instant::now());
        Ok(CheckDetail::ok())
    }

    fn last_proof(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.last_proof.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A GPU that is configured answers.
fn prove_gpu(status: GpuStatus) -> CheckResult {
    match status {
        GpuStatus { polls: 0, .. } => Err(CheckFailure::new("not polled yet")),
        GpuStatus { driver: false, .. } => Err(CheckFailure::new("no driver")),
        GpuStatus { devices: 0, .. } => Err(CheckFailure::new("no device")),
        GpuStatus { devices, .. } => Ok(CheckDetail::noted(format!("{devices} devices"))),
    }
}
