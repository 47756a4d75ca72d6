//! Phase → squared Euclidean distance of each of its voxels to the nearest voxel outside it.
//!
//! Exact, in whole squared voxels: along x from the runs, then along y and z the least of
//! f(i ± k) + k² for as long as k² can still lower anything (Saito and Toriwaki 1994, Pattern
//! Recognit. 27:1551), 64 neighbouring columns together. The edge of the volume is not a border of
//! the phase. Cost grows with the thickness of the phase, so that far from any border each line
//! switches to the lower envelope of parabolas (Felzenszwalb and Huttenlocher 2012, Theory Comput.
//! 8:415), whose cost does not.

use crate::ImagingError;
use crate::arguments::{check_range, check_shape};
use crate::memory::zeroed;
use crate::segment::bits::Bits;
use crate::simd::{InstructionSet, vectorised};
use rayon::prelude::*;

/// Distance of a voxel when nothing lies outside the phase.
pub const UNBOUNDED: u32 = u32::MAX;

/// Columns together, the bits of one word.
const BLOCK: usize = 64;
/// More than any squared distance, and small enough to add one to.
const FAR: u32 = 1 << 30;
/// Longest axis whose squared distances stay below [`FAR`].
const LONGEST: f64 = 18_000.0;
/// Reach in voxels from which on the envelope is cheaper.
const ENVELOPE_FROM: u32 = 64;

type Block = [u32; BLOCK];

/// Squared distances in voxels, 0 outside the phase, [`UNBOUNDED`] if the phase fills the volume.
/// Refuses an axis of more than 18,000 voxels.
pub fn squared_distance(phase: &Bits) -> Result<Vec<u32>, ImagingError> {
    check_axes(phase)?;
    let mut out = zeroed(phase.shape().iter().product());
    distances(InstructionSet::detect(), phase, (&mut out, true));
    Ok(out)
}

/// The same into a volume that is there already, which spares the first touch of a new one.
/// Refuses one of another length, too.
pub fn squared_distance_into(phase: &Bits, out: &mut [u32]) -> Result<(), ImagingError> {
    check_axes(phase)?;
    check_shape(phase.shape(), out.len())?;
    distances(InstructionSet::detect(), phase, (out, false));
    Ok(())
}

fn check_axes(phase: &Bits) -> Result<(), ImagingError> {
    let check = |n: usize| check_range("axis", n as f64, [1.0, LONGEST], "voxels");
    phase.shape().into_iter().try_for_each(check)
}

fn distances(set: InstructionSet, phase: &Bits, (out, zeroed): (&mut [u32], bool)) {
    let [nz, ny, nx] = phase.shape();
    out.par_chunks_mut(ny * nx).enumerate().for_each_init(Lines::default, |lines, (z, page)| {
        for (y, row) in page.chunks_mut(nx).enumerate() {
            if !zeroed {
                row.fill(0);
            }
            phase.runs_of_row(z, y, |start, end| along_run(row, start as usize, end as usize));
        }
        let mut rows: Vec<&mut [u32]> = page.chunks_mut(nx).collect();
        lines.lower(set, &mut rows, |y, word| phase.row(z, y)[word] != 0);
    });
    // The rows of each y, bottom to top: what the pass along z may write.
    let mut upright: Vec<Vec<&mut [u32]>> = Vec::new();
    upright.resize_with(ny, || Vec::with_capacity(nz));
    for page in out.chunks_mut(ny * nx) {
        upright.iter_mut().zip(page.chunks_mut(nx)).for_each(|(rows, row)| rows.push(row));
    }
    upright.into_par_iter().enumerate().for_each_init(Lines::default, |lines, (y, mut rows)| {
        lines.lower(set, &mut rows, |z, word| phase.row(z, y)[word] != 0);
        for (z, row) in rows.iter_mut().enumerate() {
            phase.runs_of_row(z, y, |start, end| {
                for value in &mut row[start as usize..end as usize] {
                    *value = if *value >= FAR { UNBOUNDED } else { *value };
                }
            });
        }
    });
}

fn along_run(row: &mut [u32], start: usize, end: usize) {
    let n = row.len();
    for (x, value) in row.iter_mut().enumerate().take(end).skip(start) {
        let left = if start > 0 { x - start + 1 } else { usize::MAX };
        let right = if end < n { end - x } else { usize::MAX };
        let nearest = left.min(right);
        *value = if nearest == usize::MAX { FAR } else { (nearest * nearest) as u32 };
    }
}

/// Copies of the blocks of one word's columns, reused from line to line.
#[derive(Default)]
struct Lines {
    blocks: Vec<Block>,
    /// The blocks lowered by the envelope; empty as long as no row has needed it.
    envelope: Vec<Block>,
}

impl Lines {
    /// Replaces each row's values by the least of `row[i ± k] + k²`, where `holds(i, word)` tells
    /// whether the 64 columns of `word` hold any of the phase in row `i`.
    fn lower(
        &mut self,
        set: InstructionSet,
        rows: &mut [&mut [u32]],
        holds: impl Fn(usize, usize) -> bool,
    ) {
        let nx = rows.first().map_or(0, |row| row.len());
        for word in 0..nx.div_ceil(BLOCK) {
            let columns = word * BLOCK..(word * BLOCK + BLOCK).min(nx);
            let any = (0..rows.len()).any(|i| holds(i, word));
            if !any {
                continue;
            }
            self.blocks.clear();
            self.blocks.extend(rows.iter().enumerate().map(|(i, row)| {
                let mut block = [0; BLOCK];
                if holds(i, word) {
                    block[..columns.len()].copy_from_slice(&row[columns.clone()]);
                }
                block
            }));
            self.envelope.clear();
            for (i, row) in rows.iter_mut().enumerate().filter(|(i, _)| holds(*i, word)) {
                if self.envelope.is_empty() {
                    let near = vectorised(
                        set,
                        #[inline(always)]
                        || lower_block(&self.blocks, i),
                    );
                    if let Some(block) = near {
                        row[columns.clone()].copy_from_slice(&block[..columns.len()]);
                        continue;
                    }
                    self.envelope.extend_from_slice(&self.blocks);
                    for lane in 0..columns.len() {
                        lower_line(&self.blocks, lane, &mut self.envelope);
                    }
                }
                row[columns.clone()].copy_from_slice(&self.envelope[i][..columns.len()]);
            }
        }
    }
}

/// The lowered block of row `i`; nothing when it is too far from any border for this to be cheap.
#[inline(always)]
fn lower_block(blocks: &[Block], i: usize) -> Option<Block> {
    let mut lowest = blocks[i];
    let reach = i.max(blocks.len() - 1 - i) as u32;
    for k in 1..=reach {
        let square = k * k;
        if square >= lowest.iter().fold(0, |most, &v| most.max(v)) {
            break;
        }
        if k > ENVELOPE_FROM {
            return None;
        }
        if let Some(block) = i.checked_sub(k as usize).and_then(|at| blocks.get(at)) {
            for lane in 0..BLOCK {
                lowest[lane] = lowest[lane].min(block[lane] + square);
            }
        }
        if let Some(block) = blocks.get(i + k as usize) {
            for lane in 0..BLOCK {
                lowest[lane] = lowest[lane].min(block[lane] + square);
            }
        }
    }
    Some(lowest)
}

/// One column of all rows lowered, by Felzenszwalb and Huttenlocher in whole numbers.
fn lower_line(blocks: &[Block], lane: usize, lowered: &mut [Block]) {
    let value = |i: usize| i64::from(blocks[i][lane]);
    // Parabolas of the envelope, each with the first row at which it is the lowest.
    let mut hull: Vec<(usize, i64)> = Vec::with_capacity(blocks.len());
    for (i, block) in blocks.iter().enumerate() {
        if block[lane] >= FAR {
            continue;
        }
        let mut from = 0;
        while let Some(&(j, first)) = hull.last() {
            // First row where i's parabola is below j's.
            let (a, b) = (value(i) + (i * i) as i64, value(j) + (j * j) as i64);
            from = (a - b).div_euclid(2 * (i - j) as i64) + 1;
            if from > first {
                break;
            }
            hull.pop();
            from = 0;
        }
        hull.push((i, if hull.is_empty() { 0 } else { from }));
    }
    let mut at = 0;
    for (i, lowered) in lowered.iter_mut().enumerate() {
        while hull.get(at + 1).is_some_and(|(_, from)| *from <= i as i64) {
            at += 1;
        }
        if let Some(&(j, _)) = hull.get(at) {
            let away = i.abs_diff(j);
            lowered[lane] = (value(j) + (away * away) as i64).min(i64::from(FAR)) as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(mask: &[bool], [_, ny, nx]: [usize; 3]) -> Vec<u32> {
        let at = |i: usize| [i / (ny * nx), i / nx % ny, i % nx];
        let outside: Vec<[usize; 3]> = (0..mask.len()).filter(|&i| !mask[i]).map(at).collect();
        let squared = |a: [usize; 3], b: [usize; 3]| -> u32 {
            (0..3).map(|k| a[k].abs_diff(b[k]).pow(2) as u32).sum()
        };
        (0..mask.len())
            .map(|i| {
                let nearest = outside.iter().map(|&b| squared(at(i), b)).min();
                if mask[i] { nearest.unwrap_or(UNBOUNDED) } else { 0 }
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn agrees_with_looking_at_all(
            shape in [1..60usize, 1..8usize, 1..90usize],
            share in prop::sample::select(vec![0.0, 0.0005, 0.02, 0.5]),
            values in prop::collection::vec(0.0..1.0f64, 4096),
        ) {
            let mask: Vec<bool> =
                (0..shape.iter().product()).map(|i: usize| values[i * 7 % 4096] >= share).collect();
            let bits = Bits::from_mask(&mask, shape).unwrap();
            let wanted = plain(&mask, shape);
            for set in InstructionSet::available() {
                // Not zeros, so that a voxel that is not written shows.
                let mut out = vec![77; mask.len()];
                distances(set, &bits, (&mut out, false));
                prop_assert_eq!(&out, &wanted);
            }
        }
    }

    #[test]
    fn a_slab_by_eye() {
        let bits = Bits::from_mask(&[false, true, true, true, false, true], [1, 1, 6]).unwrap();
        assert_eq!(squared_distance(&bits).unwrap(), [0, 1, 4, 1, 0, 1]);
        assert!(squared_distance_into(&bits, &mut [0; 5]).is_err());
        let full = Bits::from_mask(&[true; 4], [1, 2, 2]).unwrap();
        assert_eq!(squared_distance(&full).unwrap(), [UNBOUNDED; 4]);
    }

    /// Thick enough that the envelope takes over.
    #[test]
    fn one_hole_in_a_long_bar() {
        let mut mask = vec![true; 230 * 70];
        mask[40 * 70 + 33] = false;
        let bits = Bits::from_mask(&mask, [230, 1, 70]).unwrap();
        assert_eq!(squared_distance(&bits).unwrap(), plain(&mask, [230, 1, 70]));
    }
}
