//! The queue in front of the chain and the thread that empties it, many records with one sync.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::chain::{Chain, Event};
use super::{AuditError, AuditOptions, Head};
use crate::metrics::{Counter, Gauge};
use crate::redaction::Scrubber;
use crate::{Telemetry, TelemetryError, builtin};

/// Most records that share one sync.
const BATCH: usize = 256;
/// Pause before a failed write is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often the old end of the chain is looked at.
const SWEEP: Duration = Duration::from_secs(3600);

type Done = oneshot::Sender<Result<(), AuditError>>;

struct Entry {
    event: String,
    fields: Map<String, Value>,
    done: Option<Done>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Entry>,
    closed: bool,
    ended: bool,
}

/// What the handles and the writer share.
pub(super) struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    ended: Condvar,
    capacity: usize,
    failing: AtomicBool,
    head: Mutex<Head>,
    scrubber: Scrubber,
    written: Counter,
    failed: Counter,
    lost: Counter,
    last_write: Gauge,
}

/// Opens the chain and starts the thread.
pub(super) fn start(
    options: AuditOptions,
    telemetry: &Telemetry,
) -> Result<Handle, TelemetryError> {
    let chain = Chain::open(&options)
        .map_err(|source| TelemetryError::System { what: "audit log", source })?;
    let registry = telemetry.registry();
    let records = builtin::AUDIT_RECORDS.prefixed(registry.prefix());
    let counter = |result| registry.counter(&records, &[result]);
    let last_write = builtin::AUDIT_LAST_WRITE.prefixed(registry.prefix());
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        wake: Condvar::new(),
        ended: Condvar::new(),
        capacity: options.queue_records.max(1),
        failing: AtomicBool::new(false),
        head: Mutex::new(chain.head().clone()),
        scrubber: telemetry.scrubber().clone(),
        written: counter("written"),
        failed: counter("failed"),
        lost: counter("lost"),
        last_write: registry.gauge(&last_write, &[]),
    });
    let mut writer = Writer { shared: Arc::clone(&shared), chain, swept: None };
    // Log lines of the thread go where those of its starter go.
    let dispatch = tracing::dispatcher::get_default(Clone::clone);
    std::thread::Builder::new()
        .name("audit-writer".to_owned())
        .spawn(move || tracing::dispatcher::with_default(&dispatch, || writer.run()))
        .map_err(|source| TelemetryError::System { what: "audit writer thread", source })?;
    Ok(Handle(shared))
}

/// What callers hold: dropping it ends the thread, which holds the rest alive.
pub(super) struct Handle(Arc<Shared>);

impl std::ops::Deref for Handle {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close(Duration::ZERO);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a record. Whoever waits is told at once when there is no room; else the loss is
    /// counted and logged.
    pub(super) fn push(&self, event: &str, fields: Map<String, Value>, done: Option<Done>) {
        let fields = self.scrubber.scrub_map(fields);
        let mut state = self.lock();
        let refusal = match (state.closed, state.queue.len() >= self.capacity) {
            (true, _) => AuditError::Closed,
            (_, true) => AuditError::Full,
            _ => {
                state.queue.push_back(Entry { event: event.to_owned(), fields, done });
                drop(state);
                self.wake.notify_one();
                return;
            }
        };
        drop(state);
        self.refuse(event, done, &refusal);
    }

    fn refuse(&self, event: &str, done: Option<Done>, reason: &AuditError) {
        if let Some(done) = done {
            self.failed.inc();
            // Whoever waited may have left.
            let _ = done.send(Err(reason.clone()));
        } else {
            self.lost.inc();
            tracing::error!(event, error = %reason, "an audit record is lost");
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    pub(super) fn head(&self) -> Head {
        self.head.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn close(&self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        let mut state = self.lock();
        state.closed = true;
        self.wake.notify_one();
        while !state.ended {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits for records, for the end, or for `patience` to run out. `None`: the end has come.
    fn take(&self, patience: Duration) -> Option<Vec<Entry>> {
        let state = self.lock();
        let idle = |state: &mut State| state.queue.is_empty() && !state.closed;
        let (mut state, _) = self
            .wake
            .wait_timeout_while(state, patience, idle)
            .unwrap_or_else(PoisonError::into_inner);
        if state.queue.is_empty() && state.closed {
            return None;
        }
        let count = state.queue.len().min(BATCH);
        Some(state.queue.drain(..count).collect())
    }

    /// Waits before the next attempt, unless the end has come; says whether it has.
    fn pause(&self) -> bool {
        let state = self.lock();
        let (state, _) = self
            .wake
            .wait_timeout_while(state, RETRY, |state| !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.closed
    }
}

struct Writer {
    shared: Arc<Shared>,
    chain: Chain,
    /// When the old end was last looked at.
    swept: Option<Instant>,
}

impl Writer {
    fn run(&mut self) {
        self.sweep();
        loop {
            let patience = if self.shared.is_failing() { RETRY } else { SWEEP };
            match self.shared.take(patience) {
                None => break,
                Some(batch) if batch.is_empty() => {
                    let probed = self.chain.probe();
                    self.tell(probed);
                }
                Some(batch) => {
                    if self.write(batch) {
                        break;
                    }
                }
            }
            self.sweep();
        }
        self.end();
    }

    /// Writes a batch; `true` when it failed and there will be no further attempt.
    fn write(&mut self, mut batch: Vec<Entry>) -> bool {
        let events: Vec<Event<'_>> = batch.iter().map(|e| (e.event.as_str(), &e.fields)).collect();
        match self.chain.append(&events) {
            Ok(()) => {
                self.shared.written.add(batch.len() as u64);
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.shared.last_write.set(now.as_secs_f64());
                self.show_head();
                // The records are on the disk; whoever waits need not wait for the head, which may
                // lag behind the chain but never runs ahead of it.
                for done in batch.iter_mut().filter_map(|entry| entry.done.take()) {
                    let _ = done.send(Ok(()));
                }
                let headed = self.chain.write_head();
                self.tell(headed);
                false
            }
            Err(error) => {
                let reason = AuditError::Disk(error.to_string());
                self.tell(Err(error));
                self.put_back(batch, &reason);
                self.shared.pause() && self.give_up(&reason)
            }
        }
    }

    /// Answers those who still wait; the rest is tried again in its old order.
    fn put_back(&self, batch: Vec<Entry>, reason: &AuditError) {
        let mut again = Vec::new();
        for mut entry in batch {
            match entry.done.take().filter(|done| !done.is_closed()) {
                Some(done) => self.shared.refuse(&entry.event, Some(done), reason),
                None => again.push(entry),
            }
        }
        let mut state = self.shared.lock();
        for entry in again.into_iter().rev() {
            state.queue.push_front(entry);
        }
    }

    /// The last attempt, at the end. Always `true`.
    fn give_up(&mut self, reason: &AuditError) -> bool {
        let rest: Vec<Entry> = self.shared.lock().queue.drain(..).collect();
        let events: Vec<Event<'_>> = rest.iter().map(|e| (e.event.as_str(), &e.fields)).collect();
        let written = self.chain.append(&events);
        for entry in rest {
            match (&written, entry.done) {
                (Ok(()), done) => {
                    self.shared.written.inc();
                    let _ = done.map(|done| done.send(Ok(())));
                }
                (Err(_), done) => self.shared.refuse(&entry.event, done, reason),
            }
        }
        true
    }

    /// Notes how the disk behaves; told once when it turns.
    fn tell(&self, outcome: std::io::Result<()>) {
        let failing = outcome.is_err();
        let before = self.shared.failing.swap(failing, Ordering::AcqRel);
        match outcome {
            Err(error) if !before => {
                tracing::error!(error = %error, "the audit log cannot be written");
            }
            Ok(()) if before => tracing::info!("the audit log can be written again"),
            _ => {}
        }
    }

    fn sweep(&mut self) {
        if self.swept.is_some_and(|at| at.elapsed() < SWEEP) {
            return;
        }
        self.swept = Some(Instant::now());
        match self.chain.sweep() {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "audit segments past their retention removed"),
            Err(error) => tracing::warn!(error = %error, "cannot remove old audit segments"),
        }
        self.show_head();
    }

    fn show_head(&self) {
        let mut head = self.shared.head.lock().unwrap_or_else(PoisonError::into_inner);
        head.clone_from(self.chain.head());
    }

    fn end(&mut self) {
        let headed = self.chain.write_head();
        self.tell(headed);
        let head = self.chain.head().clone();
        tracing::info!(seq = head.seq, head = %head.hash, "audit log closed");
        if let Err(error) = self.chain.release() {
            tracing::warn!(error = %error, "cannot release the lock of the audit log");
        }
        self.shared.lock().ended = true;
        self.shared.ended.notify_all();
    }
}
