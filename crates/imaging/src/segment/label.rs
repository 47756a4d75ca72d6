//! Phase → connected components, as labelled runs or as a volume of labels.
//!
//! A label volume costs four bytes per voxel, its runs a few bytes per pore surface: measures read
//! the runs, and the volume is only written for who asks.

use crate::ImagingError;
use crate::arguments::check_shape;
use crate::memory::{Stream, zeroed};
use crate::segment::bits::Bits;
use crate::segment::union::{Connectivity, RUNS_PER_TASK, Roots};
use crate::simd::{InstructionSet, vectorised};
use bytemuck::Zeroable;
use rayon::prelude::*;
use std::slice::IterMut;

/// A stretch of set voxels of a row that belong to one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelledRun {
    /// First x.
    pub start: u32,
    /// One past the last x.
    pub end: u32,
    /// Component, from 0.
    pub label: u32,
}

// SAFETY: zero is a value of each of the three numbers.
unsafe impl Zeroable for LabelledRun {}

/// The components of a phase.
#[derive(Debug, Clone)]
pub struct Labels {
    pub(crate) shape: [usize; 3],
    pub(crate) runs: Vec<LabelledRun>,
    /// First run of each row (z, y), one more at the end.
    pub(crate) rows: Vec<u32>,
    pub(crate) count: usize,
}

/// Finds the connected components of the set voxels, numbered from 0 in raster order of their
/// first voxel. Refuses a phase of more than 4 billion runs.
pub fn label(phase: &Bits, connectivity: Connectivity) -> Result<Labels, ImagingError> {
    let shape = phase.shape();
    let rows = first_runs(phase)?;
    let roots = Roots::find(phase, connectivity);
    let mut runs = runs(phase, &rows, &roots);
    let count = number(&mut runs, roots.bound());
    Ok(Labels { shape, runs, rows, count })
}

/// First run of each row, one more at the end.
fn first_runs(phase: &Bits) -> Result<Vec<u32>, ImagingError> {
    let [nz, ny, _] = phase.shape();
    let mut rows: Vec<u32> = zeroed(nz * ny + 1);
    let set = InstructionSet::detect();
    rows[1..].par_chunks_mut(ny).enumerate().for_each(|(z, counts)| {
        vectorised(
            set,
            #[inline(always)]
            || {
                for (y, count) in counts.iter_mut().enumerate() {
                    *count = phase.count_runs(z, y);
                }
            },
        );
    });
    let mut before = 0u32;
    for row in &mut rows {
        before = before.checked_add(*row).ok_or(ImagingError::TooFragmented)?;
        *row = before;
    }
    Ok(rows)
}

/// The runs in raster order, each labelled with its root.
fn runs(phase: &Bits, rows: &[u32], roots: &Roots) -> Vec<LabelledRun> {
    let [nz, ny, _] = phase.shape();
    let mut runs: Vec<LabelledRun> = zeroed(rows[nz * ny] as usize);
    let mut rest = runs.as_mut_slice();
    let mut pages = Vec::with_capacity(nz);
    let set = InstructionSet::detect();
    for z in 0..nz {
        let [from, to] = [rows[z * ny], rows[(z + 1) * ny]];
        let (own, later) = rest.split_at_mut((to - from) as usize);
        rest = later;
        pages.push(own.iter_mut());
    }
    pages.into_par_iter().enumerate().for_each(|(z, places)| {
        vectorised(
            set,
            #[inline(always)]
            || page_runs(phase, z, roots, places),
        );
    });
    runs
}

/// Puts the runs of page `z` in their places.
#[inline(always)]
fn page_runs(phase: &Bits, z: usize, roots: &Roots, mut places: IterMut<'_, LabelledRun>) {
    for y in 0..phase.shape()[1] {
        phase.runs_of_row(
            z,
            y,
            #[inline(always)]
            |start, end| {
                if let Some(run) = places.next() {
                    *run = LabelledRun { start, end, label: roots.of([z, y], start as usize) };
                }
            },
        );
    }
}

/// Replaces the roots of runs, all below `bound`, by numbers in the order in which they appear.
/// Returns how many there are.
fn number(runs: &mut [LabelledRun], bound: usize) -> usize {
    let share = runs.len().div_ceil(rayon::current_num_threads()).max(RUNS_PER_TASK);
    let met = runs.par_chunks(share).map(|runs| {
        let mut seen = vec![false; bound];
        let new = |run: &&LabelledRun| !std::mem::replace(&mut seen[run.label as usize], true);
        runs.iter().filter(new).map(|run| run.label).collect()
    });
    let met: Vec<Vec<u32>> = met.collect();
    let mut numbers: Vec<Option<u32>> = vec![None; bound];
    let mut count = 0;
    for root in met.into_iter().flatten() {
        numbers[root as usize].get_or_insert_with(|| {
            count += 1;
            count - 1
        });
    }
    runs.par_iter_mut().for_each(|run| {
        run.label = numbers[run.label as usize].unwrap_or_default();
    });
    count as usize
}

impl Labels {
    /// Shape (z, y, x).
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of components.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs of row (z, y), from low to high x; none beyond the volume.
    pub fn row(&self, z: usize, y: usize) -> &[LabelledRun] {
        let row = z * self.shape[1] + y;
        match (self.rows.get(row), self.rows.get(row + 1)) {
            (Some(&from), Some(&to)) if y < self.shape[1] => &self.runs[from as usize..to as usize],
            _ => &[],
        }
    }

    /// Voxels of each component.
    pub fn sizes(&self) -> Vec<u64> {
        let mut sizes = vec![0; self.count];
        for run in &self.runs {
            sizes[run.label as usize] += u64::from(run.end - run.start);
        }
        sizes
    }

    /// A volume with 0 outside and the component's number plus one inside.
    pub fn volume(&self) -> Vec<u32> {
        let mut out = zeroed(self.shape.iter().product());
        self.write(&mut out, true);
        out
    }

    /// The same into a volume that is there already, which spares the first touch of a new one.
    /// Refuses one of another length.
    pub fn volume_into(&self, out: &mut [u32]) -> Result<(), ImagingError> {
        check_shape(self.shape, out.len())?;
        self.write(out, false);
        Ok(())
    }

    fn write(&self, out: &mut [u32], zeroed: bool) {
        let [_, ny, nx] = self.shape;
        let values = out.len();
        let fill = |[z, y]: [usize; 2], row: &mut [u32]| {
            for run in self.row(z, y) {
                row[run.start as usize..run.end as usize].fill(run.label + 1);
            }
        };
        out.par_chunks_mut(ny * nx).enumerate().for_each_init(
            || vec![0; nx],
            |labels, (z, page)| {
                let stream = Stream::new(values);
                for (y, row) in page.chunks_mut(nx).enumerate() {
                    if zeroed {
                        fill([z, y], row);
                    } else {
                        labels.fill(0);
                        fill([z, y], labels);
                        stream.write(labels, row);
                    }
                }
            },
        );
    }

    /// The phase of the components for which `keep` holds.
    pub fn bits(&self, keep: impl Fn(u32) -> bool + Sync) -> Bits {
        Bits::from_spans(self.shape, |[z, y], fill| {
            for run in self.row(z, y).iter().filter(|run| keep(run.label)) {
                fill(run.start as usize, run.end as usize);
            }
        })
    }

    /// No components.
    pub(crate) fn none(shape: [usize; 3]) -> Self {
        Self { shape, runs: vec![], rows: zeroed(shape[0] * shape[1] + 1), count: 0 }
    }

    /// The components that are given a number, which is their label then; `count` of them.
    pub(crate) fn renumbered(mut self, numbers: &[Option<u32>], count: usize) -> Self {
        let (mut row, mut seen, mut kept) = (0, 0, 0);
        self.runs.retain_mut(|run| {
            while self.rows[row] <= seen {
                (self.rows[row], row) = (kept, row + 1);
            }
            seen += 1;
            let Some(number) = numbers[run.label as usize] else { return false };
            (run.label, kept) = (number, kept + 1);
            true
        });
        self.rows[row..].fill(kept);
        Self { count, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Flood fill, to compare: numbered in raster order, too.
    fn flooded(mask: &[bool], [nz, ny, nx]: [usize; 3], corners: bool) -> Vec<u32> {
        let mut labels = vec![0; mask.len()];
        let mut count = 0;
        for start in 0..mask.len() {
            if !mask[start] || labels[start] > 0 {
                continue;
            }
            count += 1;
            labels[start] = count;
            let mut open = vec![start];
            while let Some(i) = open.pop() {
                let at = [i / (ny * nx), i / nx % ny, i % nx];
                for k in 0..27 {
                    let step = [k / 9, k / 3 % 3, k % 3];
                    let far = step.iter().filter(|&&s| s != 1).count();
                    let to: Vec<usize> =
                        (0..3).map(|a| (at[a] + step[a]).wrapping_sub(1)).collect();
                    if to[0] >= nz || to[1] >= ny || to[2] >= nx || !corners && far > 1 {
                        continue;
                    }
                    let j = (to[0] * ny + to[1]) * nx + to[2];
                    if mask[j] && labels[j] == 0 {
                        labels[j] = count;
                        open.push(j);
                    }
                }
            }
        }
        labels
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn as_flood_fill_labels(
            shape in [1..9usize, 1..9usize, 1..90usize],
            density in 0.02..0.6f64,
            values in prop::collection::vec(0.0..1.0f64, 8 * 8 * 89),
        ) {
            let mask: Vec<bool> =
                values[..shape.iter().product()].iter().map(|&v| v < density).collect();
            let bits = Bits::from_mask(&mask, shape).unwrap();
            for (connectivity, corners) in
                [(Connectivity::Corners, true), (Connectivity::Faces, false)]
            {
                let found = label(&bits, connectivity).unwrap();
                prop_assert_eq!(found.volume(), flooded(&mask, shape, corners));
                // Not zeros, so that a voxel that is not written shows.
                let mut reused = vec![77; mask.len()];
                found.volume_into(&mut reused).unwrap();
                prop_assert_eq!(found.volume(), reused);
                prop_assert_eq!(found.sizes().iter().sum::<u64>(), bits.count());
                prop_assert_eq!(&found.bits(|_| true), &bits);
                // Of the components every second, from the last to the first.
                let count = found.count() as u32;
                let numbers: Vec<Option<u32>> =
                    (0..count).map(|k| (k % 2 == 0).then(|| (count - 1 - k) / 2)).collect();
                let left = count.div_ceil(2) as usize;
                let some = found.clone().renumbered(&numbers, left);
                prop_assert_eq!(some.bits(|_| true), found.bits(|label| label % 2 == 0));
                let wanted = found.volume().into_iter().map(|label| match label.checked_sub(1) {
                    Some(label) => numbers[label as usize].map_or(0, |number| number + 1),
                    None => 0,
                });
                prop_assert_eq!(some.volume(), wanted.collect::<Vec<_>>());
            }
        }
    }

    /// Enough runs that every thread has a slab.
    #[test]
    fn slabs_join_as_one() {
        let shape = [120, 160, 128];
        let mask: Vec<bool> = (0..120 * 160 * 128u32)
            .map(|i| i.wrapping_mul(2_654_435_761) >> 27 == 0 || i % 128 == i / 20_480)
            .collect();
        let bits = Bits::from_mask(&mask, shape).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for (connectivity, corners) in [(Connectivity::Corners, true), (Connectivity::Faces, false)]
        {
            let blocks = Roots::find(&bits, connectivity).bound();
            assert!(blocks > 3 * RUNS_PER_TASK, "{blocks}");
            let found = pool.install(|| label(&bits, connectivity).unwrap());
            assert!(found.count() > 10, "{}", found.count());
            assert_eq!(found.volume(), flooded(&mask, shape, corners));
        }
    }
}
