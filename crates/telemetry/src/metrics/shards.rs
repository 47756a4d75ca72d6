//! Where counters and histograms keep their numbers: one column of cells per thread.
//!
//! A thread owns a slot while it lives and is the only writer of that slot's cells, so adding is a
//! plain load and store with no locked instruction and no shared cache line. A scrape adds the
//! columns up. When a thread ends, its slot (with the totals in it) goes to the next new thread:
//! totals only ever grow. Threads beyond [`SLOTS`] share slot 0 and pay for an atomic addition.
//!
//! Deliberately absent: resetting, and any ordering between different cells. A scrape that runs
//! beside an observation may see the bucket before the sum; each cell by itself never goes back.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::cells::{Cell64, OwnCells};
use super::slots::{SHARED, Slots};

/// Exclusive slots; slot 0 is the shared one.
pub(super) const SLOTS: usize = 64;
/// Cells in one lazily allocated piece of a column (16 KiB).
pub(super) const CHUNK: usize = 2048;
/// Pieces in a column; with [`CHUNK`] the bound on all cells of one registry (one million).
const CHUNKS: usize = 512;

const UNASSIGNED: u32 = u32::MAX;

thread_local! {
    static SLOT: Cell<u32> = const { Cell::new(UNASSIGNED) };
    static LEASE: Lease = const { Lease(Cell::new(SHARED)) };
}

static FREE: Mutex<Slots> = Mutex::new(Slots::new(SLOTS as u32));

/// Gives the thread's slot back when the thread ends.
struct Lease(Cell<u32>);

impl Drop for Lease {
    fn drop(&mut self) {
        let slot = self.0.get();
        // What still runs in this thread after this point counts in the shared slot.
        let _ = SLOT.try_with(|cell| cell.set(SHARED));
        // The lock orders this thread's last write before the next owner's first read.
        FREE.lock().unwrap_or_else(PoisonError::into_inner).give_back(slot);
    }
}

#[inline]
fn current_slot() -> u32 {
    let slot = SLOT.try_with(Cell::get).unwrap_or(SHARED);
    if slot == UNASSIGNED { assign_slot() } else { slot }
}

#[cold]
fn assign_slot() -> u32 {
    let slot = FREE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let leased = LEASE.try_with(|lease| lease.0.set(slot)).is_ok();
    let slot = if leased { slot } else { SHARED };
    let _ = SLOT.try_with(|cell| cell.set(slot));
    slot
}

type Chunk = Box<[Cell64]>;

/// Two cache lines apart, because adjacent lines are fetched in pairs.
#[repr(align(128))]
struct Column {
    chunks: OnceLock<Box<[OnceLock<Chunk>]>>,
}

/// The cells of one registry, in columns by thread.
pub(super) struct Arena {
    columns: Box<[Column]>,
    used: Mutex<usize>,
}

/// A run of cells that never straddles two chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells {
    chunk: u32,
    offset: u32,
}

impl Cells {
    /// The index of the first cell in [`Arena::totals`].
    pub(super) fn position(self) -> usize {
        self.chunk as usize * CHUNK + self.offset as usize
    }
}

impl Arena {
    pub(super) fn new() -> Self {
        let columns = (0..SLOTS).map(|_| Column { chunks: OnceLock::new() }).collect();
        Self { columns, used: Mutex::new(0) }
    }

    /// Reserves `count` cells, or `None` when the arena is full.
    pub(super) fn reserve(&self, count: usize) -> Option<Cells> {
        if count > CHUNK {
            return None;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut start = *used;
        if start / CHUNK != (start + count.saturating_sub(1)) / CHUNK {
            start = start.div_ceil(CHUNK) * CHUNK;
        }
        let chunk = start / CHUNK;
        if chunk >= CHUNKS {
            return None;
        }
        *used = start + count;
        Some(Cells { chunk: chunk as u32, offset: (start % CHUNK) as u32 })
    }

    #[inline]
    fn chunk(&self, slot: u32, cells: Cells) -> Option<&[Cell64]> {
        let column = self.columns.get(slot as usize)?;
        let chunks = column.chunks.get_or_init(empty_column);
        let chunk = chunks.get(cells.chunk as usize)?;
        Some(chunk.get_or_init(empty_chunk))
    }

    /// Runs `write` on the calling thread's own cells from `cells` on.
    #[inline]
    pub(super) fn with_own(&self, cells: Cells, write: impl FnOnce(OwnCells<'_>)) {
        let slot = current_slot();
        if let Some(chunk) = self.chunk(slot, cells) {
            let own = chunk.get(cells.offset as usize..).unwrap_or(&[]);
            write(OwnCells::new(own, slot == SHARED));
        }
    }

    /// Calls `read` with the cells of each thread that has written near `cells`.
    pub(super) fn each_column(&self, cells: Cells, mut read: impl FnMut(&[Cell64])) {
        for column in &self.columns {
            let chunk = column
                .chunks
                .get()
                .and_then(|chunks| chunks.get(cells.chunk as usize))
                .and_then(OnceLock::get);
            if let Some(own) = chunk.and_then(|chunk| chunk.get(cells.offset as usize..)) {
                read(own);
            }
        }
    }

    /// The sums of all reserved cells over all threads, by [`Cells::position`]. Cells that hold
    /// anything but integers come out as nonsense and are read with [`Arena::each_column`].
    pub(super) fn totals(&self) -> Vec<u64> {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = vec![0_u64; used.div_ceil(CHUNK) * CHUNK];
        for chunks in self.columns.iter().filter_map(|column| column.chunks.get()) {
            for (sums, chunk) in totals.chunks_mut(CHUNK).zip(chunks) {
                for (sum, cell) in sums.iter_mut().zip(chunk.get().into_iter().flatten()) {
                    *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
                }
            }
        }
        totals
    }

    /// The sum of one integer cell over all threads.
    pub(super) fn sum(&self, cells: Cells) -> u64 {
        let mut total = 0_u64;
        self.each_column(cells, |own| {
            if let Some(cell) = own.first() {
                total = total.wrapping_add(cell.load(Ordering::Relaxed));
            }
        });
        total
    }
}

#[cold]
fn empty_column() -> Box<[OnceLock<Chunk>]> {
    (0..CHUNKS).map(|_| OnceLock::new()).collect()
}

#[cold]
fn empty_chunk() -> Chunk {
    (0..CHUNK).map(|_| Cell64::new(0)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::cells::read_record;
    use super::*;

    #[test]
    fn a_run_never_straddles_two_chunks() {
        let arena = Arena::new();
        for count in [1, CHUNK - 2, 3, CHUNK, 1] {
            let cells = arena.reserve(count).unwrap();
            assert!(cells.offset as usize + count <= CHUNK);
        }
        assert!(arena.reserve(CHUNK + 1).is_none());
    }

    #[test]
    fn a_full_arena_refuses_instead_of_growing() {
        let arena = Arena::new();
        for _ in 0..CHUNKS {
            assert!(arena.reserve(CHUNK).is_some());
        }
        assert!(arena.reserve(1).is_none());
    }

    #[test]
    fn nothing_is_lost_over_more_threads_than_slots() {
        let arena = Arc::new(Arena::new());
        let cells = arena.reserve(1).unwrap();
        let threads: Vec<_> = (0..3 * SLOTS)
            .map(|_| {
                let arena = Arc::clone(&arena);
                std::thread::spawn(move || {
                    for _ in 0..200 {
                        arena.with_own(cells, |own| own.add(0, 1));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(arena.sum(cells), 3 * SLOTS as u64 * 200);
    }

    #[test]
    fn a_record_is_read_whole_while_it_is_written() {
        let arena = Arc::new(Arena::new());
        let cells = arena.reserve(4).unwrap();
        let writer = {
            let arena = Arc::clone(&arena);
            std::thread::spawn(move || {
                for i in 1..20_000_u64 {
                    arena.with_own(cells, |own| own.write_record(0, [i, i * 3, i * 7]));
                }
            })
        };
        let mut seen = 0;
        while !writer.is_finished() || seen == 0 {
            arena.each_column(cells, |own| {
                if let Some([a, b, c]) = read_record::<3>(own, 0) {
                    assert_eq!((b, c), (a * 3, a * 7));
                    seen += 1;
                }
            });
        }
        writer.join().unwrap();
    }
}
