//! Memory for volumes.
//!
//! A fresh volume costs more in page faults than most kernels cost in arithmetic: touching 512 MiB
//! takes a tenth of the time with pages of 2 MiB. Linux gives those to whoever asks.

use bytemuck::Zeroable;

/// Blocks from this size on ask for huge pages.
#[cfg(target_os = "linux")]
const HUGE_FROM_BYTES: usize = 4 << 20;

/// A volume of zeros, in huge pages if it is large and the system has them.
pub(crate) fn zeroed<T: Zeroable>(len: usize) -> Vec<T> {
    let values = bytemuck::allocation::zeroed_vec(len);
    prefer_huge_pages(&values);
    values
}

/// The same; nothing where there is no room for it.
pub(crate) fn try_zeroed<T: Zeroable>(len: usize) -> Option<Vec<T>> {
    let values = bytemuck::allocation::try_zeroed_vec(len).ok()?;
    prefer_huge_pages(&values);
    Some(values)
}

/// New memory is untouched as it comes from the system, so the advice precedes the first page
/// fault.
fn prefer_huge_pages<T>(values: &Vec<T>) {
    #[cfg(target_os = "linux")]
    advise(values.as_ptr().cast(), values.capacity() * size_of::<T>());
    #[cfg(not(target_os = "linux"))]
    let _ = values;
}

#[cfg(target_os = "linux")]
fn advise(start: *const u8, bytes: usize) {
    const PAGE: usize = 4096;
    if bytes < HUGE_FROM_BYTES {
        return;
    }
    let skip = start.align_offset(PAGE);
    let inside = bytes.saturating_sub(skip) / PAGE * PAGE;
    let first = start.wrapping_add(skip).cast_mut().cast();
    // SAFETY: the pages lie within one live allocation; the advice changes no byte of it.
    let advised = unsafe { rustix::mm::madvise(first, inside, rustix::mm::Advice::LinuxHugepage) };
    // A system without huge pages is only slower.
    advised.unwrap_or_default();
}

/// Volumes from this size on are written past the caches: they would not stay there.
const STREAM_FROM_BYTES: usize = 32 << 20;

/// Overwrites rows of a large volume without reading first what they held, which is half of the
/// traffic of an ordinary write. What it wrote may be read by other threads once it is dropped.
pub(crate) struct Stream {
    past_caches: bool,
}

impl Stream {
    /// For a volume of so many values.
    pub(crate) fn new(values: usize) -> Self {
        Self { past_caches: values * size_of::<u32>() >= STREAM_FROM_BYTES }
    }

    /// Overwrites a row; both are of the same length.
    pub(crate) fn write(&self, from: &[u32], to: &mut [u32]) {
        if self.past_caches {
            stream(from, to);
        } else {
            to.copy_from_slice(from);
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Drop for Stream {
    fn drop(&mut self) {
        if self.past_caches {
            // SAFETY: every x86-64 has SSE.
            unsafe { std::arch::x86_64::_mm_sfence() };
        }
    }
}

/// Other machines have no such instruction.
#[cfg(not(target_arch = "x86_64"))]
fn stream(from: &[u32], to: &mut [u32]) {
    to.copy_from_slice(from);
}

/// Copies past the caches, in whole registers where `to` is aligned.
#[cfg(target_arch = "x86_64")]
fn stream(from: &[u32], to: &mut [u32]) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm_stream_si128};
    const LANES: usize = 4;
    let head = to.as_ptr().align_offset(16).min(to.len());
    let (first, to) = to.split_at_mut(head);
    let (first_from, from) = from.split_at(head);
    first.copy_from_slice(first_from);
    let (to, last) = to.as_chunks_mut::<LANES>();
    let (from, last_from) = from.as_chunks::<LANES>();
    for (to, from) in to.iter_mut().zip(from) {
        // SAFETY: both hold a register's values, `to` begins on a multiple of 16 bytes, and every
        // x86-64 has SSE2.
        unsafe {
            _mm_stream_si128(to.as_mut_ptr().cast(), _mm_loadu_si128(from.as_ptr().cast()));
        }
    }
    last.copy_from_slice(last_from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_copies_whatever_the_alignment() {
        let from: Vec<u32> = (1..100).collect();
        for (start, len) in [(0, 0), (0, 99), (1, 50), (2, 3), (3, 64)] {
            let mut to = vec![0; 110];
            let stream = Stream { past_caches: true };
            stream.write(&from[..len], &mut to[start..start + len]);
            drop(stream);
            assert_eq!(to[start..start + len], from[..len]);
            assert_eq!(to.iter().filter(|value| **value != 0).count(), len);
        }
    }

    #[test]
    fn large_and_small_blocks_are_zero() {
        for len in [0, 1, 5000, (9 << 20) + 3] {
            let block: Vec<u8> = zeroed(len);
            assert!(block.len() == len && block.iter().all(|&b| b == 0));
        }
    }
}
