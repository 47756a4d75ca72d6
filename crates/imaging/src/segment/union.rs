//! Joining of runs that touch into components: union-find over the runs of a volume.
//!
//! The root of a component is its first run in raster order, so components are numbered in the
//! order in which they appear, whatever the number of threads. After the run-based two-pass
//! labelling of He, Chao, Suzuki (2008, IEEE Trans. Image Process. 17:749).

use crate::ImagingError;
use crate::memory::{with_room, zeroed};
use rayon::prelude::*;
use std::ops::Range;

/// Which voxels are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connectivity {
    /// The six that share a face.
    Faces,
    /// The twenty-six that share a face, an edge or a corner.
    Corners,
}

/// Something that takes the voxels of a row from a start to before an end.
pub(crate) trait Stretch: Copy + Sync {
    /// First x and one past the last.
    fn span(&self) -> [u32; 2];
}

/// The runs of a volume in raster order.
pub(crate) struct Runs<R> {
    pub(crate) runs: Vec<R>,
    /// First run of each row (z, y), one more at the end.
    pub(crate) rows: Vec<u32>,
}

impl<R: Stretch + Send> Runs<R> {
    /// Gathers the runs that `find` adds for each row (z, y), pages side by side. Refuses more than 4
    /// billion.
    pub(crate) fn gather(
        [nz, ny]: [usize; 2],
        find: impl Fn([usize; 2], &mut Vec<R>) + Sync,
    ) -> Result<Self, ImagingError> {
        let pages: Vec<(Vec<R>, Vec<u32>)> = (0..nz)
            .into_par_iter()
            .map(|z| {
                let (mut runs, mut ends) = (Vec::new(), Vec::with_capacity(ny));
                for y in 0..ny {
                    find([z, y], &mut runs);
                    ends.push(runs.len() as u32);
                }
                (runs, ends)
            })
            .collect();
        let total: usize = pages.iter().map(|(runs, _)| runs.len()).sum();
        if u32::try_from(total).is_err() {
            return Err(ImagingError::TooFragmented);
        }
        let (mut runs, mut rows) = (with_room(total), with_room(nz * ny + 1));
        rows.push(0);
        for (page, ends) in pages {
            let before = runs.len() as u32;
            rows.extend(ends.iter().map(|end| before + end));
            runs.extend(page);
        }
        Ok(Self { runs, rows })
    }
}

/// Fewest runs worth a second thread.
const RUNS_PER_TASK: usize = 20_000;

/// Component of each run, numbered from 0 in raster order, and how many there are. `rows` holds
/// the first run of each row (z, y) and one past the last run at the end.
pub(crate) fn join<R: Stretch>(
    runs: &[R],
    rows: &[u32],
    ny: usize,
    connectivity: Connectivity,
) -> (Vec<u32>, usize) {
    let nz = (rows.len() - 1) / ny;
    let forest = Forest { runs, rows, ny, connectivity };
    let mut parent: Vec<u32> = with_room(runs.len());
    parent.extend(0..runs.len() as u32);
    let tasks = (runs.len() / RUNS_PER_TASK).clamp(1, rayon::current_num_threads()).min(nz);
    let firsts: Vec<usize> = (0..=tasks).map(|k| k * nz / tasks).collect();
    // Each slab joins within itself, with parents counted from its own first run.
    let mut slabs = Vec::with_capacity(tasks);
    let mut rest = parent.as_mut_slice();
    for pair in firsts.windows(2) {
        let [from, to] = [rows[pair[0] * ny], rows[pair[1] * ny]];
        let (own, later) = rest.split_at_mut((to - from) as usize);
        rest = later;
        slabs.push((pair[0]..pair[1], Parents { parent: own, from }));
    }
    slabs.into_par_iter().for_each(|(pages, mut parents)| {
        for z in pages.clone() {
            let sides = Sides { beside: true, below: z > pages.start };
            (0..ny).for_each(|y| forest.join_row([z, y], sides, &mut parents));
        }
    });
    let mut parents = Parents { parent: &mut parent, from: 0 };
    for &z in firsts.iter().take(tasks).skip(1) {
        let sides = Sides { beside: false, below: true };
        (0..ny).for_each(|y| forest.join_row([z, y], sides, &mut parents));
    }
    number(&parent)
}

/// Parents come before their children, so one pass numbers all.
fn number(parent: &[u32]) -> (Vec<u32>, usize) {
    let mut labels: Vec<u32> = zeroed(parent.len());
    let mut count = 0u32;
    for (i, &root) in parent.iter().enumerate() {
        labels[i] = if root as usize == i {
            count += 1;
            count - 1
        } else {
            labels[root as usize]
        };
    }
    (labels, count as usize)
}

struct Forest<'a, R> {
    runs: &'a [R],
    rows: &'a [u32],
    ny: usize,
    connectivity: Connectivity,
}

/// Which of the rows before a row it is joined with.
#[derive(Clone, Copy)]
struct Sides {
    /// In the same page.
    beside: bool,
    /// In the page below.
    below: bool,
}

/// Parents of the runs from `from` on.
struct Parents<'a> {
    parent: &'a mut [u32],
    from: u32,
}

impl<R: Stretch> Forest<'_, R> {
    /// Joins the runs of row (z, y) with those of the rows before it.
    fn join_row(&self, [z, y]: [usize; 2], sides: Sides, parents: &mut Parents<'_>) {
        let row = z * self.ny + y;
        let own = self.rows[row]..self.rows[row + 1];
        if own.is_empty() {
            return;
        }
        let corners = self.connectivity == Connectivity::Corners;
        let under = row.checked_sub(self.ny).filter(|_| sides.below);
        let neighbours = [
            (sides.beside && y > 0).then(|| row - 1),
            under.filter(|_| corners && y > 0).map(|row| row - 1),
            under,
            under.filter(|_| corners && y + 1 < self.ny).map(|row| row + 1),
        ];
        for other in neighbours.into_iter().flatten() {
            self.join_rows(own.clone(), self.rows[other]..self.rows[other + 1], parents);
        }
    }

    fn join_rows(&self, own: Range<u32>, others: Range<u32>, parents: &mut Parents<'_>) {
        // Runs that touch at a corner end where the other starts.
        let reach = u32::from(self.connectivity == Connectivity::Corners);
        let of_row = |row: &Range<u32>| &self.runs[row.start as usize..row.end as usize];
        let (runs, other_runs) = (of_row(&own), of_row(&others));
        let (mut a, mut b) = (0, 0);
        // Of run a, once it has been asked for.
        let mut root = None;
        while let (Some(run), Some(other)) = (runs.get(a), other_runs.get(b)) {
            let ([start_a, end_a], [start_b, end_b]) = (run.span(), other.span());
            if start_a < end_b + reach && start_b < end_a + reach {
                let known = root.unwrap_or_else(|| parents.root(own.start + a as u32));
                root = Some(parents.unite(known, others.start + b as u32));
            }
            if end_a < end_b {
                (a, root) = (a + 1, None);
            } else {
                b += 1;
            }
        }
    }
}

impl Parents<'_> {
    /// The lesser of a root and the root of a run becomes the root of both.
    fn unite(&mut self, root: u32, run: u32) -> u32 {
        let other = self.root(run);
        self.parent[(root.max(other) - self.from) as usize] = root.min(other);
        root.min(other)
    }

    fn root(&mut self, mut i: u32) -> u32 {
        loop {
            let above = self.parent[(i - self.from) as usize];
            if above == i {
                return i;
            }
            let next = self.parent[(above - self.from) as usize];
            self.parent[(i - self.from) as usize] = next;
            i = next;
        }
    }
}
