//! Phase → volume, surface, mean breadth and Euler number: the four functionals that describe a
//! shape additively (Hadwiger).
//!
//! Volume and Euler number are those of the union of closed voxels, so that voxels that touch at
//! a corner hang together. Surface is Crofton's estimate from lattice lines in 13 directions
//! (Legland, Kiêu, Devaux 2007, Image Anal. Stereol. 26:83), mean breadth the mean over planes
//! across the three axes: right for balls and for shapes without preferred direction, a third low
//! for a box along the axes. Faces on the edge of the volume count as surface.

use crate::measure::pore::{crofton, crossings};
use crate::segment::Bits;
use crate::simd::{InstructionSet, vectorised};
use rayon::prelude::*;

/// The functionals of a phase, in voxels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Minkowski {
    /// Number of voxels.
    pub volume: u64,
    /// Surface in voxel faces.
    pub surface: f64,
    /// Mean over directions of the extent, summed over separate convex pieces, in voxel edges.
    pub mean_breadth: f64,
    /// Components minus tunnels plus enclosed voids, for the 26-neighbourhood.
    pub euler: i64,
}

/// Voxels and starts of runs along x of the unions of neighbouring rows.
#[derive(Clone, Copy, Default)]
struct Counts {
    /// Single rows, pairs along y, pairs along z, fours.
    voxels: [i64; 4],
    starts: [i64; 4],
    crossings: [u64; 3],
}

impl Counts {
    #[inline(always)]
    fn add(&mut self, kind: usize, union: impl Fn(usize) -> u64, words: usize) {
        let mut before = 0;
        for w in 0..words {
            let word = union(w);
            if word == 0 {
                before = 0;
                continue;
            }
            self.voxels[kind] += i64::from(word.count_ones());
            self.starts[kind] += i64::from((word & !(word << 1 | before >> 63)).count_ones());
            before = word;
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            voxels: std::array::from_fn(|k| self.voxels[k] + other.voxels[k]),
            starts: std::array::from_fn(|k| self.starts[k] + other.starts[k]),
            crossings: std::array::from_fn(|k| self.crossings[k] + other.crossings[k]),
        }
    }
}

/// Measures a phase.
pub fn minkowski(phase: &Bits) -> Minkowski {
    let (nz, set) = (phase.shape()[0], InstructionSet::detect());
    let page = |z| {
        vectorised(
            set,
            #[inline(always)]
            || of_page(phase, z),
        )
    };
    let counts = (0..=nz).into_par_iter().map(page).reduce(Counts::default, Counts::plus);
    // A run along x has one vertex more than it has edges; with cells counted by dimension and
    // sign, all but the starts of runs cancels.
    let [rows, pairs_y, pairs_z, fours] = counts.starts;
    let [row_voxels, pair_y_voxels, pair_z_voxels, four_voxels] = counts.voxels;
    let across_z = pairs_y - rows;
    let across_y = pairs_z - rows;
    let across_x = four_voxels - pair_y_voxels - pair_z_voxels + row_voxels;
    Minkowski {
        volume: row_voxels as u64,
        surface: crofton(counts.crossings),
        mean_breadth: (across_z + across_y + across_x) as f64 / 3.0,
        euler: fours - pairs_y - pairs_z + rows,
    }
}

/// Counts the rows of page `z` with those before and below; pages run to one past the last.
#[inline(always)]
fn of_page(phase: &Bits, z: usize) -> Counts {
    let [nz, ny, nx] = phase.shape();
    let words = nx.div_ceil(64);
    let mut counts = Counts::default();
    let row = |z: Option<usize>, y: Option<usize>| match (z, y) {
        (Some(z), Some(y)) if z < nz && y < ny => phase.row(z, y),
        _ => &[],
    };
    let word = |row: &[u64], w: usize| row.get(w).copied().unwrap_or(0);
    for y in 0..=ny {
        let (here, before) = (row(Some(z), Some(y)), row(Some(z), y.checked_sub(1)));
        let below = row(z.checked_sub(1), Some(y));
        let corner = row(z.checked_sub(1), y.checked_sub(1));
        counts.add(0, |w| word(here, w), words);
        counts.add(1, |w| word(here, w) | word(before, w), words);
        counts.add(2, |w| word(here, w) | word(below, w), words);
        let four = |w| word(here, w) | word(before, w) | word(below, w) | word(corner, w);
        counts.add(3, four, words);
        if !here.is_empty() {
            let open = crossings(phase, [z, y], 0..words, |w| here[w]);
            counts.crossings.iter_mut().zip(open).for_each(|(sum, add)| *sum += u64::from(add));
        }
    }
    counts
}

/// Share of the phase in each page, from bottom to top: the profile along the build direction.
pub fn page_shares(phase: &Bits) -> Vec<f64> {
    let [nz, ny, nx] = phase.shape();
    (0..nz).map(|z| phase.count_page(z) as f64 / (ny * nx) as f64).collect()
}

/// Number of chords by length, along one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chords {
    /// Chords that end within the volume on both sides; the index is the length in voxels.
    pub whole: Vec<u64>,
    /// Chords that reach the edge of the volume, whose length is a lower bound.
    pub cut: Vec<u64>,
}

impl Chords {
    fn new(n: usize) -> Self {
        Self { whole: vec![0; n + 1], cut: vec![0; n + 1] }
    }

    fn add(&mut self, start: usize, end: usize) {
        let cut = start == 0 || end + 1 == self.whole.len();
        let counts = if cut { &mut self.cut } else { &mut self.whole };
        counts[end - start] += 1;
    }

    fn plus(mut self, other: Self) -> Self {
        self.whole.iter_mut().zip(other.whole).for_each(|(a, b)| *a += b);
        self.cut.iter_mut().zip(other.cut).for_each(|(a, b)| *a += b);
        self
    }
}

/// Lengths of the straight stretches within the phase along z, y and x (Torquato 2002, 2.5).
pub fn chords(phase: &Bits) -> [Chords; 3] {
    let [nz, ny, nx] = phase.shape();
    let words = nx.div_ceil(64);
    let along_x = (0..nz).into_par_iter().map(|z| {
        let mut chords = Chords::new(nx);
        for y in 0..ny {
            phase.runs_of_row(z, y, |start, end| chords.add(start as usize, end as usize));
        }
        chords
    });
    let along_y = (0..nz).into_par_iter().map(|z| columns(ny, words, |y, w| phase.row(z, y)[w]));
    let along_z = (0..ny).into_par_iter().map(|y| columns(nz, words, |z, w| phase.row(z, y)[w]));
    [
        along_z.reduce(|| Chords::new(nz), Chords::plus),
        along_y.reduce(|| Chords::new(ny), Chords::plus),
        along_x.reduce(|| Chords::new(nx), Chords::plus),
    ]
}

/// Chords across `n` rows of words.
fn columns(n: usize, words: usize, row: impl Fn(usize, usize) -> u64) -> Chords {
    let mut chords = Chords::new(n);
    for w in 0..words {
        let mut starts = [0usize; 64];
        let mut before = 0u64;
        for i in 0..=n {
            let here = if i < n { row(i, w) } else { 0 };
            let mut changed = here ^ before;
            while changed != 0 {
                let lane = changed.trailing_zeros() as usize;
                changed &= changed - 1;
                if here >> lane & 1 == 1 {
                    starts[lane] = i;
                } else {
                    chords.add(starts[lane], i);
                }
            }
            before = here;
        }
    }
    chords
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(shape: [usize; 3], inside: impl Fn([usize; 3]) -> bool) -> Bits {
        let [nz, ny, nx] = shape;
        let at = |i: usize| [i / (ny * nx), i / nx % ny, i % nx];
        let mask: Vec<bool> = (0..nz * ny * nx).map(|i| inside(at(i))).collect();
        Bits::from_mask(&mask, shape).unwrap()
    }

    #[test]
    fn a_ball_measures_as_one() {
        let far = |p: [usize; 3]| p.iter().map(|&c| (c as f64 - 20.0).powi(2)).sum::<f64>();
        for radius in [8.3f64, 12.4, 16.7] {
            let found = minkowski(&bits([41, 41, 75], |p| far(p) <= radius * radius));
            let area = 4.0 * std::f64::consts::PI * radius * radius;
            assert!((found.surface / area - 1.0).abs() < 0.04, "{radius}: {found:?}");
            assert!((found.mean_breadth - 2.0 * radius).abs() < 1.0, "{radius}: {found:?}");
            assert_eq!(found.euler, 1);
        }
    }

    #[test]
    fn euler_counts_pieces_tunnels_and_voids() {
        let frame = |p: [usize; 3]| {
            p[0] == 3
                && (2..7).contains(&p[1])
                && (2..7).contains(&p[2])
                && (p[1] != 4 || p[2] != 4)
        };
        assert_eq!(minkowski(&bits([8, 9, 70], frame)).euler, 0);
        let shell = |p: [usize; 3]| p.iter().all(|c| (2..5).contains(c)) && p != [3, 3, 3];
        assert_eq!(minkowski(&bits([8, 9, 70], shell)).euler, 2);
        let corner = |p: [usize; 3]| p == [0, 0, 63] || p == [1, 1, 64] || p == [7, 8, 69];
        let found = minkowski(&bits([8, 9, 70], corner));
        assert_eq!((found.euler, found.volume), (2, 3));
        assert_eq!(minkowski(&bits([3, 3, 3], |_| false)).euler, 0);
    }

    #[test]
    fn chords_of_a_bar_and_of_one_that_leaves() {
        let bar = |p: [usize; 3]| p[0] == 1 && p[1] == 2 && (60..67).contains(&p[2]);
        let leaving = |p: [usize; 3]| p[0] == 3 && p[1] >= 3 && p[2] == 5;
        let [z, y, x] = chords(&bits([5, 6, 70], |p| bar(p) || leaving(p)));
        assert_eq!((x.whole[7], x.whole[1], x.cut.iter().sum()), (1, 3, 0u64));
        assert_eq!((y.whole[1], y.cut[3], y.whole[3]), (7, 1, 0));
        assert_eq!((z.whole[1], z.cut.iter().sum()), (10, 0u64));
    }

    #[test]
    fn shares_of_pages() {
        assert_eq!(page_shares(&bits([2, 2, 2], |p| p == [1, 0, 1])), [0.0, 0.25]);
    }
}
