//! Grey histogram of the part and what can be read from it: quantiles, and the mode of the solid.

use crate::segment::part::Part;
use rayon::prelude::*;

/// Levels of a `u16`.
const LEVELS: usize = 65536;
/// Voxels counted by one task at a time.
const CHUNK: usize = 1 << 20;

/// Number of voxels at each of the 65,536 grey levels.
pub fn histogram(grey: &[u16]) -> Vec<u64> {
    tally(grey, CHUNK, |counts, chunk| {
        for &value in chunk {
            counts[usize::from(value)] += 1;
        }
    })
}

/// Smallest level with at least `share` (0 to 1) of the voxels at or below it, given the number
/// at each level: the percentile without interpolation. 65,535 without voxels.
pub fn level_at(counts: &[u64], share: f64) -> u16 {
    let total: u64 = counts.iter().sum();
    let target = (share * total as f64).ceil().max(1.0) as u64;
    let mut seen = 0;
    for (level, count) in counts.iter().enumerate().take(LEVELS) {
        seen += count;
        if seen >= target {
            return level as u16;
        }
    }
    u16::MAX
}

/// Counts in parallel; integer sums, so independent of the number of threads. Each thread's table is
/// of 32 bits, for it should stay in the cache; no more voxels go into one than it can count.
fn tally(
    grey: &[u16],
    chunk: usize,
    count: impl Fn(&mut [u32; LEVELS], &[u16]) + Sync,
) -> Vec<u64> {
    let mut counts = vec![0u64; LEVELS];
    for grey in grey.chunks((u32::MAX as usize / chunk).max(1) * chunk) {
        let tables = grey.par_chunks(chunk).fold(
            || vec![0u32; LEVELS],
            |mut counts, chunk| {
                // Of known length, so that no level needs a check.
                if let Some(table) = counts.first_chunk_mut() {
                    count(table, chunk);
                }
                counts
            },
        );
        let table = tables.reduce_with(|mut a, b| {
            a.iter_mut().zip(&b).for_each(|(a, b)| *a += b);
            a
        });
        for (sum, count) in counts.iter_mut().zip(table.unwrap_or_default()) {
            *sum += u64::from(count);
        }
    }
    counts
}

/// Number of voxels of a part at each level, with what is read off them.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    quantum: u16,
}

/// The solid's grey value and the spread of its voxels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Solid {
    /// Mode.
    pub grey: f64,
    /// Standard deviation, from the bright side only: pores darken, nothing but noise brightens.
    pub sd: f64,
}

impl Histogram {
    /// Counts the voxels of the part. Integer sums, so independent of the number of threads.
    pub(crate) fn of_part(grey: &[u16], part: &Part, quantum: u16) -> Self {
        let [_, ny, nx] = part.shape();
        let counts = tally(grey, ny * nx * 8, |counts, slab| {
            for page in slab.chunks(ny * nx) {
                for (y, row) in page.chunks(nx).enumerate() {
                    for span in part.spans(y) {
                        for &value in &row[span.clone()] {
                            counts[usize::from(value)] += 1;
                        }
                    }
                }
            }
        });
        let total = counts.iter().sum();
        Self { counts, total, quantum }
    }

    /// Smallest level with at least `share` of the voxels at or below it.
    pub(crate) fn quantile(&self, share: f64) -> u16 {
        level_at(&self.counts, share)
    }

    /// Mean grey.
    pub(crate) fn mean(&self) -> f64 {
        let sum: u64 = self.counts.iter().enumerate().map(|(g, c)| g as u64 * c).sum();
        sum as f64 / self.total.max(1) as f64
    }

    /// Root mean square distance of the voxels darker than `grey` from it.
    pub(crate) fn dark_side_sd(&self, grey: f64) -> f64 {
        let end = (grey.ceil().max(0.0) as usize).min(65536);
        let (mut sum, mut count) = (0.0, 0u64);
        for (level, &voxels) in self.counts[..end].iter().enumerate() {
            sum += voxels as f64 * (grey - level as f64).powi(2);
            count += voxels;
        }
        (sum / count.max(1) as f64).sqrt()
    }

    /// Share of voxels darker than `level`.
    pub(crate) fn share_below(&self, level: f64) -> f64 {
        self.below(level) as f64 / self.total.max(1) as f64
    }

    /// Share of voxels at least as bright as `level`.
    pub(crate) fn share_above(&self, level: f64) -> f64 {
        1.0 - self.share_below(level)
    }

    /// Voxels darker than `level`.
    pub(crate) fn below(&self, level: f64) -> u64 {
        let end = (level.ceil().max(0.0) as usize).min(65536);
        self.counts[..end].iter().sum()
    }

    /// Quantile among the voxels darker than `level`; `level` itself when there are none.
    pub(crate) fn quantile_below(&self, level: f64, share: f64) -> f64 {
        let below = self.below(level);
        if below == 0 {
            return level;
        }
        let target = ((share * below as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (grey, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= target {
                return grey as f64;
            }
        }
        level
    }

    /// The brightest pronounced peak, refined. Metal is the brightest phase of such a scan and
    /// more than a third of it; the tallest peak is not always the solid's, for a part more void
    /// than metal.
    pub(crate) fn solid(&self) -> Solid {
        let mut grey = self.brightest_peak();
        let mut sd = self.bright_side_sd(grey);
        for _ in 0..6 {
            grey = self.mean_within(grey - 1.5 * sd, grey + 1.5 * sd).unwrap_or(grey);
            sd = self.bright_side_sd(grey);
        }
        Solid { grey, sd }
    }

    fn brightest_peak(&self) -> f64 {
        let low = usize::from(self.quantile(1e-4));
        let high = usize::from(self.quantile(1.0 - 1e-4));
        let quantum = usize::from(self.quantum);
        let width = (high - low + 1).div_ceil(512).next_multiple_of(quantum);
        let bins = (high - low) / width + 1;
        let mut height = vec![0.0f64; bins + 8];
        for (bin, height) in height[4..4 + bins].iter_mut().enumerate() {
            let start = low + bin * width;
            *height = self.counts[start..(start + width).min(65536)].iter().sum::<u64>() as f64;
        }
        for _ in 0..2 {
            let copy = height.clone();
            for i in 2..height.len() - 2 {
                height[i] = (copy[i - 2] + copy[i + 2]) / 16.0
                    + (copy[i - 1] + copy[i + 1]) / 4.0
                    + copy[i] * 0.375;
            }
        }
        let tallest = height.iter().copied().fold(0.0, f64::max);
        let mut peak = height.len() - 1;
        for i in (0..height.len()).rev() {
            if height[i] > height[peak] {
                peak = i;
            } else if height[peak] > 0.15 * tallest && height[i] < 0.6 * height[peak] {
                break;
            }
        }
        low as f64 + (peak as f64 - 4.0) * width as f64 + (width as f64 - quantum as f64) / 2.0
    }

    /// Width of the half above `grey` that holds 68.3 % of its voxels. Levels are taken as boxes
    /// one quantum wide, which keeps the figure sensible for 8-bit data with little noise.
    fn bright_side_sd(&self, grey: f64) -> f64 {
        let half = f64::from(self.quantum) / 2.0;
        let share_above = |level: f64| ((level + half - grey) / (2.0 * half)).clamp(0.0, 1.0);
        let first = ((grey - half).floor().max(0.0) as usize).min(65535);
        let weight = |level: usize| self.counts[level] as f64 * share_above(level as f64);
        let total: f64 = (first..65536).map(weight).sum();
        let mut seen = 0.0;
        for level in first..65536 {
            let here = weight(level);
            if here > 0.0 && seen + here >= 0.683 * total {
                let left = (level as f64 - half).max(grey);
                let inside = (0.683 * total - seen) / here;
                return (left + inside * (level as f64 + half - left) - grey).max(0.3 * half);
            }
            seen += here;
        }
        0.3 * half
    }

    fn mean_within(&self, low: f64, high: f64) -> Option<f64> {
        let start = (low.ceil().max(0.0) as usize).min(65535);
        let end = (high.floor().max(0.0) as usize).min(65535);
        let (mut sum, mut count) = (0u64, 0u64);
        for level in start..=end.max(start) {
            sum += level as u64 * self.counts[level];
            count += self.counts[level];
        }
        (count > 0 && end >= start).then(|| sum as f64 / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(counts: &[(usize, u64)]) -> Histogram {
        let mut all = vec![0; 65536];
        counts.iter().for_each(|&(level, count)| all[level] = count);
        Histogram { total: all.iter().sum(), counts: all, quantum: 1 }
    }

    #[test]
    fn quantiles_and_mean_of_four_voxels() {
        let h = histogram(&[(10, 1), (20, 2), (30, 1)]);
        assert_eq!((h.quantile(0.0), h.quantile(0.5), h.quantile(1.0)), (10, 20, 30));
        assert_eq!(h.mean(), 20.0);
        assert_eq!(h.below(20.0), 1);
        assert_eq!(h.quantile_below(25.0, 0.5), 20.0);
    }

    #[test]
    fn the_solid_is_the_brightest_peak_even_when_voids_prevail() {
        let bell = |centre: f64, height: f64, sd: f64| {
            move |g: usize| (height * (-0.5 * ((g as f64 - centre) / sd).powi(2)).exp()) as u64
        };
        let (void, metal) = (bell(12000.0, 3000.0, 900.0), bell(30000.0, 1000.0, 900.0));
        let counts: Vec<_> = (0..65536).map(|g| (g, void(g) + metal(g))).collect();
        let solid = histogram(&counts).solid();
        assert!((solid.grey - 30000.0).abs() < 100.0, "{solid:?}");
        assert!((solid.sd - 900.0).abs() < 50.0, "{solid:?}");
    }
}
