//! Which thread has which slot: every living thread one of its own while they last, then all share.

/// The slot of all threads that have none of their own.
pub(super) const SHARED: u32 = 0;

/// Which slots have no owner.
pub(super) struct Slots {
    next: u32,
    end: u32,
    returned: Vec<u32>,
}

impl Slots {
    pub(super) const fn new(end: u32) -> Self {
        Self { next: SHARED + 1, end, returned: Vec::new() }
    }

    /// A slot for one thread alone, or the shared one when there is none left.
    pub(super) fn take(&mut self) -> u32 {
        if let Some(slot) = self.returned.pop() {
            return slot;
        }
        if self.next >= self.end {
            return SHARED;
        }
        self.next += 1;
        self.next - 1
    }

    pub(super) fn give_back(&mut self, slot: u32) {
        if slot != SHARED {
            self.returned.push(slot);
        }
    }
}

#[cfg(all(test, loom))]
mod tests {
    use std::sync::atomic::Ordering;

    use loom::sync::{Arc, Mutex};
    use loom::thread;

    use super::super::cells::{Cell64, OwnCells};
    use super::*;

    /// Two threads, of which the second may take over the slot of the first, or share.
    #[test]
    fn loom_a_slot_that_changes_hands_loses_nothing() {
        loom::model(|| {
            let free = Arc::new(Mutex::new(Slots::new(2)));
            let cells: Arc<Vec<Cell64>> = Arc::new((0..2).map(|_| Cell64::new(0)).collect());
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (free, cells) = (Arc::clone(&free), Arc::clone(&cells));
                    thread::spawn(move || {
                        let slot = free.lock().unwrap().take();
                        let own = cells.get(slot as usize..).unwrap_or(&[]);
                        OwnCells::new(own, slot == SHARED).add(0, 1);
                        OwnCells::new(own, slot == SHARED).add(0, 1);
                        free.lock().unwrap().give_back(slot);
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            let total: u64 = cells.iter().map(|cell| cell.load(Ordering::Relaxed)).sum();
            assert_eq!(total, 4);
        });
    }
}
