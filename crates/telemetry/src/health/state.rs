//! The registry of checks: running them, remembering what they said.

use std::future::Future;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::check::{CheckFailure, CheckOptions, CheckResult, CheckRun, Policy};
use super::watchdog::Heart;
use crate::metrics::{Counter, Gauge, MetricSpec, Registry};
use crate::redaction::Scrubber;
use crate::{Telemetry, builtin};

/// Collects checks before they start.
pub struct HealthBuilder {
    registry: Registry,
    scrubber: Scrubber,
    service: String,
    version: String,
    watchdog: Duration,
    retry_after: Duration,
    checks: Vec<(CheckOptions, CheckRun)>,
}

impl HealthBuilder {
    /// Adds a check. It must not block its thread: what does belongs in `spawn_blocking`.
    #[must_use]
    pub fn check<F, R>(mut self, options: CheckOptions, run: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = CheckResult> + Send + 'static,
    {
        self.checks.push((options, Box::new(move || Box::pin(run()))));
        self
    }

    /// Liveness fails when the runtime has not run a trivial task for this long (30 s by default).
    #[must_use]
    pub const fn watchdog(mut self, limit: Duration) -> Self {
        self.watchdog = limit;
        self
    }

    /// What `Retry-After` says on a 503 (5 s by default).
    #[must_use]
    pub const fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = after;
        self
    }

    /// Starts the checks on the current `tokio` runtime.
    #[must_use]
    pub fn start(self) -> Health {
        let mut runs = Vec::new();
        let mut checks = Vec::new();
        for (options, run) in self.checks {
            checks.push(Check::new(options, &self.registry));
            runs.push(run);
        }
        let waiting = checks.iter().filter(|c| c.options.policy != Policy::Disabled).count();
        let inner = Arc::new(Inner {
            service: self.service,
            version: self.version,
            scrubber: self.scrubber,
            retry_after: self.retry_after,
            phase: AtomicU8::new(LOADING),
            heart: Heart::new(self.watchdog),
            checks,
            unchecked: watch::Sender::new(waiting),
        });
        let mut tasks = Vec::new();
        for (index, run) in runs.into_iter().enumerate() {
            let inner = Arc::clone(&inner);
            tasks.push(tokio::spawn(async move { inner.keep_running(index, &run).await }));
        }
        let heart = Arc::clone(&inner);
        tasks.push(tokio::spawn(async move { heart.heart.keep_beating().await }));
        let stalls =
            self.registry.counter(&builtin::HEALTH_STALLS.prefixed(self.registry.prefix()), &[]);
        let tasks = Tasks {
            handles: tasks.iter().map(tokio::task::JoinHandle::abort_handle).collect(),
            _watchdog: watch(&inner, stalls),
        };
        Health { inner, _tasks: Arc::new(tasks) }
    }
}

/// Starts the watchdog's thread, which ends with the sender. Without a thread liveness still
/// answers; only the line in the log is missing.
fn watch(inner: &Arc<Inner>, stalls: Counter) -> mpsc::Sender<()> {
    let (alive, stopped) = mpsc::channel();
    let inner = Arc::clone(inner);
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    let thread = std::thread::Builder::new().name("health-watchdog".to_owned());
    let spawned = thread.spawn(move || {
        tracing::dispatcher::with_default(&dispatch, || inner.heart.watch(&stopped, &stalls));
    });
    if let Err(error) = spawned {
        tracing::warn!(error = %error, "cannot start the watchdog of the runtime");
    }
    alive
}

/// Ends the background tasks with the last [`Health`].
struct Tasks {
    handles: Vec<AbortHandle>,
    _watchdog: mpsc::Sender<()>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.handles.iter().for_each(AbortHandle::abort);
    }
}

/// The health of the service. Cheap to clone; the checks end with the last clone.
#[derive(Clone)]
pub struct Health {
    pub(super) inner: Arc<Inner>,
    _tasks: Arc<Tasks>,
}

pub(super) const LOADING: u8 = 0;
pub(super) const READY: u8 = 1;
pub(super) const DRAINING: u8 = 2;

pub(super) struct Inner {
    pub(super) service: String,
    pub(super) version: String,
    pub(super) scrubber: Scrubber,
    pub(super) retry_after: Duration,
    phase: AtomicU8,
    heart: Heart,
    pub(super) checks: Vec<Check>,
    unchecked: watch::Sender<usize>,
}

pub(super) struct Check {
    pub(super) options: CheckOptions,
    memory: Mutex<Memory>,
    status: Gauge,
    duration: Gauge,
    /// A disabled check has none: it would be as old as the epoch, and pass for one that no longer
    /// runs.
    last_success: Option<Gauge>,
    /// In the order of [`RESULTS`].
    runs: [Counter; RESULTS.len()],
}

/// How a run can end.
const RESULTS: [&str; 4] = ["ok", "degraded", "failed", "deadline"];

/// What a check has said so far.
#[derive(Clone, Default)]
pub(super) struct Memory {
    /// The state in force, after hysteresis; `None` before the first result.
    pub(super) good: Option<bool>,
    /// The last successful result was a warning.
    pub(super) degraded: bool,
    /// Text for the detailed answer.
    pub(super) note: Option<String>,
    /// Equal results in a row.
    pub(super) streak: u32,
    last_ok: bool,
    pub(super) ran_at: Option<SystemTime>,
    pub(super) succeeded_at: Option<SystemTime>,
    pub(super) took: Duration,
}

impl Memory {
    /// `ok`, `degraded`, `failed` or, before the first result, `unknown`.
    pub(super) fn word(&self) -> &'static str {
        match self.good {
            None => "unknown",
            Some(false) => "failed",
            Some(true) if self.degraded => "degraded",
            Some(true) => "ok",
        }
    }
}

/// A state that gave way to another.
struct Turn {
    from: &'static str,
    to: &'static str,
}

impl Check {
    fn new(options: CheckOptions, registry: &Registry) -> Self {
        let name = options.name.clone();
        let own = |spec: &MetricSpec| spec.clone().prefixed(registry.prefix());
        let gauge = |spec: &MetricSpec| registry.gauge(&own(spec), &[&name]);
        let status = gauge(&builtin::HEALTH_STATUS);
        status.set(if options.policy == Policy::Disabled { 1.0 } else { 0.0 });
        Self {
            status,
            duration: gauge(&builtin::HEALTH_DURATION),
            last_success: (options.policy != Policy::Disabled)
                .then(|| gauge(&builtin::HEALTH_LAST_SUCCESS)),
            runs: RESULTS
                .map(|result| registry.counter(&own(&builtin::HEALTH_RUNS), &[&name, result])),
            options,
            memory: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn memory(&self) -> Memory {
        self.lock().clone()
    }

    /// Takes in a result and says how the state in force turned, if it did.
    fn remember(&self, result: &CheckResult, took: Duration, at: SystemTime) -> Option<Turn> {
        let mut memory = self.lock();
        let from = memory.word();
        let ok = result.is_ok();
        let same = memory.ran_at.is_some() && memory.last_ok == ok;
        memory.streak = if same { memory.streak.saturating_add(1) } else { 1 };
        memory.last_ok = ok;
        memory.ran_at = Some(at);
        memory.took = took;
        if ok {
            memory.succeeded_at = Some(at);
        }
        let needed = if ok { self.options.successes } else { self.options.failures };
        if memory.good.is_none() || memory.streak >= needed {
            memory.good = Some(ok);
        }
        // The note belongs to the state in force, not to a result that did not turn it.
        if memory.good == Some(ok) {
            (memory.degraded, memory.note) = match result {
                Ok(detail) => (detail.degraded, detail.note.clone()),
                Err(failure) => (false, Some(failure.reason.clone())),
            };
        }
        let to = memory.word();
        self.status.set(match to {
            "ok" => 1.0,
            "degraded" => 0.5,
            _ => 0.0,
        });
        self.duration.set(took.as_secs_f64());
        if ok && let Some(last_success) = &self.last_success {
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            last_success.set(since.as_secs_f64());
        }
        (from != to).then_some(Turn { from, to })
    }
}

impl Inner {
    async fn keep_running(&self, index: usize, run: &CheckRun) {
        let Some(check) = self.checks.get(index) else { return };
        if check.options.policy == Policy::Disabled {
            return;
        }
        loop {
            let first = check.lock().ran_at.is_none();
            self.run_once(check, run).await;
            if first {
                self.unchecked.send_modify(|left| *left = left.saturating_sub(1));
            }
            tokio::time::sleep(check.options.every).await;
        }
    }

    async fn run_once(&self, check: &Check, run: &CheckRun) {
        let started = Instant::now();
        // A task of its own: a check that panics fails, and the next one runs.
        let task = tokio::spawn(run());
        let abort = AbortOnDrop(task.abort_handle());
        let outcome = tokio::time::timeout(check.options.deadline, task).await;
        drop(abort);
        let (result, kind) = match outcome {
            Ok(Ok(Ok(detail))) => (Ok(detail.clone()), usize::from(detail.degraded)),
            Ok(Ok(Err(failure))) => (Err(failure), 2),
            Ok(Err(panic)) => (Err(CheckFailure::new("panic").caused_by(panic)), 2),
            Err(_) => (Err(CheckFailure::new("deadline")), 3),
        };
        check.runs[kind].inc();
        let turn = check.remember(&result, started.elapsed(), SystemTime::now());
        report(&check.options, &result, turn);
    }

    pub(super) fn stalled(&self) -> bool {
        self.heart.stalled()
    }

    pub(super) fn phase(&self) -> u8 {
        self.phase.load(Ordering::Acquire)
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One line when a state turns; what does not turn it is for whoever debugs.
fn report(options: &CheckOptions, result: &CheckResult, turn: Option<Turn>) {
    let (reason, cause) = match result {
        Ok(detail) => (detail.note.as_deref(), detail.cause.as_deref()),
        Err(failure) => (Some(failure.reason.as_str()), failure.cause.as_deref()),
    };
    let reason = reason.unwrap_or_default();
    match turn {
        None => {
            let (check, success) = (options.name.as_str(), result.is_ok());
            tracing::debug!(check, reason, success, "health check ran");
        }
        Some(Turn { from, to: "ok" }) => {
            let (check, policy) = (options.name.as_str(), options.policy.as_str());
            tracing::info!(check, policy, from, to = "ok", reason, success = true, "{TURNED}");
        }
        Some(turn) => warn(options, &turn, reason, cause.unwrap_or(reason)),
    }
}

/// What each turn is told as.
const TURNED: &str = "health check turned";

fn warn(options: &CheckOptions, turn: &Turn, reason: &str, cause: &str) {
    let (check, policy) = (options.name.as_str(), options.policy.as_str());
    let Turn { from, to } = *turn;
    let success = to != "failed";
    if !success && options.policy == Policy::Required {
        tracing::error!(
            check,
            policy,
            from,
            to,
            reason,
            error.message = cause,
            success,
            "{TURNED}"
        );
    } else {
        tracing::warn!(check, policy, from, to, reason, error.message = cause, success, "{TURNED}");
    }
}

impl Health {
    /// Collects checks for a service with this telemetry.
    #[must_use]
    pub fn builder(telemetry: &Telemetry) -> HealthBuilder {
        HealthBuilder {
            registry: telemetry.registry().clone(),
            scrubber: telemetry.scrubber().clone(),
            service: telemetry.service_name().to_owned(),
            version: telemetry.version().to_owned(),
            watchdog: Duration::from_secs(30),
            retry_after: Duration::from_secs(5),
            checks: Vec::new(),
        }
    }

    /// Loading is over: from here on readiness depends on the checks.
    pub fn set_ready(&self) {
        // Draining is final.
        let _ =
            self.inner.phase.compare_exchange(LOADING, READY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The service is going down: not ready any more, alive until it is gone.
    pub fn set_draining(&self) {
        self.inner.phase.store(DRAINING, Ordering::Release);
    }

    /// Waits until every check has had its first result; `false` when `deadline` came first.
    pub async fn checked_once(&self, deadline: Duration) -> bool {
        let mut unchecked = self.inner.unchecked.subscribe();
        let all = unchecked.wait_for(|left| *left == 0);
        matches!(tokio::time::timeout(deadline, all).await, Ok(Ok(_)))
    }
}
