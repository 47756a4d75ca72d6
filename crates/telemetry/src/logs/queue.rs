//! The bounded buffer between those who log and the one thread that writes.
//!
//! Lines are appended to one arena under a short lock; the writer swaps the arena for an empty one
//! and writes the lot. A full arena refuses the line and counts it: nobody ever waits for a disk.
//! The last eighth is kept for errors.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;

/// The most by which a lone line is held back so that its neighbours share one write.
const LINGER: Duration = Duration::from_millis(2);

pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    written: Condvar,
    capacity: usize,
}

#[derive(Default)]
struct State {
    arena: Vec<u8>,
    /// Bytes ever accepted and bytes ever handled, to know when a flush is done.
    accepted: u64,
    handled: u64,
    dropped: [u64; 5],
    idle: bool,
    hurry: bool,
    closed: bool,
}

/// What the writer takes away in one go.
pub(super) struct Batch {
    /// Lines lost since the last batch, by level.
    pub(super) dropped: [u64; 5],
    /// Nothing more will come.
    pub(super) last: bool,
}

pub(super) fn level_index(level: Level) -> usize {
    match level {
        Level::ERROR => 0,
        Level::WARN => 1,
        Level::INFO => 2,
        Level::DEBUG => 3,
        Level::TRACE => 4,
    }
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            written: Condvar::new(),
            capacity: capacity.max(16 * 1024),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a line, newline included. `false`: there was no room and the line is lost.
    pub(super) fn push(&self, line: &[u8], level: Level) -> bool {
        let limit =
            if level == Level::ERROR { self.capacity } else { self.capacity - self.capacity / 8 };
        let mut state = self.lock();
        if state.closed || state.arena.len() + line.len() > limit {
            state.dropped[level_index(level)] += 1;
            return false;
        }
        state.arena.extend_from_slice(line);
        state.accepted += line.len() as u64;
        let wake = std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        true
    }

    /// Waits for lines and swaps them into `buffer`, which must be empty.
    pub(super) fn take(&self, buffer: &mut Vec<u8>) -> Batch {
        let mut state = self.lock();
        while state.arena.is_empty() && !state.closed {
            state.idle = true;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        if !state.hurry && !state.closed && state.arena.len() < self.capacity / 4 {
            state = self
                .wake
                .wait_timeout_while(state, LINGER, |state| !state.hurry && !state.closed)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.hurry = false;
        std::mem::swap(&mut state.arena, buffer);
        let last = state.closed && state.arena.is_empty();
        Batch { dropped: std::mem::take(&mut state.dropped), last }
    }

    /// Says that so many bytes of the last batch have been dealt with.
    pub(super) fn handled(&self, bytes: usize) {
        self.lock().handled += bytes as u64;
        self.written.notify_all();
    }

    /// Waits until everything accepted so far is written; `false` when `deadline` came first.
    pub(super) fn flush(&self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        let mut state = self.lock();
        let target = state.accepted;
        state.hurry = true;
        self.wake.notify_one();
        while state.handled < target {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state =
                self.written.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Refuses further lines and lets the writer finish.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_ordinary_lines_first_and_errors_last() {
        let queue = Queue::new(16 * 1024);
        let line = [b'x'; 1024];
        let mut accepted = 0;
        while queue.push(&line, Level::INFO) {
            accepted += 1;
        }
        assert_eq!(accepted, 14);
        assert!(queue.push(&line, Level::ERROR));
        assert!(queue.push(&line, Level::ERROR));
        assert!(!queue.push(&line, Level::ERROR));
        let mut buffer = Vec::new();
        queue.close();
        let batch = queue.take(&mut buffer);
        assert_eq!((buffer.len(), batch.dropped, batch.last), (16 * 1024, [1, 0, 1, 0, 0], true));
    }

    #[test]
    fn a_flush_without_a_writer_gives_up_at_its_deadline() {
        let queue = Queue::new(0);
        assert!(queue.flush(Duration::ZERO));
        assert!(queue.push(b"x\n", Level::INFO));
        assert!(!queue.flush(Duration::ZERO));
    }
}
