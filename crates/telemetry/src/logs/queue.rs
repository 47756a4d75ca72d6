//! The bounded buffer between those who log and the one thread that writes.
//!
//! Lines are appended to one arena under a short lock; the writer swaps the arena for an empty one
//! and writes the lot. A full arena refuses the line and counts it: nobody ever waits for a disk.
//! The last eighth is kept for errors.

#[cfg(not(loom))]
use std::sync::{Condvar, Mutex, MutexGuard};
use std::sync::{LockResult, PoisonError};
use std::time::Duration;

#[cfg(loom)]
use loom::sync::{Condvar, Mutex, MutexGuard};

/// The most by which a lone line is held back so that its neighbours share one write.
#[cfg(not(loom))]
const LINGER: Duration = Duration::from_millis(2);

/// A model of all interleavings needs a queue that is full after two lines.
const SMALLEST: usize = if cfg!(loom) { 0 } else { 16 * 1024 };

pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    written: Condvar,
    capacity: usize,
}

struct State {
    arena: Vec<u8>,
    /// Bytes ever accepted and bytes ever handled, to know when a flush is done.
    accepted: u64,
    handled: u64,
    dropped: [u64; 5],
    waits: Waits,
    hurry: bool,
    reopen: bool,
    closed: bool,
}

/// What the writer waits for, if it does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    No,
    /// Any line.
    Line,
    /// Company for the lines that are there.
    Company,
}

/// What the writer takes away in one go.
pub(super) struct Batch {
    /// Lines lost since the last batch, by level.
    pub(super) dropped: [u64; 5],
    /// Files are to be opened anew.
    pub(super) reopen: bool,
    /// Nothing more will come.
    pub(super) last: bool,
}

/// The level of errors. Levels are numbers here, in the order of the metric's label, so that this
/// file needs nothing but the standard library and can be modelled alone.
pub(super) const ERROR: usize = 0;

/// A thread that panics while it holds the lock leaves nothing half-done that matters here.
fn whole<T>(result: LockResult<T>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    /// Memory is taken from the system as lines fill it, not at once.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(SMALLEST);
        let state = State {
            arena: Vec::with_capacity(capacity),
            accepted: 0,
            handled: 0,
            dropped: [0; 5],
            waits: Waits::No,
            hurry: false,
            reopen: false,
            closed: false,
        };
        Self { state: Mutex::new(state), wake: Condvar::new(), written: Condvar::new(), capacity }
    }

    /// The buffer that [`Queue::take`] swaps in, as large as the one it takes away.
    pub(super) fn buffer(&self) -> Vec<u8> {
        Vec::with_capacity(self.capacity)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        whole(self.state.lock())
    }

    /// Appends a line, newline included. `false`: there was no room and the line is lost.
    pub(super) fn push(&self, line: &[u8], level: usize) -> bool {
        let limit = if level == ERROR { self.capacity } else { self.capacity - self.capacity / 8 };
        let mut state = self.lock();
        if state.closed || state.arena.len() + line.len() > limit {
            if let Some(dropped) = state.dropped.get_mut(level) {
                *dropped += 1;
            }
            return false;
        }
        state.arena.extend_from_slice(line);
        state.accepted += line.len() as u64;
        let wake = match state.waits {
            Waits::No => false,
            Waits::Line => true,
            Waits::Company => state.arena.len() >= self.capacity / 4,
        };
        if wake {
            state.waits = Waits::No;
            drop(state);
            self.wake.notify_one();
        }
        true
    }

    /// Waits for lines and swaps them into `buffer`, which must be empty.
    pub(super) fn take(&self, buffer: &mut Vec<u8>) -> Batch {
        let mut state = self.lock();
        while state.arena.is_empty() && !state.closed && !state.reopen {
            state.waits = Waits::Line;
            state = whole(self.wake.wait(state));
        }
        let mut state = self.linger(state);
        state.waits = Waits::No;
        state.hurry = false;
        std::mem::swap(&mut state.arena, buffer);
        Batch {
            dropped: std::mem::take(&mut state.dropped),
            reopen: std::mem::take(&mut state.reopen),
            last: state.closed && state.arena.is_empty(),
        }
    }

    #[cfg(not(loom))]
    fn linger<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if state.hurry || state.closed || state.arena.len() >= self.capacity / 4 {
            return state;
        }
        state.waits = Waits::Company;
        let alone =
            |state: &mut State| state.waits == Waits::Company && !state.hurry && !state.closed;
        whole(self.wake.wait_timeout_while(state, LINGER, alone)).0
    }

    /// The model knows no time, so nothing waits for it to pass.
    #[cfg(loom)]
    fn linger<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state
    }

    /// Says that so many bytes of the last batch have been dealt with.
    pub(super) fn handled(&self, bytes: usize) {
        self.lock().handled += bytes as u64;
        self.written.notify_all();
    }

    /// Waits until everything accepted so far is written; `false` when `deadline` came first.
    pub(super) fn flush(&self, deadline: Duration) -> bool {
        let mut state = self.lock();
        let target = state.accepted;
        state.hurry = true;
        self.wake.notify_one();
        let (state, done) = self.await_handled(state, target, deadline);
        drop(state);
        done
    }

    #[cfg(not(loom))]
    fn await_handled<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        target: u64,
        deadline: Duration,
    ) -> (MutexGuard<'a, State>, bool) {
        let waiting = |state: &mut State| state.handled < target;
        let (state, timeout) = whole(self.written.wait_timeout_while(state, deadline, waiting));
        (state, !timeout.timed_out())
    }

    #[cfg(loom)]
    fn await_handled<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        target: u64,
        _: Duration,
    ) -> (MutexGuard<'a, State>, bool) {
        while state.handled < target {
            state = whole(self.written.wait(state));
        }
        (state, true)
    }

    /// Has the writer open its files anew, also when no line comes.
    pub(super) fn reopen(&self) {
        let mut state = self.lock();
        state.reopen = true;
        state.hurry = true;
        self.wake.notify_one();
    }

    /// Refuses further lines and lets the writer finish.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const INFO: usize = 2;

    #[test]
    fn a_full_queue_refuses_ordinary_lines_first_and_errors_last() {
        let queue = Queue::new(16 * 1024);
        let line = [b'x'; 1024];
        let mut accepted = 0;
        while queue.push(&line, INFO) {
            accepted += 1;
        }
        assert_eq!(accepted, 14);
        assert!(queue.push(&line, ERROR));
        assert!(queue.push(&line, ERROR));
        assert!(!queue.push(&line, ERROR));
        let mut buffer = Vec::new();
        queue.close();
        let batch = queue.take(&mut buffer);
        assert_eq!((buffer.len(), batch.dropped, batch.last), (16 * 1024, [1, 0, 1, 0, 0], true));
    }

    #[test]
    fn a_flush_without_a_writer_gives_up_at_its_deadline() {
        let queue = Queue::new(0);
        assert!(queue.flush(Duration::ZERO));
        assert!(queue.push(b"x\n", INFO));
        assert!(!queue.flush(Duration::ZERO));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    const INFO: usize = 2;

    /// In every interleaving each line is written once or counted as dropped, and whoever flushes or
    /// closes comes to an end.
    #[test]
    fn loom_no_line_is_lost_uncounted_and_every_flush_ends() {
        let mut model = loom::model::Builder::new();
        // More switches than this find nothing new and take hours.
        model.preemption_bound = Some(2);
        model.check(|| {
            // Room for two ordinary lines and one more error.
            let queue = Arc::new(Queue::new(8));
            let writer = thread::spawn({
                let queue = Arc::clone(&queue);
                move || {
                    let (mut bytes, mut dropped) = (0, 0);
                    loop {
                        let mut buffer = Vec::new();
                        let batch = queue.take(&mut buffer);
                        bytes += buffer.len();
                        dropped += batch.dropped.iter().sum::<u64>();
                        queue.handled(buffer.len());
                        if batch.last {
                            return (bytes, dropped);
                        }
                    }
                }
            });
            let other = thread::spawn({
                let queue = Arc::clone(&queue);
                move || u64::from(queue.push(b"ab\n", ERROR))
            });
            let mine = u64::from(queue.push(b"cd\n", INFO)) + u64::from(queue.push(b"ef\n", INFO));
            assert!(queue.flush(Duration::ZERO));
            let theirs = other.join().unwrap();
            queue.close();
            let (bytes, dropped) = writer.join().unwrap();
            assert_eq!(bytes as u64, 3 * (mine + theirs));
            assert_eq!(dropped, 3 - mine - theirs);
        });
    }

    /// No flush and no end comes to help: the line itself must wake a writer that sleeps.
    #[test]
    fn loom_a_line_alone_wakes_the_writer() {
        loom::model(|| {
            let queue = Arc::new(Queue::new(8));
            let writer = thread::spawn({
                let queue = Arc::clone(&queue);
                move || {
                    let mut buffer = Vec::new();
                    queue.take(&mut buffer);
                    buffer
                }
            });
            assert!(queue.push(b"ab\n", INFO));
            assert_eq!(writer.join().unwrap(), b"ab\n");
        });
    }
}
