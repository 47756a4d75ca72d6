//! The rows of a table, made by as many threads as the machine has.
//!
//! By threads of their own, not by the pool: where the pool's workers ask for a table while the pool
//! helps to make it, it would wait for itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// `make` of each index below `count`, in order. The same on any number of threads, one if the
/// system gives no more.
pub(super) fn side_by_side<T: Send>(count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let take = || {
        let indices = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        indices.take_while(|&i| i < count).map(|i| (i, make(i))).collect::<Vec<_>>()
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(count);
    let mut rows = thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, take).ok())
            .collect();
        let mut rows = take();
        for other in others {
            match other.join() {
                Ok(made) => rows.extend(made),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        rows
    });
    rows.sort_unstable_by_key(|&(i, _)| i);
    rows.into_iter().map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::side_by_side;

    #[test]
    fn rows_come_in_order() {
        assert_eq!(side_by_side(100, |i| i * i), (0..100).map(|i| i * i).collect::<Vec<_>>());
        assert!(side_by_side(0, |i| i).is_empty());
    }
}
