//! What a file may claim of memory, decided before any is taken.

use super::shown;
use crate::ImagingError;
use std::path::Path;
use std::sync::OnceLock;

/// Decoded size up to which no ratio of decompression does harm: a drawing without noise packs
/// thousands of times smaller and is no attack.
const HARMLESS_BYTES: u128 = 128 << 20;

/// How much a scan may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of decoded voxels.
    pub decoded_bytes: u64,
    /// Pages of a file, or files of a folder.
    pub pages: usize,
    /// Decoded bytes over bytes on disk. Deflate reaches 1030 on zeros; a real scan, being noise,
    /// stays below 10.
    pub expansion: u64,
}

impl Default for Limits {
    /// 4 GiB or 70 % of the memory there is, whichever is less; 65,536 pages; 1000 times.
    fn default() -> Self {
        static MEMORY: OnceLock<Option<u64>> = OnceLock::new();
        let memory = MEMORY.get_or_init(memory_bytes).map_or(u64::MAX, |bytes| bytes / 10 * 7);
        Self { decoded_bytes: memory.min(4 << 30), pages: 65_536, expansion: 1000 }
    }
}

/// Memory of this machine, or of the control group it runs in; none where Linux does not tell.
fn memory_bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes << 10)
    });
    // Version 2, then version 1; "max" and other words mean that there is no limit.
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| read(path)?.trim().parse::<u64>().ok());
    machine.into_iter().chain(group).min()
}

/// The size of a page and the type of its voxels: what all pages of a scan share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageKind {
    pub height: usize,
    pub width: usize,
    pub kind: &'static str,
    pub bytes_per_voxel: u64,
}

impl PageKind {
    /// Decoded bytes; more than can be addressed counts as all of them.
    pub(super) fn bytes(&self) -> u64 {
        let voxels = (self.height as u64).saturating_mul(self.width as u64);
        voxels.saturating_mul(self.bytes_per_voxel)
    }

    /// In words.
    pub(super) fn text(&self) -> String {
        format!("{} x {} {}", self.width, self.height, self.kind)
    }
}

impl Limits {
    /// Refuses what `pages` pages, stored in `stored` bytes, would take beyond the budget.
    pub(super) fn check(
        &self,
        path: &Path,
        page: &PageKind,
        (pages, stored): (u64, u64),
    ) -> Result<(), ImagingError> {
        let total = u128::from(page.bytes()) * u128::from(pages);
        // All but 8 and 16 bit integers are kept at 4 bytes while they are read.
        let small = ["u8", "i8", "u16", "i16"].contains(&page.kind);
        let voxels = total / u128::from(page.bytes_per_voxel.max(1));
        let kept = if small { total } else { voxels.saturating_mul(4) };
        let refuse = |reason: String| Err(ImagingError::TooLarge { path: shown(path), reason });
        if pages > self.pages as u64 {
            return refuse(format!("{pages} pages, at most {} are accepted", self.pages));
        }
        if kept > u128::from(self.decoded_bytes) {
            return refuse(format!(
                "{pages} pages of {} need {} MiB, at most {} MiB are accepted",
                page.text(),
                kept >> 20,
                self.decoded_bytes >> 20
            ));
        }
        let bomb = total > u128::from(stored) * u128::from(self.expansion);
        if bomb && total > HARMLESS_BYTES {
            return refuse(format!(
                "{stored} bytes unpack to {total}, more than {} times as many (a decompression \
                 bomb)",
                self.expansion
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_beyond_64_bits_are_too_large_and_not_small() {
        let edge = u32::MAX as usize;
        let page = PageKind { height: edge, width: edge, kind: "f64", bytes_per_voxel: 8 };
        let limits = Limits { decoded_bytes: u64::MAX, pages: usize::MAX, expansion: u64::MAX };
        assert!(limits.check(Path::new("a"), &page, (u64::MAX, 1)).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_memory_of_this_machine_bounds_the_default() {
        let memory = memory_bytes().unwrap();
        assert!(memory > 64 << 20);
        assert!(Limits::default().decoded_bytes <= memory / 10 * 7);
    }
}
