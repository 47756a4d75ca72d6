//! Which runs of set voxels belong together: union-find over blocks of rows.
//!
//! For 26 neighbours a block is two rows by two pages: all its voxels at one x or two x side by side
//! touch, so together they count as one row (the blocks of Grana, Borghesani, Cucchiara 2010, IEEE
//! Trans. Image Process. 19:1596). For six neighbours it is a single row. Where runs of two blocks
//! touch is read off the bits of the rows between them, so that only what touches is looked at. The
//! root of a component is the first of its runs, by block.

use crate::memory::zeroed;
use crate::segment::bits::{Bits, shifted};
use crate::simd::{InstructionSet, vectorised};
use rayon::prelude::*;

/// Which voxels are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connectivity {
    /// The six that share a face.
    Faces,
    /// The twenty-six that share a face, an edge or a corner.
    Corners,
}

/// Fewest runs worth a second thread.
pub(crate) const RUNS_PER_TASK: usize = 20_000;

/// The components of a phase, by a root for each run of a block.
pub(crate) struct Roots {
    runs: Runs,
    roots: Vec<u32>,
}

impl Roots {
    /// Joins what touches. The phase has no more than 4 billion runs.
    pub(crate) fn find(phase: &Bits, connectivity: Connectivity) -> Self {
        let rows = Rows { phase, grid: Grid::new(phase, connectivity) };
        let (runs, Grid { layers, .. }) = (rows.runs(), rows.grid);
        let mut parents: Vec<u32> = (0..runs.count()).collect();
        let tasks = (parents.len() / RUNS_PER_TASK).clamp(1, rayon::current_num_threads());
        let tasks = tasks.min(layers);
        let firsts: Vec<usize> = (0..=tasks).map(|k| k * layers / tasks).collect();
        // Each slab joins within itself.
        let mut slabs = Vec::with_capacity(tasks);
        let mut rest = parents.as_mut_slice();
        for pair in firsts.windows(2) {
            let [from, to] = [pair[0], pair[1]].map(|z| runs.before_layer(z));
            let (own, later) = rest.split_at_mut((to - from) as usize);
            rest = later;
            slabs.push((pair[0]..pair[1], Forest { parents: own, from }));
        }
        slabs.into_par_iter().for_each(|(slab, mut forest)| {
            for z in slab.clone() {
                let sides = Sides { beside: true, below: z > slab.start };
                rows.join_layer(z, sides, &runs, &mut forest);
            }
        });
        let mut forest = Forest { parents: &mut parents, from: 0 };
        for &z in firsts.iter().take(tasks).skip(1) {
            let sides = Sides { beside: false, below: true };
            rows.join_layer(z, sides, &runs, &mut forest);
        }
        // Parents come before their children, so one pass finds all roots.
        for i in 0..parents.len() {
            parents[i] = parents[parents[i] as usize];
        }
        Self { runs, roots: parents }
    }

    /// One more than the greatest root.
    pub(crate) fn bound(&self) -> usize {
        self.roots.len()
    }

    /// Root of the run that a voxel of the phase lies in.
    #[inline(always)]
    pub(crate) fn of(&self, [z, y]: [usize; 2], x: usize) -> u32 {
        let Grid { side, across, .. } = self.runs.grid;
        self.roots[self.runs.at(z / side * across + y / side, x) as usize]
    }
}

/// How the rows of a volume lie in blocks.
#[derive(Clone, Copy)]
struct Grid {
    /// Rows of a block along z and along y.
    side: usize,
    /// Blocks along z, and along y.
    layers: usize,
    across: usize,
    /// Words of a row.
    words: usize,
}

impl Grid {
    fn new(phase: &Bits, connectivity: Connectivity) -> Self {
        let [nz, ny, nx] = phase.shape();
        let side = match connectivity {
            Connectivity::Faces => 1,
            Connectivity::Corners => 2,
        };
        Self { side, layers: nz.div_ceil(side), across: ny.div_ceil(side), words: nx.div_ceil(64) }
    }
}

/// The runs of all blocks, numbered block by block.
struct Runs {
    grid: Grid,
    /// For each word of each block, a bit where a run starts.
    starts: Vec<u64>,
    /// Runs before each word, and of all at the end.
    before: Vec<u32>,
}

impl Runs {
    fn count(&self) -> u32 {
        self.before_layer(self.grid.layers)
    }

    fn before_layer(&self, z: usize) -> u32 {
        self.before[z * self.grid.across * self.grid.words]
    }

    /// The run of a block that holds an x of it.
    #[inline(always)]
    fn at(&self, block: usize, x: usize) -> u32 {
        let word = block * self.grid.words + x / 64;
        let upto = self.starts[word] & (u64::MAX >> (63 - x % 64));
        self.before[word] + upto.count_ones() - 1
    }
}

/// Which of the blocks before a block it is joined with.
#[derive(Clone, Copy)]
struct Sides {
    /// In the same layer of blocks.
    beside: bool,
    /// In the layer below.
    below: bool,
}

/// Two rows, perhaps the same twice, of which either counts.
#[derive(Clone, Copy)]
struct Either<'a>([&'a [u64]; 2]);

impl Either<'_> {
    #[inline(always)]
    fn word(&self, w: usize) -> u64 {
        self.0[0][w] | self.0[1][w]
    }

    /// The word moved as by [`shifted`].
    #[inline(always)]
    fn shifted(&self, w: usize, shift: isize) -> u64 {
        shifted(self.0[0], w, shift) | shifted(self.0[1], w, shift)
    }
}

/// A phase in rows of blocks.
struct Rows<'a> {
    phase: &'a Bits,
    grid: Grid,
}

impl<'a> Rows<'a> {
    /// First and last row of the blocks at `at` along an axis of so many rows.
    #[inline(always)]
    fn ends(&self, at: usize, rows: usize) -> [usize; 2] {
        [at * self.grid.side, ((at + 1) * self.grid.side - 1).min(rows - 1)]
    }

    #[inline(always)]
    fn rows(&self, one: [usize; 2], other: [usize; 2]) -> Either<'a> {
        Either([self.phase.row(one[0], one[1]), self.phase.row(other[0], other[1])])
    }

    /// The runs of all blocks.
    fn runs(&self) -> Runs {
        let [nz, ny, _] = self.phase.shape();
        let Grid { layers, across, words, .. } = self.grid;
        let mut starts: Vec<u64> = zeroed(layers * across * words);
        starts.par_chunks_mut(across * words).enumerate().for_each(|(z, starts)| {
            let [bottom, top] = self.ends(z, nz);
            for (y, starts) in starts.chunks_mut(words).enumerate() {
                let [first, last] = self.ends(y, ny);
                let low = self.rows([bottom, first], [bottom, last]);
                let high = self.rows([top, first], [top, last]);
                for (w, starts) in starts.iter_mut().enumerate() {
                    let before = low.shifted(w, -1) | high.shifted(w, -1);
                    *starts = (low.word(w) | high.word(w)) & !before;
                }
            }
        });
        let mut before = Vec::with_capacity(starts.len() + 1);
        let mut all = 0;
        for word in &starts {
            before.push(all);
            all += word.count_ones();
        }
        before.push(all);
        Runs { grid: self.grid, starts, before }
    }

    /// Joins the runs of a layer of blocks with those before them.
    fn join_layer(&self, z: usize, sides: Sides, runs: &Runs, forest: &mut Forest<'_>) {
        vectorised(
            InstructionSet::detect(),
            #[inline(always)]
            || {
                for y in 0..self.grid.across {
                    self.join([z, y], sides, runs, forest);
                }
            },
        );
    }

    /// Joins the runs of block (z, y) with those of the blocks before it.
    #[inline(always)]
    fn join(&self, [z, y]: [usize; 2], sides: Sides, runs: &Runs, forest: &mut Forest<'_>) {
        let [nz, ny, _] = self.phase.shape();
        let Grid { across, words, side, .. } = self.grid;
        let own = z * across + y;
        let ([bottom, top], [first, last]) = (self.ends(z, nz), self.ends(y, ny));
        let upright = |y: usize| self.rows([bottom, y], [top, y]);
        let level = |z: usize| self.rows([z, first], [z, last]);
        let row = |z: usize, y: usize| self.rows([z, y], [z, y]);
        let corners = side > 1;
        let beside = sides.beside && y > 0;
        let before = sides.below && corners && y > 0;
        let behind = sides.below && corners && y + 1 < across;
        // Each block before, with the rows of this one and of that one that face each other.
        let neighbours = [
            beside.then(|| (own - 1, upright(first), upright(first - 1))),
            sides.below.then(|| (own - across, level(bottom), level(bottom - 1))),
            before.then(|| (own - across - 1, row(bottom, first), row(bottom - 1, first - 1))),
            behind.then(|| (own - across + 1, row(bottom, last), row(bottom - 1, last + 1))),
        ];
        for (other, ours, theirs) in neighbours.into_iter().flatten() {
            for w in 0..words {
                let (a, b) = (ours.word(w), theirs.word(w));
                if b == 0 {
                    continue;
                }
                let (a_before, b_before) = (ours.shifted(w, -1), theirs.shifted(w, -1));
                let touch = a & b & !(a_before & b_before);
                unite(runs, ([own, other], w), (touch, 0), forest);
                if corners {
                    // Ours end where theirs start, and start where theirs end.
                    unite(runs, ([own, other], w), (a_before & !a & b & !b_before, -1), forest);
                    let (a_after, b_after) = (ours.shifted(w, 1), theirs.shifted(w, 1));
                    unite(runs, ([own, other], w), (a_after & !a & b & !b_after, 1), forest);
                }
            }
        }
    }
}

/// Unites, for each bit of word `w`, the run of the second block at its x with that of the first
/// `away` from there.
#[inline(always)]
fn unite(
    runs: &Runs,
    ([own, other], w): ([usize; 2], usize),
    (mut bits, away): (u64, isize),
    forest: &mut Forest<'_>,
) {
    while bits != 0 {
        let x = 64 * w + bits.trailing_zeros() as usize;
        forest.unite(runs.at(own, x.wrapping_add_signed(away)), runs.at(other, x));
        bits &= bits - 1;
    }
}

/// The runs from `from` on. The parent of each is a run before it or itself.
struct Forest<'a> {
    parents: &'a mut [u32],
    from: u32,
}

impl Forest<'_> {
    /// The lesser of the roots of two runs becomes the root of both.
    #[inline(always)]
    fn unite(&mut self, one: u32, other: u32) {
        let (one, other) = (self.root(one), self.root(other));
        self.set_parent(one.max(other), one.min(other));
    }

    fn parent(&self, i: u32) -> u32 {
        self.parents[(i - self.from) as usize]
    }

    fn set_parent(&mut self, i: u32, parent: u32) {
        self.parents[(i - self.from) as usize] = parent;
    }

    fn root(&mut self, mut i: u32) -> u32 {
        loop {
            let above = self.parent(i);
            if above == i {
                return i;
            }
            let next = self.parent(above);
            self.set_parent(i, next);
            i = next;
        }
    }
}
