//! The cells of one thread: how they are written and how another thread reads them.
//!
//! A cell of an own slot has one writer, so adding is a load and a store. A record (an exemplar) is
//! several cells behind a sequence lock. This is all of the crate's metrics that depends on the
//! order of memory operations; the models at the end run under `loom` (`just loom`).

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64 as Atomic, fence};
use std::sync::atomic::Ordering;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64 as Atomic, fence};

pub(super) type Cell64 = Atomic;

/// Times a reader tries again when it meets a writer.
#[cfg(not(loom))]
const ATTEMPTS: usize = 8;
/// A model tries every order anyway; more attempts only make more orders.
#[cfg(loom)]
const ATTEMPTS: usize = 1;

/// The cells of the calling thread, starting at the reserved run.
pub(super) struct OwnCells<'a> {
    cells: &'a [Cell64],
    shared: bool,
}

impl<'a> OwnCells<'a> {
    /// `shared` cells have several writers, others one.
    #[inline]
    pub(super) const fn new(cells: &'a [Cell64], shared: bool) -> Self {
        Self { cells, shared }
    }

    /// What a cell holds now; 0 where there is none.
    #[inline]
    pub(super) fn get(&self, index: usize) -> u64 {
        self.cells.get(index).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn add(&self, index: usize, amount: u64) {
        let Some(cell) = self.cells.get(index) else { return };
        if self.shared {
            cell.fetch_add(amount, Ordering::Relaxed);
        } else {
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn add_f64(&self, index: usize, amount: f64) {
        let Some(cell) = self.cells.get(index) else { return };
        let plus = |bits: u64| (f64::from_bits(bits) + amount).to_bits();
        if self.shared {
            let _ =
                cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| Some(plus(bits)));
        } else {
            cell.store(plus(cell.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
    }

    /// Replaces the record at `index`: a sequence cell followed by `values` (a sequence lock). In
    /// the shared slot a writer that meets another one leaves: an exemplar is one of many.
    #[inline]
    pub(super) fn write_record<const N: usize>(&self, index: usize, values: [u64; N]) {
        let Some(record) = self.cells.get(index..=index + N) else { return };
        let Some((sequence, payload)) = record.split_first() else { return };
        let before = sequence.load(Ordering::Relaxed);
        if self.shared {
            let free = before & 1 == 0;
            let odd = before.wrapping_add(1);
            let (won, lost) = (Ordering::Acquire, Ordering::Relaxed);
            if !free || sequence.compare_exchange(before, odd, won, lost).is_err() {
                return;
            }
        } else {
            sequence.store(before.wrapping_add(1), Ordering::Relaxed);
        }
        fence(Ordering::Release);
        for (cell, value) in payload.iter().zip(values) {
            cell.store(value, Ordering::Relaxed);
        }
        sequence.store(before.wrapping_add(2), Ordering::Release);
    }
}

/// Reads a record written by [`OwnCells::write_record`]; `None` when it is empty or being written.
pub(super) fn read_record<const N: usize>(cells: &[Cell64], index: usize) -> Option<[u64; N]> {
    let (sequence, payload) = cells.get(index..=index + N)?.split_first()?;
    for _ in 0..ATTEMPTS {
        let before = sequence.load(Ordering::Acquire);
        if before == 0 {
            return None;
        }
        let mut values = [0; N];
        for (value, cell) in values.iter_mut().zip(payload) {
            *value = cell.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        if before & 1 == 0 && sequence.load(Ordering::Relaxed) == before {
            return Some(values);
        }
    }
    None
}

#[cfg(all(test, loom))]
mod tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    fn cells(count: usize) -> Arc<Vec<Cell64>> {
        Arc::new((0..count).map(|_| Cell64::new(0)).collect())
    }

    /// A record is `[i, 3 i + 1]`; anything else, zeros included, was read while it was written.
    fn assert_whole(cells: &[Cell64]) {
        if let Some([first, second]) = read_record::<2>(cells, 0) {
            assert_eq!(second, first * 3 + 1, "a torn record");
        }
    }

    #[test]
    fn loom_a_record_of_an_own_slot_is_never_read_torn() {
        loom::model(|| {
            let cells = cells(3);
            OwnCells::new(&cells, false).write_record(0, [1, 4]);
            let writer = {
                let cells = Arc::clone(&cells);
                thread::spawn(move || OwnCells::new(&cells, false).write_record(0, [2, 7]))
            };
            assert_whole(&cells);
            writer.join().unwrap();
            assert_eq!(read_record::<2>(&cells, 0), Some([2, 7]));
        });
    }

    #[test]
    fn loom_two_writers_of_the_shared_slot_never_mix_their_records() {
        loom::model(|| {
            let cells = cells(3);
            let writers: Vec<_> = (1..=2)
                .map(|i| {
                    let cells = Arc::clone(&cells);
                    thread::spawn(move || {
                        OwnCells::new(&cells, true).write_record(0, [i, i * 3 + 1]);
                    })
                })
                .collect();
            assert_whole(&cells);
            for writer in writers {
                writer.join().unwrap();
            }
            assert!(read_record::<2>(&cells, 0).is_some(), "one of them was written");
            assert_whole(&cells);
        });
    }

    #[test]
    fn loom_the_shared_slot_loses_no_addition() {
        loom::model(|| {
            let cells = cells(2);
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    let cells = Arc::clone(&cells);
                    thread::spawn(move || {
                        let own = OwnCells::new(&cells, true);
                        own.add(0, 1);
                        own.add_f64(1, 0.5);
                    })
                })
                .collect();
            for writer in writers {
                writer.join().unwrap();
            }
            assert_eq!(cells[0].load(Ordering::Relaxed), 2);
            assert_eq!(f64::from_bits(cells[1].load(Ordering::Relaxed)), 1.0);
        });
    }
}
