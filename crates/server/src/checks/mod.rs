//! The four health checks, each a proof rather than a look at a flag.

mod model;

use crate::config::{CheckConfig, CheckPolicy, HealthConfig};
use crate::metrics::Metrics;
use crate::store::ScanFiles;
use crate::{App, ServerError};
use microdiff_telemetry::gpu::{GpuMonitor, GpuStatus};
use microdiff_telemetry::health::{CheckDetail, CheckFailure, CheckOptions, Health};
use model::ModelCheck;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

type CheckResult = Result<CheckDetail, CheckFailure>;

/// Starts the checks of `app`.
pub(crate) fn start(app: &Arc<App>, busy: Arc<AtomicUsize>) -> Health {
    let config = &app.config.health;
    let store = app.queue.store().clone();
    let database = move || {
        let store = store.clone();
        async move {
            let answer = store.ping().await;
            answer.map(|()| CheckDetail::ok()).map_err(|error| broken_database(&error))
        }
    };
    let storage = {
        let (app, alone) = (Arc::clone(app), Alone::default());
        move || {
            let app = Arc::clone(&app);
            alone.run(move || prove_storage(&app))
        }
    };
    let model = {
        let (check, alone) = (Arc::new(ModelCheck::new(app, busy)), Alone::default());
        move || {
            let check = Arc::clone(&check);
            alone.run(move || check.run())
        }
    };
    let gpu = {
        let app = Arc::clone(app);
        move || {
            let app = Arc::clone(&app);
            async move { prove_gpu(polled(&app.gpu).await) }
        }
    };
    let [database_name, gpu_name, model_name, storage_name] = HealthConfig::CHECKS;
    Health::builder(&app.telemetry)
        .check(options(database_name, &config.database), database)
        .check(options(gpu_name, &config.gpu), gpu)
        .check(options(model_name, &config.model), model)
        .check(options(storage_name, &config.storage), storage)
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

/// Runs a blocking check in a thread of its own, one at a time: a check that hangs, as on a dead
/// network disk, must not take one more thread at every turn.
#[derive(Default)]
struct Alone(Arc<AtomicBool>);

/// Gives the turn back, also after a panic.
struct Turn(Arc<AtomicBool>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Alone {
    fn run<F>(&self, check: F) -> impl Future<Output = CheckResult> + Send + use<F>
    where
        F: FnOnce() -> CheckResult + Send + 'static,
    {
        let taken = self.0.swap(true, Ordering::AcqRel);
        let turn = (!taken).then(|| Turn(Arc::clone(&self.0)));
        async move {
            let Some(turn) = turn else {
                let cause = "an earlier run has passed its deadline and not ended";
                return Err(CheckFailure::new("still running").caused_by(cause));
            };
            let task = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                check()
            });
            task.await.unwrap_or_else(|error| Err(CheckFailure::new("panic").caused_by(error)))
        }
    }
}

fn broken_database(error: &ServerError) -> CheckFailure {
    let reason = match error {
        ServerError::Displaced { .. } => "database file removed",
        ServerError::Record { .. } => "schema not current",
        error if error.is_locked() => "locked",
        _ => "no round trip",
    };
    CheckFailure::new(reason).caused_by(error)
}

/// Writes and reads back in the data directory, reads the bundle's directory, looks at the room.
fn prove_storage(app: &App) -> CheckResult {
    let failed = |reason: &'static str| {
        move |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                CheckFailure::new("no free space").caused_by(error)
            }
            _ => CheckFailure::new(reason).caused_by(error),
        }
    };
    app.files.prove_writable().map_err(failed("data directory not writable"))?;
    if let Some(directory) = &app.config.model_dir {
        read_every_file(directory).map_err(failed("model directory not readable"))?;
    }
    if app.audit.is_failing() {
        return Err(CheckFailure::new("audit log not writable"));
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

/// What the GPUs were last seen to be; awaits the first poll, which may take seconds.
async fn polled(gpu: &GpuMonitor) -> GpuStatus {
    loop {
        let status = gpu.status();
        if status.polls > 0 || status.overdue {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A GPU that is configured answers. One lost of several is a reason to look, not to stop.
fn prove_gpu(status: GpuStatus) -> CheckResult {
    match status {
        GpuStatus { overdue: true, .. } => Err(CheckFailure::new("driver hangs")),
        GpuStatus { driver: false, .. } => Err(CheckFailure::new("no driver")),
        GpuStatus { devices: 0, lost: 0, .. } => Err(CheckFailure::new("no device")),
        GpuStatus { devices: 0, .. } => Err(CheckFailure::new("every device lost")),
        GpuStatus { devices, lost: 0, .. } => Ok(CheckDetail::noted(format!("{devices} devices"))),
        GpuStatus { devices, lost, .. } => {
            let all = devices + lost;
            Ok(CheckDetail::degraded(format!("{lost} of {all} devices lost")))
        }
    }
}
