//! Which runs of set voxels belong together: union-find over blocks of rows.
//!
//! For 26 neighbours a block is two rows by two pages: all its voxels at one x or two x side by side
//! touch, so together they count as one row (the blocks of Grana, Borghesani, Cucchiara 2010, IEEE
//! Trans. Image Process. 19:1596). For six neighbours it is a single row. Where runs of two blocks
//! touch is read off the bits of the rows between them, so that only what touches is looked at. The
//! root of a component is the first of its runs, by block.

use crate::memory::zeroed;
use crate::segment::bits::Bits;
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
    side: usize,
    words: usize,
    /// Blocks along y.
    across: usize,
    /// For each word of each block, a bit where a run starts.
    starts: Vec<u64>,
    /// Runs of blocks before each word, and of all at the end.
    before: Vec<u32>,
    roots: Vec<u32>,
}

impl Roots {
    /// Joins what touches. The phase has no more than 4 billion runs.
    pub(crate) fn find(phase: &Bits, connectivity: Connectivity) -> Self {
        let rows = Rows::new(phase, connectivity);
        let mut found = rows.runs();
        let runs = found.before.last().map_or(0, |all| *all as usize);
        let mut parents: Vec<u32> = (0..runs as u32).collect();
        let tasks = (runs / RUNS_PER_TASK).clamp(1, rayon::current_num_threads()).min(rows.up);
        let firsts: Vec<usize> = (0..=tasks).map(|k| k * rows.up / tasks).collect();
        // Each slab joins within itself.
        let mut slabs = Vec::with_capacity(tasks);
        let mut rest = parents.as_mut_slice();
        for pair in firsts.windows(2) {
            let [from, to] = [pair[0], pair[1]].map(|z| found.before[z * rows.across * rows.words]);
            let (own, later) = rest.split_at_mut((to - from) as usize);
            rest = later;
            slabs.push((pair[0]..pair[1], Forest { parents: own, from }));
        }
        slabs.into_par_iter().for_each(|(layers, mut forest)| {
            for z in layers.clone() {
                let sides = Sides { beside: true, below: z > layers.start };
                rows.join_layer(z, sides, &found, &mut forest);
            }
        });
        let mut forest = Forest { parents: &mut parents, from: 0 };
        for &z in firsts.iter().take(tasks).skip(1) {
            let sides = Sides { beside: false, below: true };
            rows.join_layer(z, sides, &found, &mut forest);
        }
        // Parents come before their children, so one pass finds all roots.
        for i in 0..parents.len() {
            parents[i] = parents[parents[i] as usize];
        }
        found.roots = parents;
        found
    }

    /// One more than the greatest root.
    pub(crate) fn bound(&self) -> usize {
        self.roots.len()
    }

    /// Root of the run that a voxel of the phase lies in.
    #[inline(always)]
    pub(crate) fn of(&self, [z, y]: [usize; 2], x: u32) -> u32 {
        let block = z / self.side * self.across + y / self.side;
        self.roots[self.run(block, x as usize) as usize]
    }

    /// The run of a block that holds an x of it.
    #[inline(always)]
    fn run(&self, block: usize, x: usize) -> u32 {
        let word = block * self.words + x / 64;
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
}

/// A phase in rows of blocks.
struct Rows<'a> {
    phase: &'a Bits,
    set: InstructionSet,
    corners: bool,
    /// Rows of a block along z and along y.
    side: usize,
    words: usize,
    /// Blocks along z and along y.
    up: usize,
    across: usize,
}

impl<'a> Rows<'a> {
    fn new(phase: &'a Bits, connectivity: Connectivity) -> Self {
        let [nz, ny, nx] = phase.shape();
        let corners = connectivity == Connectivity::Corners;
        let side = if corners { 2 } else { 1 };
        let [up, across] = [nz, ny].map(|n| n.div_ceil(side));
        let set = InstructionSet::detect();
        Self { phase, set, corners, side, words: nx.div_ceil(64), up, across }
    }

    /// First and last row of the blocks at `at` along an axis of so many rows.
    fn ends(&self, at: usize, rows: usize) -> [usize; 2] {
        [at * self.side, (at * self.side + self.side - 1).min(rows - 1)]
    }

    #[inline(always)]
    fn rows(&self, one: [usize; 2], other: [usize; 2]) -> Either<'a> {
        Either([self.phase.row(one[0], one[1]), self.phase.row(other[0], other[1])])
    }

    /// The runs of all blocks, joined with none.
    fn runs(&self) -> Roots {
        let [nz, ny, _] = self.phase.shape();
        let blocks = self.up * self.across;
        let mut starts: Vec<u64> = zeroed(blocks * self.words);
        starts.par_chunks_mut(self.across * self.words).enumerate().for_each(|(z, starts)| {
            let [bottom, top] = self.ends(z, nz);
            for (y, starts) in starts.chunks_mut(self.words).enumerate() {
                let [first, last] = self.ends(y, ny);
                let low = self.rows([bottom, first], [bottom, last]);
                let high = self.rows([top, first], [top, last]);
                let mut before = 0;
                for (w, starts) in starts.iter_mut().enumerate() {
                    let word = low.word(w) | high.word(w);
                    *starts = word & !(word << 1 | before >> 63);
                    before = word;
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
        let (side, words, across) = (self.side, self.words, self.across);
        Roots { side, words, across, starts, before, roots: Vec::new() }
    }

    /// Joins the runs of a layer of blocks with those before them.
    fn join_layer(&self, z: usize, sides: Sides, runs: &Roots, forest: &mut Forest<'_>) {
        vectorised(
            self.set,
            #[inline(always)]
            || {
                for y in 0..self.across {
                    self.join([z, y], sides, runs, forest);
                }
            },
        );
    }

    /// Joins the runs of block (z, y) with those of the blocks before it.
    #[inline(always)]
    fn join(&self, [z, y]: [usize; 2], sides: Sides, runs: &Roots, forest: &mut Forest<'_>) {
        let [nz, ny, _] = self.phase.shape();
        let own = z * self.across + y;
        let ([bottom, top], [first, last]) = (self.ends(z, nz), self.ends(y, ny));
        let upright = |y: usize| self.rows([bottom, y], [top, y]);
        let across = |z: usize| self.rows([z, first], [z, last]);
        let row = |z: usize, y: usize| self.rows([z, y], [z, y]);
        let below = sides.below && bottom > 0;
        let [before, behind] = [y > 0, y + 1 < self.across].map(|is| is && below && self.corners);
        let beside = sides.beside && y > 0;
        // Each block before, with the rows of this one and of that one that face each other.
        let neighbours = [
            beside.then(|| (own - 1, upright(first), upright(first - 1))),
            below.then(|| (own - self.across, across(bottom), across(bottom - 1))),
            before.then(|| (own - self.across - 1, row(bottom, first), row(bottom - 1, first - 1))),
            behind.then(|| (own - self.across + 1, row(bottom, last), row(bottom - 1, last + 1))),
        ];
        for (other, ours, theirs) in neighbours.into_iter().flatten() {
            for w in 0..self.words {
                self.join_words(runs, w, ([own, other], [ours, theirs]), forest);
            }
        }
    }

    /// Joins the runs of two blocks where word `w` of the rows that face each other shows them touch.
    #[inline(always)]
    fn join_words(
        &self,
        runs: &Roots,
        w: usize,
        ([own, other], [ours, theirs]): ([usize; 2], [Either<'_>; 2]),
        forest: &mut Forest<'_>,
    ) {
        let (a, b) = (ours.word(w), theirs.word(w));
        if b == 0 {
            return;
        }
        let [a_before, b_before] =
            if w > 0 { [ours.word(w - 1), theirs.word(w - 1)] } else { [0, 0] };
        let both = a & b;
        let mut touch = both & !(both << 1 | (a_before & b_before) >> 63);
        while touch != 0 {
            let x = 64 * w + touch.trailing_zeros() as usize;
            forest.unite(runs.run(own, x), runs.run(other, x));
            touch &= touch - 1;
        }
        if !self.corners {
            return;
        }
        let [a_after, b_after] =
            if w + 1 < self.words { [ours.word(w + 1), theirs.word(w + 1)] } else { [0, 0] };
        // Ours end where theirs start, and start where theirs end.
        let mut end = (a << 1 | a_before >> 63) & !a & b & !(b << 1 | b_before >> 63);
        while end != 0 {
            let x = 64 * w + end.trailing_zeros() as usize;
            forest.unite(runs.run(own, x - 1), runs.run(other, x));
            end &= end - 1;
        }
        let mut start = (a >> 1 | a_after << 63) & !a & b & !(b >> 1 | b_after << 63);
        while start != 0 {
            let x = 64 * w + start.trailing_zeros() as usize;
            forest.unite(runs.run(own, x + 1), runs.run(other, x));
            start &= start - 1;
        }
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
