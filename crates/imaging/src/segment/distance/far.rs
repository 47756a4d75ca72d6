//! Squared distances of any length: blocks of 64 columns and, far from any border, the lower
//! envelope of parabolas (Felzenszwalb and Huttenlocher 2012, Theory Comput. 8:415), whose cost does
//! not grow with the distance.

use super::{UNBOUNDED, upright};
use crate::segment::bits::Bits;
use crate::simd::{InstructionSet, vectorised};
use rayon::prelude::*;

/// Columns together, the bits of one word.
const BLOCK: usize = 64;
/// More than any squared distance, and small enough to add one to.
const FAR: u32 = 1 << 30;
/// Reach in voxels from which on the envelope is cheaper.
const ENVELOPE_FROM: u32 = 64;

type Block = [u32; BLOCK];

/// Fills `out`, whatever it holds.
pub(super) fn distances(set: InstructionSet, phase: &Bits, out: &mut [u32]) {
    let [_, ny, nx] = phase.shape();
    out.par_chunks_mut(ny * nx).enumerate().for_each_init(Lines::default, |lines, (z, page)| {
        for (y, row) in page.chunks_mut(nx).enumerate() {
            row.fill(0);
            phase.runs_of_row(z, y, |start, end| along_run(row, start as usize, end as usize));
        }
        let mut rows: Vec<&mut [u32]> = page.chunks_mut(nx).collect();
        lines.lower(set, &mut rows, |y, word| phase.row(z, y)[word] != 0);
    });
    let upright = upright(out, phase.shape());
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
