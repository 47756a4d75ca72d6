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
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::cells::{Cell64, OwnCells};
use super::slots::{SHARED, Slots};

/// Exclusive slots; slot 0 is the shared one.
pub(super) const SLOTS: usize = 64;
/// Cells of one thread in one piece of the arena (16 KiB).
pub(super) const CHUNK: usize = 2048;
/// Pieces; with [`CHUNK`] the bound on all cells of one registry (one million).
const CHUNKS: usize = 512;

const UNASSIGNED: u32 = u32::MAX;

thread_local! {
    static SLOT: Cell<u32> = const { Cell::new(UNASSIGNED) };
    static LEASE: Lease = const { Lease(Cell::new(SHARED)) };
}

/// The highest slot that any thread has had.
static TAKEN: AtomicU32 = AtomicU32::new(SHARED);

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
    TAKEN.fetch_max(slot, Ordering::AcqRel);
    let leased = LEASE.try_with(|lease| lease.0.set(slot)).is_ok();
    let slot = if leased { slot } else { SHARED };
    let _ = SLOT.try_with(|cell| cell.set(slot));
    slot
}

/// The cells of one piece of the arena for every slot: [`SLOTS`] columns of [`CHUNK`] cells. Pages
/// that no thread has written to cost address space alone.
type Block = Arc<[Cell64]>;

/// The cells of one registry, in columns by thread.
pub(super) struct Arena {
    blocks: Box<[OnceLock<Block>]>,
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

/// What a handle holds: the run's block itself, so that writing follows one pointer.
#[derive(Clone)]
pub(super) struct Run {
    block: Block,
    offset: usize,
}

impl Run {
    /// Runs `write` on the calling thread's own cells.
    #[inline]
    pub(super) fn with_own(&self, write: impl FnOnce(OwnCells<'_>)) {
        let slot = current_slot();
        let own = self.block.get(slot as usize * CHUNK + self.offset..).unwrap_or(&[]);
        write(OwnCells::new(own, slot == SHARED));
    }

    /// Calls `read` with the cells of each thread that may have written.
    pub(super) fn each_column(&self, mut read: impl FnMut(&[Cell64])) {
        for column in self.block.chunks(CHUNK).take(taken_slots()) {
            read(column.get(self.offset..).unwrap_or(&[]));
        }
    }

    /// The sum of the first cell over all threads.
    pub(super) fn sum(&self) -> u64 {
        let mut total = 0_u64;
        self.each_column(|own| {
            if let Some(cell) = own.first() {
                total = total.wrapping_add(cell.load(Ordering::Relaxed));
            }
        });
        total
    }
}

impl Arena {
    pub(super) fn new() -> Self {
        Self { blocks: (0..CHUNKS).map(|_| OnceLock::new()).collect(), used: Mutex::new(0) }
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

    /// The run of reserved cells, for a handle.
    pub(super) fn run(&self, cells: Cells) -> Option<Run> {
        let block = self.blocks.get(cells.chunk as usize)?.get_or_init(empty_block);
        Some(Run { block: Arc::clone(block), offset: cells.offset as usize })
    }

    /// Calls `read` with the cells of each thread that may have written near `cells`.
    pub(super) fn each_column(&self, cells: Cells, read: impl FnMut(&[Cell64])) {
        if let Some(run) = self.run(cells) {
            run.each_column(read);
        }
    }

    /// The sums of all reserved cells over all threads, by [`Cells::position`]. Cells that hold
    /// anything but integers come out as nonsense and are read with [`Arena::each_column`].
    pub(super) fn totals(&self) -> Vec<u64> {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = vec![0_u64; used.div_ceil(CHUNK) * CHUNK];
        let slots = taken_slots();
        for (sums, block) in totals.chunks_mut(CHUNK).zip(&self.blocks) {
            let columns = block.get().into_iter().flat_map(|block| block.chunks(CHUNK));
            for column in columns.take(slots) {
                for (sum, cell) in sums.iter_mut().zip(column) {
                    *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
                }
            }
        }
        totals
    }
}

/// Slots that some thread has ever had, and the shared one.
fn taken_slots() -> usize {
    TAKEN.load(Ordering::Acquire) as usize + 1
}

#[cold]
fn empty_block() -> Block {
    let zeroed = Arc::<[Cell64]>::new_zeroed_slice(SLOTS * CHUNK);
    // SAFETY: a `Cell64` is an `AtomicU64`, for which all bits zero is the value 0.
    unsafe { zeroed.assume_init() }
}

#[cfg(test)]
mod tests {
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
        let arena = Arena::new();
        let run = arena.run(arena.reserve(1).unwrap()).unwrap();
        let threads: Vec<_> = (0..3 * SLOTS)
            .map(|_| {
                let run = run.clone();
                std::thread::spawn(move || {
                    for _ in 0..200 {
                        run.with_own(|own| own.add(0, 1));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(run.sum(), 3 * SLOTS as u64 * 200);
    }

    #[test]
    fn a_record_is_read_whole_while_it_is_written() {
        let arena = Arena::new();
        let run = arena.run(arena.reserve(4).unwrap()).unwrap();
        let writer = {
            let run = run.clone();
            std::thread::spawn(move || {
                for i in 1..20_000_u64 {
                    run.with_own(|own| own.write_record(0, [i, i * 3, i * 7]));
                }
            })
        };
        let mut seen = 0;
        while !writer.is_finished() || seen == 0 {
            run.each_column(|own| {
                if let Some([a, b, c]) = read_record::<3>(own, 0) {
                    assert_eq!((b, c), (a * 3, a * 7));
                    seen += 1;
                }
            });
        }
        writer.join().unwrap();
    }
}
