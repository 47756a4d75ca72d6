//! What a log line costs in allocations: nothing, once its callsite has spoken.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use microdiff_telemetry::Telemetry;
use tracing::dispatcher::with_default;

use crate::options;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed to the system's allocator as it came; counting touches a constant-
// initialised thread-local without a destructor, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
fn a_line_costs_no_allocation_once_its_callsite_has_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let (telemetry, _guard, dispatch) =
        Telemetry::start_local(options(&folder.path().join("bakery.log"))).unwrap();
    with_default(&dispatch, || {
        let speak = |i: u64| {
            tracing::info!(
                request_id = "0af7651916cd43dd8448eb211c80319c",
                count = i,
                heat = 210.5,
                duration_ms = 1.5,
                success = true,
                shown = %i,
                "a cake is baked"
            );
        };
        (0..100).for_each(speak);
        assert!(telemetry.logs().flush(crate::LONG));
        assert_eq!(allocations(|| (0..1_000).for_each(speak)), 0);
    });
    let buffer = || drop(std::hint::black_box(Vec::<u8>::with_capacity(64)));
    assert_eq!(allocations(buffer), 1, "the count works");
}
