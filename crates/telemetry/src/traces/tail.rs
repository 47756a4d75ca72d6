//! Keeping failed and slow work that the head had not chosen.
//!
//! The spans of one piece of work (a request; a queued job, which is its own although it shares the
//! request's trace id) are held until its first span ends. They are then sent, all of them, if any
//! had failed or the first took too long, and forgotten otherwise. Spans that end after that follow
//! the decision.
//!
//! Deliberately, the decision is made for each piece of work alone: a job that fails long after its
//! request was answered is exported without the request's span, which is gone by then; and the
//! `traceresponse` of a request that fails says "not sampled", because it left before the failure.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::record::Record;
use super::span::Inner;
use crate::metrics::Counter;

/// Spans held for one piece of work.
const MAX_HELD_SPANS: usize = 256;

/// How many spans may be held, over all pieces of work.
pub(super) struct Budget {
    free: AtomicUsize,
    /// Spans for which there was no room.
    unheld: Counter,
}

impl Budget {
    pub(super) fn new(spans: usize, unheld: Counter) -> Self {
        Self { free: AtomicUsize::new(spans), unheld }
    }

    fn take(&self) -> bool {
        let less = |free: usize| free.checked_sub(1);
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn give_back(&self, spans: usize) {
        self.free.fetch_add(spans, Ordering::Relaxed);
    }
}

/// The hold that the first span of a piece of work has on it. What its spans share is made when
/// there is a second one: most requests have none.
pub(super) struct FirstHold {
    inner: Arc<Inner>,
    shared: OnceLock<Arc<LocalTrace>>,
    /// What was decided before there was anything to share.
    decided: Option<bool>,
}

impl FirstHold {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, shared: OnceLock::new(), decided: None }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// What a further span holds on to.
    pub(super) fn share(&self) -> Arc<LocalTrace> {
        let make = || Arc::new(LocalTrace::new(Arc::clone(&self.inner), self.decided));
        Arc::clone(self.shared.get_or_init(make))
    }

    /// As [`LocalTrace::decide`].
    pub(super) fn decide(&mut self, first: &Record) -> bool {
        match self.shared.get() {
            Some(local) => local.decide(first),
            None => *self.decided.get_or_insert_with(|| self.inner.keeps(first)),
        }
    }

    /// Takes the first span when it has finished.
    pub(super) fn end(mut self, first: Box<Record>) {
        if self.decide(&first) {
            self.inner.send(first);
        }
    }
}

/// One piece of work of this process in a trace.
pub(super) struct LocalTrace {
    inner: Arc<Inner>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: VecDeque<Box<Record>>,
    failed: bool,
    decided: Option<bool>,
}

impl LocalTrace {
    fn new(inner: Arc<Inner>, decided: Option<bool>) -> Self {
        Self { inner, state: Mutex::new(State { decided, ..State::default() }) }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn decided(&self) -> Option<bool> {
        self.lock().decided
    }

    /// Takes a finished span that is not the first.
    pub(super) fn add(&self, record: Box<Record>) {
        let mut state = self.lock();
        state.failed |= record.failed();
        match state.decided {
            Some(true) => {
                drop(state);
                self.inner.send(record);
            }
            Some(false) => {}
            None if state.held.len() < MAX_HELD_SPANS && self.inner.budget.take() => {
                state.held.push_back(record);
            }
            None => self.inner.budget.unheld.inc(),
        }
    }

    /// Decides by what is known of the first span, which may still run; says whether it is kept.
    fn decide(&self, first: &Record) -> bool {
        let mut state = self.lock();
        if let Some(decided) = state.decided {
            return decided;
        }
        let keep = state.failed || self.inner.keeps(first);
        state.decided = Some(keep);
        let held = std::mem::take(&mut state.held);
        drop(state);
        self.inner.budget.give_back(held.len());
        if keep {
            held.into_iter().for_each(|record| self.inner.send(record));
        }
        keep
    }
}

impl Drop for LocalTrace {
    fn drop(&mut self) {
        // Only when the first span was leaked.
        let held = self.state.get_mut().unwrap_or_else(PoisonError::into_inner).held.len();
        self.inner.budget.give_back(held);
    }
}
