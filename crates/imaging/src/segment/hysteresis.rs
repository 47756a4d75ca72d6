//! Grey → phase by two levels or by the surroundings, and powder within voids.

use crate::ImagingError;
use crate::arguments::{check_range, check_shape};
use crate::segment::bits::{Bits, span_mask};
use crate::segment::label::{Labels, label};
use crate::segment::union::Connectivity;
use rayon::prelude::*;

/// Pages whose sums one task carries along.
const SLAB: usize = 16;

/// The voxels darker than `dark` that hang together with one darker than `seed`: a pore must be
/// proven by its core and reaches to its rim.
pub fn hysteresis(
    grey: &[u16],
    shape: [usize; 3],
    [seed, dark]: [u16; 2],
    connectivity: Connectivity,
) -> Result<Bits, ImagingError> {
    let found = label(&Bits::darker_than(grey, shape, dark)?, connectivity)?;
    let seeds = Bits::darker_than(grey, shape, seed)?;
    let mut proven = vec![false; found.count()];
    for_runs(&found, |[z, y], start, end, label| {
        let row = seeds.row(z, y);
        let words = start / 64..end.div_ceil(64);
        proven[label] |= words.into_iter().any(|w| row[w] & span_mask(w, start, end) != 0);
    });
    Ok(found.bits(|label| proven[label as usize]))
}

fn for_runs(found: &Labels, mut each: impl FnMut([usize; 2], usize, usize, usize)) {
    let [nz, ny, _] = found.shape();
    for row in 0..nz * ny {
        let at = [row / ny, row % ny];
        for run in found.row(at[0], at[1]) {
            each(at, run.start as usize, run.end as usize, run.label as usize);
        }
    }
}

/// The phase with the islands it encloses: unmelted powder lies in a void as bright grains, and
/// the void is the whole of it. An island is a piece of the rest, connected by faces, of at most
/// `largest_voxels` that does not reach the edge of the volume.
pub fn fill_islands(phase: &Bits, largest_voxels: u64) -> Result<Bits, ImagingError> {
    let rest = label(&phase.complement(), Connectivity::Faces)?;
    let [nz, ny, nx] = phase.shape();
    let mut islands: Vec<bool> = rest.sizes().iter().map(|&size| size <= largest_voxels).collect();
    for_runs(&rest, |[z, y], start, end, label| {
        let edge = z == 0 || y == 0 || start == 0 || z + 1 == nz || y + 1 == ny || end == nx;
        islands[label] &= !edge;
    });
    Ok(phase.combined(&rest.bits(|label| islands[label as usize]), |a, b| a | b))
}

/// The surroundings that a voxel is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalOptions {
    /// Half edge in voxels of the cube around it, 1 to 127, cut off at the edge of the volume.
    pub radius: usize,
    /// How much darker than the mean of the cube a voxel has to be.
    pub offset: u16,
}

/// The voxels darker than the mean of their surroundings by more than the offset: follows shading
/// that no global level does, but hollows out pores wider than the cube. Sums are exact.
pub fn local_threshold(
    grey: &[u16],
    shape: [usize; 3],
    options: &LocalOptions,
) -> Result<Bits, ImagingError> {
    check_shape(shape, grey.len())?;
    check_range("radius", options.radius as f64, [1.0, 127.0], "voxels")?;
    let page = shape[1] * shape[2];
    let mut dark = vec![false; grey.len()];
    dark.par_chunks_mut(SLAB * page).enumerate().for_each(|(slab, dark)| {
        let mut window = Window::new(grey, shape, options.radius);
        for (k, dark) in dark.chunks_mut(page).enumerate() {
            let z = slab * SLAB + k;
            window.move_to(z);
            window.compare(&grey[z * page..(z + 1) * page], u64::from(options.offset), dark);
        }
    });
    Bits::from_mask(&dark, shape)
}

/// Sums over the pages around one page.
struct Window<'a> {
    grey: &'a [u16],
    shape: [usize; 3],
    radius: usize,
    pages: std::ops::Range<usize>,
    /// Sum of each column of the pages.
    columns: Vec<u32>,
    /// Sums of all columns before (y, x), one more along each axis.
    table: Vec<u64>,
}

impl<'a> Window<'a> {
    fn new(grey: &'a [u16], shape: [usize; 3], radius: usize) -> Self {
        let [_, ny, nx] = shape;
        let (columns, table) = (vec![0; ny * nx], vec![0; (ny + 1) * (nx + 1)]);
        Self { grey, shape, radius, pages: 0..0, columns, table }
    }

    fn move_to(&mut self, z: usize) {
        let page = self.columns.len();
        let wanted = z.saturating_sub(self.radius)..(z + self.radius + 1).min(self.shape[0]);
        if self.pages.is_empty() {
            self.pages = wanted.start..wanted.start;
        }
        for z in self.pages.end..wanted.end {
            let added = &self.grey[z * page..(z + 1) * page];
            self.columns.iter_mut().zip(added).for_each(|(sum, &v)| *sum += u32::from(v));
        }
        for z in self.pages.start..wanted.start {
            let left = &self.grey[z * page..(z + 1) * page];
            self.columns.iter_mut().zip(left).for_each(|(sum, &v)| *sum -= u32::from(v));
        }
        self.pages = wanted;
        let [_, ny, nx] = self.shape;
        for y in 0..ny {
            let mut row = 0;
            for x in 0..nx {
                row += u64::from(self.columns[y * nx + x]);
                self.table[(y + 1) * (nx + 1) + x + 1] = self.table[y * (nx + 1) + x + 1] + row;
            }
        }
    }

    fn compare(&self, page: &[u16], offset: u64, dark: &mut [bool]) {
        let [_, ny, nx] = self.shape;
        let around =
            |i: usize, n: usize| (i.saturating_sub(self.radius), (i + self.radius + 1).min(n));
        for y in 0..ny {
            let (y0, y1) = around(y, ny);
            for x in 0..nx {
                let (x0, x1) = around(x, nx);
                let at = |y: usize, x: usize| self.table[y * (nx + 1) + x];
                let sum = at(y1, x1) + at(y0, x0) - at(y0, x1) - at(y1, x0);
                let count = (self.pages.len() * (y1 - y0) * (x1 - x0)) as u64;
                let i = y * nx + x;
                dark[i] = (u64::from(page[i]) + offset) * count < sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rim_counts_with_its_core_only() {
        let grey = [9, 5, 2, 5, 9, 5, 5, 9];
        let levels = [3, 6];
        let found = hysteresis(&grey, [1, 1, 8], levels, Connectivity::Faces).unwrap().to_mask();
        assert_eq!(found, [false, true, true, true, false, false, false, false]);
    }

    #[test]
    fn grains_within_a_void_are_void() {
        let void = |i: usize| {
            let p = [i / 81, i / 9 % 9, i % 9];
            p.iter().all(|c| (1..8).contains(c)) && p != [4, 4, 4]
        };
        let mask: Vec<bool> = (0..729).map(void).collect();
        let bits = Bits::from_mask(&mask, [9; 3]).unwrap();
        assert_eq!(fill_islands(&bits, 1).unwrap().count(), 343);
        assert_eq!(fill_islands(&bits, 0).unwrap().count(), 342);
    }

    #[test]
    fn dark_is_darker_than_around() {
        let options = LocalOptions { radius: 1, offset: 1 };
        let found = local_threshold(&[10, 10, 4, 10, 20, 20, 18], [1, 1, 7], &options).unwrap();
        // Means 10, 8, 8, 11.3, 16.7, 19.3, 19.
        assert_eq!(found.to_mask(), [false, false, true, true, false, false, false]);
        let tall = local_threshold(&[50, 3, 50, 50], [4, 1, 1], &options).unwrap();
        assert_eq!(tall.to_mask(), [false, true, false, false]);
    }
}
