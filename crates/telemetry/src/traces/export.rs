//! The thread that sends spans to the collector, and the queue in front of it.
//!
//! The SDK's batch processor drops spans without telling how many; this one has the same bounds and
//! counts what was exported, dropped and lost. It speaks of a collector in trouble once when that
//! begins and once when it ends, not once a batch. The encoding, the protocol and the retries are
//! the SDK's. A collector that rejects a part of a batch (partial success) is not told apart from
//! one that takes all of it: the exporter does not say.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::Dispatch;

use super::options::TraceOptions;
use super::record::{Finisher, Record};
use super::transport::Transport;
use crate::metrics::{Counter, Gauge, MetricSpec, Registry};
use crate::{TelemetryError, builtin};

pub(super) struct Exporter {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    sent: Condvar,
    queue_spans: usize,
    batch_spans: usize,
    delay: Duration,
    dropped: Counter,
    exported: Counter,
    failed: Counter,
    exports_ok: Counter,
    exports_failed: Counter,
    up: Gauge,
    went_down: Counter,
    came_back: Counter,
    log: OnceLock<Dispatch>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Box<Record>>,
    accepted: u64,
    handled: u64,
    /// Turned away since the last batch was taken.
    turned_away: u64,
    hurry: bool,
    closed: bool,
}

impl Shared {
    fn new(options: &TraceOptions, registry: &Registry) -> Self {
        let own = |spec: &MetricSpec| spec.clone().prefixed(registry.prefix());
        let counter = |spec: &MetricSpec, label| registry.counter(&own(spec), &[label]);
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            sent: Condvar::new(),
            queue_spans: options.queue_spans.max(1),
            batch_spans: options.batch_spans.clamp(1, options.queue_spans.max(1)),
            delay: options.delay,
            dropped: counter(&builtin::SPANS, "dropped"),
            exported: counter(&builtin::SPANS, "exported"),
            failed: counter(&builtin::SPANS, "failed"),
            exports_ok: counter(&builtin::SPAN_EXPORTS, "ok"),
            exports_failed: counter(&builtin::SPAN_EXPORTS, "failed"),
            up: registry.gauge(&own(&builtin::COLLECTOR_UP), &[]),
            went_down: counter(&builtin::COLLECTOR_CHANGES, "down"),
            came_back: counter(&builtin::COLLECTOR_CHANGES, "up"),
            log: OnceLock::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Speaks to the log this telemetry writes, not to whatever the thread would find.
    fn say(&self, line: impl FnOnce()) {
        if let Some(log) = self.log.get() {
            tracing::dispatcher::with_default(log, line);
        }
    }
}

impl Exporter {
    pub(super) fn start(
        options: &TraceOptions,
        transport: Transport,
        finisher: Finisher,
        registry: &Registry,
    ) -> Result<Self, TelemetryError> {
        let shared = Arc::new(Shared::new(options, registry));
        let worker = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("span-exporter".to_owned())
            .spawn(move || run(&worker, transport, finisher))
            .map_err(|source| TelemetryError::System { what: "span exporter thread", source })?;
        Ok(Self { shared })
    }

    pub(super) fn speak_to(&self, log: &Dispatch) {
        // Set once, when telemetry starts.
        let _ = self.shared.log.set(log.clone());
    }

    /// Queues a span; without room it is dropped and counted.
    pub(super) fn send(&self, span: Box<Record>) {
        let shared = &self.shared;
        let mut state = shared.lock();
        if state.closed || state.queue.len() >= shared.queue_spans {
            state.turned_away += 1;
            drop(state);
            shared.dropped.inc();
            return;
        }
        state.queue.push_back(span);
        state.accepted += 1;
        // The first span starts the delay, a full batch ends it.
        let wake = state.queue.len() == 1 || state.queue.len() == shared.batch_spans;
        drop(state);
        if wake {
            shared.wake.notify_one();
        }
    }

    pub(super) fn flush(&self, deadline: Duration) -> bool {
        self.unsent_after(deadline) == 0
    }

    /// Waits for what is queued now, and says how much of it is still unsent.
    fn unsent_after(&self, deadline: Duration) -> u64 {
        let end = Instant::now() + deadline;
        let mut state = self.shared.lock();
        let target = state.accepted;
        state.hurry = true;
        self.shared.wake.notify_one();
        while state.handled < target {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return target - state.handled;
            }
            let waited = self.shared.sent.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        0
    }

    pub(super) fn close(&self, deadline: Duration) -> bool {
        self.shared.lock().closed = true;
        let unsent = self.unsent_after(deadline);
        if unsent > 0 {
            self.shared
                .say(|| tracing::warn!(spans = unsent, "stopped before all spans were sent"));
        }
        unsent == 0
    }
}

/// Takes the next batch, after at most the delay, and how many spans were turned away since the one
/// before; `None` when closed and empty.
fn next_batch(shared: &Shared) -> Option<(VecDeque<Box<Record>>, u64)> {
    let mut state = shared.lock();
    while state.queue.is_empty() && !state.closed {
        state.hurry = false;
        state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    let full = shared.batch_spans;
    state = shared
        .wake
        .wait_timeout_while(state, shared.delay, |state| {
            !state.hurry && !state.closed && state.queue.len() < full
        })
        .unwrap_or_else(PoisonError::into_inner)
        .0;
    let count = state.queue.len().min(full);
    if count == 0 {
        return None;
    }
    let turned_away = std::mem::take(&mut state.turned_away);
    Some((state.queue.drain(..count).collect(), turned_away))
}

fn run(shared: &Shared, transport: Transport, mut finisher: Finisher) {
    let mut trouble = Trouble::default();
    while let Some((batch, turned_away)) = next_batch(shared) {
        let spans = batch.len() as u64;
        let result = transport.export(finisher.finish(batch));
        let (total, exports) = match &result {
            Ok(()) => (&shared.exported, &shared.exports_ok),
            Err(_) => (&shared.failed, &shared.exports_failed),
        };
        total.add(spans);
        exports.inc();
        trouble.tell(shared, &result, (spans, turned_away));
        shared.lock().handled += spans;
        shared.sent.notify_all();
    }
    transport.shut_down();
}

/// Whether spans are being lost, for a line in the log when that changes.
#[derive(Default)]
struct Trouble {
    lost: Option<u64>,
}

impl Trouble {
    /// Takes in the result of one batch of so many spans, before which so many were turned away.
    fn tell(
        &mut self,
        shared: &Shared,
        result: &Result<(), String>,
        (spans, turned_away): (u64, u64),
    ) {
        shared.up.set(f64::from(u8::from(result.is_ok())));
        let lost = turned_away + if result.is_err() { spans } else { 0 };
        match (&mut self.lost, lost) {
            (None, 0) => {}
            (None, lost) => {
                self.lost = Some(lost);
                shared.went_down.inc();
                let reason = result.as_ref().err().map_or("the queue was full", String::as_str);
                shared.say(|| {
                    tracing::warn!(lost, error.message = reason, "spans are being lost");
                });
            }
            (Some(before), 0) => {
                let lost = *before;
                self.lost = None;
                shared.came_back.inc();
                shared.say(|| tracing::info!(lost, "spans reach the collector again"));
            }
            (Some(before), lost) => *before += lost,
        }
    }
}
