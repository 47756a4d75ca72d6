//! Joining of runs that touch into components: union-find over the runs of a volume.
//!
//! The root of a component is its first run in raster order, so components are numbered in the
//! order in which they appear, whatever the number of threads. After the run-based two-pass
//! labelling of He, Chao, Suzuki (2008, IEEE Trans. Image Process. 17:749).

use crate::segment::label::LabelledRun;
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

/// Fewest runs worth a second thread.
const RUNS_PER_TASK: usize = 20_000;

/// Joins runs, each of which is labelled with its own index, and labels each with its component,
/// numbered from 0 in raster order. Returns how many there are. `rows` holds the first run of each
/// row (z, y) and one past the last run at the end.
pub(crate) fn join(
    runs: &mut [LabelledRun],
    rows: &[u32],
    ny: usize,
    connectivity: Connectivity,
) -> usize {
    let nz = (rows.len() - 1) / ny;
    let rows = Rows { rows, ny, connectivity };
    let tasks = (runs.len() / RUNS_PER_TASK).clamp(1, rayon::current_num_threads()).min(nz);
    let firsts: Vec<usize> = (0..=tasks).map(|k| k * nz / tasks).collect();
    // Each slab joins within itself.
    let mut slabs = Vec::with_capacity(tasks);
    let mut rest = &mut *runs;
    for pair in firsts.windows(2) {
        let [from, to] = [rows.rows[pair[0] * ny], rows.rows[pair[1] * ny]];
        let (own, later) = rest.split_at_mut((to - from) as usize);
        rest = later;
        slabs.push((pair[0]..pair[1], Forest { runs: own, from }));
    }
    slabs.into_par_iter().for_each(|(pages, mut forest)| {
        for z in pages.clone() {
            let sides = Sides { beside: true, below: z > pages.start };
            (0..ny).for_each(|y| rows.join_row([z, y], sides, &mut forest));
        }
    });
    let mut forest = Forest { runs: &mut *runs, from: 0 };
    for &z in firsts.iter().take(tasks).skip(1) {
        let sides = Sides { beside: false, below: true };
        (0..ny).for_each(|y| rows.join_row([z, y], sides, &mut forest));
    }
    number(runs)
}

/// Parents come before their children, so one pass numbers all.
fn number(runs: &mut [LabelledRun]) -> usize {
    let mut count = 0u32;
    for i in 0..runs.len() {
        let parent = runs[i].label as usize;
        runs[i].label = if parent == i {
            count += 1;
            count - 1
        } else {
            runs[parent].label
        };
    }
    count as usize
}

/// Where the runs of a volume's rows are.
struct Rows<'a> {
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

/// The runs from `from` on. The label of each is its parent, a run before it or itself.
struct Forest<'a> {
    runs: &'a mut [LabelledRun],
    from: u32,
}

impl Rows<'_> {
    /// Joins the runs of row (z, y) with those of the rows before it.
    fn join_row(&self, [z, y]: [usize; 2], sides: Sides, forest: &mut Forest<'_>) {
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
            let others = self.rows[other]..self.rows[other + 1];
            forest.join_rows(own.clone(), others, u32::from(corners));
        }
    }
}

impl Forest<'_> {
    /// Joins runs of two rows. Those that touch at a corner end where the other starts, a `reach` of
    /// one voxel.
    fn join_rows(&mut self, own: Range<u32>, others: Range<u32>, reach: u32) {
        let (mut a, mut b) = (own.start, others.start);
        // Of run a, once it has been asked for.
        let mut root = None;
        while a < own.end && b < others.end {
            let (run, other) = (self.run(a), self.run(b));
            if run.start < other.end + reach && other.start < run.end + reach {
                let known = root.unwrap_or_else(|| self.root(a));
                root = Some(self.unite(known, b));
            }
            if run.end < other.end {
                (a, root) = (a + 1, None);
            } else {
                b += 1;
            }
        }
    }

    fn run(&self, i: u32) -> LabelledRun {
        self.runs[(i - self.from) as usize]
    }

    fn set_parent(&mut self, i: u32, parent: u32) {
        self.runs[(i - self.from) as usize].label = parent;
    }

    /// The lesser of a root and the root of a run becomes the root of both.
    fn unite(&mut self, root: u32, run: u32) -> u32 {
        let other = self.root(run);
        self.set_parent(root.max(other), root.min(other));
        root.min(other)
    }

    fn root(&mut self, mut i: u32) -> u32 {
        loop {
            let above = self.run(i).label;
            if above == i {
                return i;
            }
            let next = self.run(above).label;
            self.set_parent(i, next);
            i = next;
        }
    }
}
