//! From a configuration to a running service and to its orderly end.

use crate::audit::AuditLog;
use crate::config::Config;
use crate::engine::Engine;
use crate::flight::Flight;
use crate::jobs::{Crew, JobQueue, Workers};
use crate::listen::{self, Bound, Role, ServeOptions};
use crate::log_fields::{LOG_FIELDS, LOGGERS};
use crate::metrics::{Metrics, StartFigures};
use crate::objectives::Objectives;
use crate::quality::{self, Quality};
use crate::store::{JobStore, ScanFiles, now_ms};
use crate::{App, ServerError, Stop, catalogue, checks, problem, reload, router};
use axum::Router;
use microdiff_design::Designer;
use microdiff_telemetry::gpu::GpuMonitor;
use microdiff_telemetry::health::Health;
use microdiff_telemetry::http::{HttpLayer, HttpOptions, active_connections};
use microdiff_telemetry::http::{health_routes, metrics_routes};
use microdiff_telemetry::logs::LogOptions;
use microdiff_telemetry::traces::TraceOptions;
use microdiff_telemetry::{Guard, Telemetry, TelemetryOptions};
use serde_json::json;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use tokio::signal::unix::Signal;
use tokio::task::JoinSet;

/// Name of the service in spans and log lines.
const SERVICE_NAME: &str = "microdiff-matdesign";
/// Connections of each listener but the API's.
const SIDE_CONNECTIONS: usize = 64;
/// Records of ended jobs are swept this often.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// The audit log is given this long to be written at the end.
const AUDIT_CLOSE: Duration = Duration::from_secs(5);
/// Job counts are read this often.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// What [`serve`] is given beside its configuration.
pub struct Parts {
    /// Answers the designs.
    pub engine: Arc<dyn Engine>,
    /// Time it took to load.
    pub model_load: Duration,
    /// Where everything is recorded.
    pub telemetry: Telemetry,
    /// The signals at which settings are read again; none for a service within another process.
    pub hangups: Option<Signal>,
}

/// Where the service listens, told once every socket accepts and the model is loaded. Whether it
/// is *ready* (the first known-answer canary has passed) is for `/readyz` to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// Address of the API.
    pub api: SocketAddr,
    /// Address of `/metrics`.
    pub metrics: SocketAddr,
    /// Address of `/gpu-metrics`.
    pub gpu: SocketAddr,
    /// Address of the admin listener.
    pub admin: SocketAddr,
}

impl Ready {
    /// The ready line: one JSON object, with a line feed.
    #[must_use]
    pub fn line(&self) -> String {
        let line = json!({
            "ready": true,
            "api": self.api,
            "metrics": self.metrics,
            "gpu": self.gpu,
            "admin": self.admin,
            "pid": std::process::id(),
        });
        format!("{line}\n")
    }

    fn of(sockets: &[Bound]) -> Option<Self> {
        let find = |role| {
            sockets.iter().find(|bound| bound.roles.contains(&role)).map(|bound| bound.address)
        };
        Some(Self {
            api: find(Role::Api)?,
            metrics: find(Role::Metrics)?,
            gpu: find(Role::Gpu)?,
            admin: find(Role::Admin)?,
        })
    }
}

/// Runs the service until SIGTERM or SIGINT: starts telemetry, loads the model, serves, drains,
/// flushes. `on_ready` is told the addresses; it should print [`Ready::line`] on stdout.
///
/// After the drain's deadline a design may still be computing in a thread of its own; its job is
/// back in the queue, and the caller should let the process end.
///
/// # Errors
/// When the service cannot start, or a signal handler cannot be installed.
pub async fn run(config: Config, on_ready: impl FnOnce(&Ready)) -> Result<(), ServerError> {
    config.check()?;
    let (telemetry, guard) = telemetry(&config)?;
    crate::flight::write_on_panic();
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    let hangups = reload::hangups()?;
    let outcome = load_and_serve(config, (telemetry, hangups), stop, on_ready).await;
    // The flush waits for other threads, and a collector may be slow.
    let flushed = tokio::task::spawn_blocking(|| guard.shutdown(Duration::from_secs(3)));
    let _ = flushed.await;
    outcome
}

async fn load_and_serve(
    config: Config,
    (telemetry, hangups): (Telemetry, Signal),
    stop: Stop,
    on_ready: impl FnOnce(&Ready),
) -> Result<(), ServerError> {
    let started = Instant::now();
    let directory = config.model_dir.clone();
    let load = move || match directory {
        Some(directory) => Designer::open(&directory),
        None => Designer::bundled(),
    };
    let loaded = tokio::task::spawn_blocking(load).await;
    let designer = loaded
        .map_err(|error| ServerError::Model(error.to_string()))?
        .map_err(|error| ServerError::Model(error.to_string()))?;
    let parts = Parts {
        engine: Arc::new(designer),
        model_load: started.elapsed(),
        telemetry,
        hangups: Some(hangups),
    };
    serve(config, parts, stop, on_ready).await
}

/// Starts the process's telemetry as `config` says.
///
/// # Errors
/// When a setting or an `OTEL_*` variable cannot be used, or logging is already set up.
pub fn telemetry(config: &Config) -> Result<(Telemetry, Guard), ServerError> {
    Ok(Telemetry::start(telemetry_options(config)?)?)
}

/// The telemetry settings that `config` and the `OTEL_*` variables make.
///
/// # Errors
/// When a setting or a variable cannot be used.
pub fn telemetry_options(config: &Config) -> Result<TelemetryOptions, ServerError> {
    let version = env!("CARGO_PKG_VERSION");
    let mut options =
        TelemetryOptions::new(SERVICE_NAME, version, catalogue::PREFIX, catalogue::METRICS);
    options.logs = LogOptions {
        fields: LOG_FIELDS,
        loggers: LOGGERS.iter().map(|l| (l.target.to_owned(), l.name.to_owned())).collect(),
        ..config.log.options()?
    };
    options.traces = config.traces.over(TraceOptions::from_env());
    options.redaction.shown_dirs = vec![config.data_dir.clone()];
    options.redaction.public_paths = router::public_paths();
    Ok(options)
}

/// Serves until `stop` is asked to drain, then drains. Returns when all is stopped.
///
/// # Errors
/// When a socket, the data directory or the database cannot be had.
pub async fn serve(
    config: Config,
    mut parts: Parts,
    stop: Stop,
    on_ready: impl FnOnce(&Ready),
) -> Result<(), ServerError> {
    config.check()?;
    let hangups = parts.hangups.take();
    // First, because a taken port is the commonest fault and should cost nothing.
    let sockets = listen::bind(&config.listen).await?;
    let (app, busy) = open(config, parts, stop.clone()).await?;
    let mut workers = start_workers(&app, Arc::clone(&busy));
    let health = checks::start(&app, Arc::clone(&busy));
    let mut tasks = JoinSet::new();
    let ready = Ready::of(&sockets);
    for bound in sockets {
        let (routes, options) = plan(&bound, &app, &health);
        tasks.spawn(listen::serve(bound.listener, routes, options, stop.clone()));
    }
    let mut upkeep = JoinSet::new();
    upkeep.spawn(keep_house(Arc::clone(&app)));
    upkeep.spawn(Arc::clone(&app.objectives).keep());
    if let Some(hangups) = hangups {
        upkeep.spawn(reload::follow(hangups, Arc::clone(&app)));
    }
    health.set_ready();
    let evaluator = quality::start(&app, health.clone(), busy);
    if let Some(ready) = ready {
        tracing::info!(api = %ready.api, metrics = %ready.metrics, "serving");
        on_ready(&ready);
    }
    stop.draining().await;
    health.set_draining();
    drain(&app, &mut workers, &mut tasks).await;
    upkeep.abort_all();
    evaluator.abort();
    app.objectives.save();
    app.flight.write("drain");
    app.queue.store().close().await;
    close_audit(&app).await;
    app.files.release();
    tracing::info!("stopped");
    Ok(())
}

/// Opens the data directory and puts right what the last process left.
async fn open(
    config: Config,
    parts: Parts,
    stop: Stop,
) -> Result<(Arc<App>, Arc<AtomicUsize>), ServerError> {
    let files = ScanFiles::open(&config.data_dir)?;
    let store = JobStore::open(&files.database()).await?;
    let figures = StartFigures {
        model_load: parts.model_load,
        queue_capacity: config.jobs.queue_length,
        workers: config.jobs.workers,
    };
    let registry = parts.telemetry.registry();
    let metrics = Arc::new(Metrics::new(registry, &*parts.engine, &figures));
    let quality = Arc::new(Quality::new(registry, &parts.engine, &config.quality));
    // The lock of the directory says that no other process works on these jobs.
    let orphans = store.requeue_orphans().await?;
    if orphans > 0 {
        metrics.requeued_restart.add(orphans);
        tracing::warn!(jobs = orphans, "unfinished jobs of the last process are queued again");
    }
    let keep: HashSet<String> = store.scans_in_use().await?.into_iter().collect();
    if !config.jobs.keep_scans
        && let Err(error) = files.sweep(&keep)
    {
        tracing::warn!(error = %error, "cannot remove scans that nobody needs");
    }
    let model_digest = parts.engine.model().digest;
    let app = App {
        audit: AuditLog::open(&config, &parts.telemetry, &model_digest)?,
        flight: Flight::new(&config, model_digest, &parts.telemetry),
        objectives: Objectives::open(&config.slo, files.root(), &parts.telemetry),
        queue: Arc::new(JobQueue::new(store, config.jobs.clone())),
        files,
        engine: parts.engine,
        metrics,
        quality,
        telemetry: parts.telemetry,
        gpu: GpuMonitor::start(catalogue::PREFIX, config.gpu.options())?,
        uploads: tokio::sync::Semaphore::new(config.limits.uploads),
        stop,
        config,
    };
    count_jobs(&app).await;
    Ok((Arc::new(app), Arc::new(AtomicUsize::new(0))))
}

fn start_workers(app: &Arc<App>, busy: Arc<AtomicUsize>) -> Workers {
    let crew = Crew {
        queue: Arc::clone(&app.queue),
        files: app.files.clone(),
        engine: Arc::clone(&app.engine),
        metrics: Arc::clone(&app.metrics),
        quality: Arc::clone(&app.quality),
        tracer: app.telemetry.tracer().clone(),
        flight: Arc::clone(&app.flight),
        objectives: Arc::clone(&app.objectives),
        stop: app.stop.clone(),
        audit: app.audit.clone(),
        keep_scans: app.config.jobs.keep_scans,
        busy,
    };
    Workers::start(&Arc::new(crew), app.config.jobs.workers)
}

/// The routes and limits of one socket.
fn plan(bound: &Bound, app: &Arc<App>, health: &Health) -> (Router, ServeOptions) {
    let registry = app.telemetry.registry();
    let mut routes = Router::new();
    let mut options = ServeOptions {
        connections: SIDE_CONNECTIONS,
        header_read: app.config.limits.header_read(),
        audit: app.audit.clone(),
        gauge: None,
    };
    for role in &bound.roles {
        routes = match role {
            Role::Api => {
                options.connections = app.config.limits.connections;
                options.gauge = Some(active_connections(registry));
                routes.merge(router::api(app)).merge(health_routes(health).with_state(()))
            }
            Role::Metrics => routes.merge(metrics_routes(registry, "/metrics").with_state(())),
            Role::Gpu => {
                routes.merge(metrics_routes(app.gpu.registry(), "/gpu-metrics").with_state(()))
            }
            Role::Admin => routes.merge(router::admin(app, bound.roles.contains(&Role::Api))),
        };
    }
    let known = HttpOptions { error_types: problem::ERROR_TYPES, ..HttpOptions::default() };
    let layer = HttpLayer::new(&app.telemetry, known);
    for (method, endpoint) in bound.roles.iter().flat_map(|role| router::endpoints(*role)) {
        layer.declare(method, endpoint);
    }
    (router::finish(routes, app).layer(layer), options)
}

/// Writes what the audit log still holds.
async fn close_audit(app: &App) {
    let audit = app.audit.clone();
    let closed = tokio::task::spawn_blocking(move || audit.close(AUDIT_CLOSE)).await;
    if !matches!(closed, Ok(true)) {
        tracing::error!("the audit log could not be closed in time");
    }
}

/// Takes no new work, lets running jobs end or hands them back, then closes the sockets.
async fn drain(app: &Arc<App>, workers: &mut Workers, tasks: &mut JoinSet<()>) {
    let deadline = app.config.drain_deadline();
    tracing::info!(deadline_seconds = deadline.as_secs(), "draining");
    // Open requests get what is left, at least a fifth.
    let begun = Instant::now();
    if tokio::time::timeout(deadline * 4 / 5, workers.ended()).await.is_err() {
        app.stop.abandon();
        let _ = tokio::time::timeout(deadline / 10, workers.ended()).await;
    }
    app.stop.close();
    let left = deadline.saturating_sub(begun.elapsed());
    let closed = tokio::time::timeout(left, async { while tasks.join_next().await.is_some() {} });
    if closed.await.is_err() {
        tracing::warn!("some requests were still open at the end of the drain");
        tasks.abort_all();
    }
}

/// Keeps the gauges that are read from the database fresh, and removes old records.
async fn keep_house(app: Arc<App>) {
    let mut count = tokio::time::interval(COUNT_EVERY);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            _ = count.tick() => count_jobs(&app).await,
            _ = sweep.tick() => remove_old(&app).await,
        }
    }
}

async fn count_jobs(app: &App) {
    match app.queue.store().counts().await {
        Ok(counts) => app.metrics.set_jobs(counts),
        Err(error) => tracing::warn!(error = %error, "cannot count the jobs"),
    }
    let (open, idle) = app.queue.store().connections();
    app.metrics.connections_open.set(open as f64);
    app.metrics.connections_idle.set(idle as f64);
    if let Err(error) = checks::show_free(&app.files, &app.metrics) {
        tracing::warn!(error = %error, "cannot read the free space");
    }
}

async fn remove_old(app: &App) {
    let days = i64::try_from(app.config.jobs.retention_days).unwrap_or(0);
    if days == 0 {
        return;
    }
    let before = now_ms().saturating_sub(days.saturating_mul(86_400_000));
    match app.queue.store().remove_ended_before(before).await {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "records of old jobs removed"),
        Err(error) => tracing::warn!(error = %error, "cannot remove old jobs"),
    }
}

/// The first signal drains, the second gives running jobs back at once.
fn stop_on_signals(stop: &Stop) -> Result<(), ServerError> {
    use tokio::signal::unix::{SignalKind, signal};
    let fault = |source| ServerError::System { what: "signal handler", source };
    let mut terminate = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    let stop = stop.clone();
    tokio::spawn(async move {
        for round in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if round == 0 {
                stop.drain();
            } else {
                stop.abandon();
            }
        }
    });
    Ok(())
}
