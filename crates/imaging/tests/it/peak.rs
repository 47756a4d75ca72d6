//! What reading a scan costs, measured in a process of its own: outcome, time and peak of memory.
//!
//! The test binary starts itself again for one test, so that nothing else allocates beside it, and
//! ends it when it does not come back: a hang is a failure here, not a stuck suite.

use microdiff_imaging::io::{ReadOptions, read_scan};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Names the scan to read to the process that reads it.
const SCAN: &str = "MICRODIFF_TEST_SCAN";
/// What no scan of these tests takes, even on a machine with much else to do.
const DEADLINE: Duration = Duration::from_secs(120);

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grown(size);
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How reading ended, and the most bytes it held at once.
pub struct Read {
    /// The code of the error, or `ok` and the shape.
    pub outcome: String,
    /// Bytes beyond what the process held before.
    pub peak: usize,
}

/// Reads a scan in a process of its own with the default limits.
pub fn read_alone(scan: &Path) -> Read {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["peak::the_reading_process", "--exact", "--nocapture"])
        .env(SCAN, scan)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("{} hangs", scan.display());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().find_map(|line| line.split_once("read: "));
    let Some((outcome, peak)) = told.and_then(|(_, told)| told.rsplit_once(' ')) else {
        let errors = String::from_utf8_lossy(&output.stderr);
        panic!("reading {} ended with {}: {text}{errors}", scan.display(), output.status);
    };
    Read { outcome: outcome.to_owned(), peak: peak.parse().unwrap() }
}

/// The other process. Without a scan to read it shows that the counting works.
#[test]
fn the_reading_process() {
    let Some(scan) = std::env::var_os(SCAN) else {
        let before = PEAK.load(Ordering::Relaxed);
        let taken = vec![1u8; before + (1 << 20)];
        assert!(PEAK.load(Ordering::Relaxed) > taken.len(), "{before}");
        return;
    };
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let options = ReadOptions { data_files: true, ..ReadOptions::default() };
    let read = read_scan(scan.as_ref(), &options);
    let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    let outcome = match read {
        Ok(scan) => format!("ok {:?}", scan.voxels.shape()),
        Err(error) => error.code().to_owned(),
    };
    println!("read: {outcome} {peak}");
}
