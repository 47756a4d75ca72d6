//! Which columns of the scan hold the part.
//!
//! Handled: constant padding outside a reconstructed field of view, and air around an upright
//! part, as long as the region spans the whole height and either holds all four corners of the
//! slice or one whole side. Not handled, and then measured as if it were pore: air above or below
//! the part, a tilted outer face, an outer face in one corner only.

use crate::filter::histogram::Histogram;
use crate::filter::median::Grey;
use crate::segment::bits::Bits;
use rayon::prelude::*;
use serde::Serialize;
use std::ops::Range;

/// Columns left out beside the outside region, against partial volume and filter edges.
const RIM: usize = 3;
/// Outside regions smaller than this share of the slice are left alone.
const SMALLEST_SHARE: f64 = 0.01;

/// What was left out of the scan before measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outside {
    /// Nothing: the part fills the scan.
    None,
    /// Constant padding around a field of view.
    Padding,
    /// Air around an upright part.
    Air,
}

/// The part: the same set of (y, x) columns at every height.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    shape: [usize; 3],
    spans: Vec<Vec<Range<usize>>>,
    columns: u64,
    pub(crate) outside: Outside,
}

impl Part {
    /// Everything is part.
    pub(crate) fn whole(shape: [usize; 3]) -> Self {
        let [_, ny, nx] = shape;
        let spans = (0..ny).map(|_| std::iter::once(0..nx).collect()).collect();
        Self { shape, spans, columns: (ny * nx) as u64, outside: Outside::None }
    }

    fn without(shape: [usize; 3], excluded: &[bool], outside: Outside) -> Self {
        let mut spans = Vec::with_capacity(shape[1]);
        let mut columns = 0;
        for row in excluded.chunks(shape[2]) {
            let mut row_spans = Vec::new();
            let mut x = 0;
            for group in row.chunk_by(|a, b| a == b) {
                if group.first() == Some(&false) {
                    row_spans.push(x..x + group.len());
                    columns += group.len() as u64;
                }
                x += group.len();
            }
            spans.push(row_spans);
        }
        Self { shape, spans, columns, outside }
    }

    /// Shape of the scan.
    pub(crate) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Ranges of x that are part in row `y`.
    pub(crate) fn spans(&self, y: usize) -> &[Range<usize>] {
        self.spans.get(y).map_or(&[], Vec::as_slice)
    }

    /// The columns of the part, as the one page of a phase.
    pub(crate) fn page(&self) -> Bits {
        let [_, ny, nx] = self.shape;
        let mut page = Bits::new([1, ny, nx]);
        for y in 0..ny {
            self.spans(y).iter().for_each(|span| page.fill(y, span.start, span.end));
        }
        page
    }

    /// Voxels of the part.
    pub(crate) fn voxels(&self) -> u64 {
        self.columns * self.shape[0] as u64
    }

    /// Columns of the part.
    pub(crate) fn columns(&self) -> u64 {
        self.columns
    }
}

/// The scan without columns of constant padding: all voxels equal to the darkest value of the
/// scan, from bottom to top, connected to a lateral face.
pub(crate) fn without_padding<T: Grey + Ord>(data: &[T], shape: [usize; 3]) -> Part {
    let page = shape[1] * shape[2];
    let Some(&first) = data.first() else { return Part::whole(shape) };
    let slices = data.par_chunks(page);
    let darkest =
        slices.map(|slice| slice.iter().copied().fold(first, T::min)).reduce(|| first, T::min);
    let mut padded: Vec<bool> = data[..page].iter().map(|&v| v == darkest).collect();
    for slice in data.chunks(page).skip(1) {
        if !padded.contains(&true) {
            break;
        }
        padded.iter_mut().zip(slice).for_each(|(p, &v)| *p &= v == darkest);
    }
    exclude(shape, &padded, false).map_or_else(
        || Part::whole(shape),
        |excluded| Part::without(shape, &excluded, Outside::Padding),
    )
}

/// The part without the air around it, given the denoised scan: columns dark from bottom to top.
pub(crate) fn without_air(grey: &[u16], padded: Part, histogram: &Histogram, solid: f64) -> Part {
    if padded.outside != Outside::None {
        return padded;
    }
    let shape = padded.shape;
    let page = shape[1] * shape[2];
    let dark = (solid + f64::from(histogram.quantile(0.01))) / 2.0;
    // As a level, so that voxels are compared as they are.
    let dark = dark.ceil() as u16;
    let mut count = vec![0u32; page];
    count.par_chunks_mut(shape[2]).enumerate().for_each(|(y, count)| {
        for slice in grey.chunks(page) {
            let row = &slice[y * shape[2]..][..count.len()];
            count.iter_mut().zip(row).for_each(|(c, &v)| *c += u32::from(v < dark));
        }
    });
    let needed = 0.98 * shape[0] as f64;
    let air: Vec<bool> = count.iter().map(|&c| f64::from(c) >= needed).collect();
    match exclude(shape, &air, true) {
        Some(excluded) => Part::without(shape, &excluded, Outside::Air),
        None => padded,
    }
}

/// The candidates connected to a lateral face, widened by the rim; none if they are few, leave
/// too little, or (`framed`) hold neither all corners nor one whole side.
fn exclude(shape: [usize; 3], candidates: &[bool], framed: bool) -> Option<Vec<bool>> {
    let [_, ny, nx] = shape;
    let outside = connected_to_border(candidates, ny, nx);
    let count = outside.iter().filter(|&&o| o).count() as f64;
    if count < SMALLEST_SHARE * (ny * nx) as f64 || framed && !frames(&outside, ny, nx) {
        return None;
    }
    let widened = widen(&widen(&outside, ny, nx, true), ny, nx, false);
    let left = widened.iter().filter(|&&o| !o).count() as f64;
    (left > 0.02 * (ny * nx) as f64).then_some(widened)
}

fn frames(outside: &[bool], ny: usize, nx: usize) -> bool {
    let at = |y: usize, x: usize| outside[y * nx + x];
    let corners = at(0, 0) && at(0, nx - 1) && at(ny - 1, 0) && at(ny - 1, nx - 1);
    let side_x = |y: usize| (0..nx).filter(|&x| at(y, x)).count() * 100 >= nx * 98;
    let side_y = |x: usize| (0..ny).filter(|&y| at(y, x)).count() * 100 >= ny * 98;
    corners || side_x(0) || side_x(ny - 1) || side_y(0) || side_y(nx - 1)
}

fn connected_to_border(candidates: &[bool], ny: usize, nx: usize) -> Vec<bool> {
    let mut reached = vec![false; candidates.len()];
    let mut open: Vec<usize> = (0..candidates.len())
        .filter(|i| {
            let (y, x) = (i / nx, i % nx);
            candidates[*i] && (y == 0 || x == 0 || y == ny - 1 || x == nx - 1)
        })
        .collect();
    open.iter().for_each(|&i| reached[i] = true);
    while let Some(i) = open.pop() {
        let (y, x) = (i / nx, i % nx);
        let neighbours = [
            (y > 0).then(|| i - nx),
            (y + 1 < ny).then(|| i + nx),
            (x > 0).then(|| i - 1),
            (x + 1 < nx).then(|| i + 1),
        ];
        for j in neighbours.into_iter().flatten() {
            if candidates[j] && !reached[j] {
                reached[j] = true;
                open.push(j);
            }
        }
    }
    reached
}

fn widen(mask: &[bool], ny: usize, nx: usize, along_x: bool) -> Vec<bool> {
    (0..mask.len())
        .map(|i| {
            let (y, x) = (i / nx, i % nx);
            if along_x {
                let (from, to) = (x.saturating_sub(RIM), (x + RIM).min(nx - 1));
                mask[y * nx + from..=y * nx + to].contains(&true)
            } else {
                (y.saturating_sub(RIM)..=(y + RIM).min(ny - 1)).any(|y| mask[y * nx + x])
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_outside_a_disc_are_left_out() {
        let (n, radius) = (40usize, 15.0f64);
        let inside = |i: usize| {
            let (y, x) = ((i / n % n) as f64 - 19.5, (i % n) as f64 - 19.5);
            y.hypot(x) < radius
        };
        let data: Vec<u8> =
            (0..8 * n * n).map(|i| if inside(i) { 180 + (i % 7) as u8 } else { 0 }).collect();
        let part = without_padding(&data, [8, n, n]);
        assert_eq!(part.outside, Outside::Padding);
        assert!(part.spans(20)[0].start == 5 + RIM && part.spans(0).is_empty());
    }

    #[test]
    fn a_scan_filled_by_the_part_is_kept_whole() {
        let data: Vec<u16> = (0..1000).map(|i| 500 + i % 13).collect();
        let part = without_padding(&data, [10, 10, 10]);
        assert_eq!((part.outside, part.voxels()), (Outside::None, 1000));
    }
}
