//! Squared distances below 65,535, sixteen bits each: twice the lanes of a register, half of the
//! memory.
//!
//! Sums stop at 65,535, which then means "that or more"; whatever is less is exact. Along x by
//! copies of a table of squares; along y and z step by step: the least of `f(i)` and `f(i ± 1)` plus 1,
//! then plus 3, plus 5, and so on is after k steps the least over ±k of f + k², since odd
//! numbers sum to squares (van den Boomgaard and others 1996, Image Vis. Comput. 14:23). A row that
//! neither changes nor sees a neighbour change is done, for the numbers added only grow.

use crate::lanes::{Lanes, Plain};
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Wide, Widest};
use crate::segment::bits::Bits;
use crate::simd::{InstructionSet, vectorised};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Columns of a block; half the bits of a word.
const COLUMNS: usize = 32;
/// Rows that are done together.
const STRETCH: usize = 8;
/// What stands for itself and all that is more.
const FULL: u16 = u16::MAX;

/// The same place of sixteen-bit columns side by side.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Row([u16; COLUMNS]);

/// Fills `out`, which is zero already or not. False if a voxel is too far from any border; `out`
/// then holds anything.
pub(super) fn distances(
    set: InstructionSet,
    phase: &Bits,
    (out, zeroed): (&mut [u32], bool),
) -> bool {
    let [nz, ny, nx] = phase.shape();
    let squares = Squares::new(nx);
    // What lies between the passes takes the first half of each row.
    out.par_chunks_mut(ny * nx).enumerate().for_each_init(
        || (Columns::new([ny, nx]), Vec::new()),
        |(columns, row), (z, page)| {
            columns.begin();
            for y in 0..ny {
                if squares.along_row(phase, [z, y], row) {
                    columns.put((y, phase.row(z, y)), row);
                }
            }
            columns.lower(set);
            for (y, out) in page.chunks_mut(nx).enumerate() {
                let out = &mut bytemuck::cast_slice_mut::<u32, u16>(out)[..nx];
                columns.take(set, (y, phase.row(z, y)), out, |_| {});
            }
        },
    );
    // The rows of each y, bottom to top: what the pass along z may write.
    let mut upright: Vec<Vec<&mut [u32]>> = Vec::new();
    upright.resize_with(ny, || Vec::with_capacity(nz));
    for page in out.chunks_mut(ny * nx) {
        upright.iter_mut().zip(page.chunks_mut(nx)).for_each(|(rows, row)| rows.push(row));
    }
    let near = AtomicBool::new(true);
    upright.into_par_iter().enumerate().for_each_init(
        || Columns::new([nz, nx]),
        |columns, (y, mut rows)| {
            if !near.load(Ordering::Relaxed) {
                return;
            }
            columns.begin();
            for (z, row) in rows.iter().enumerate() {
                columns.put((z, phase.row(z, y)), &bytemuck::cast_slice(row)[..nx]);
            }
            columns.lower(set);
            for (z, row) in rows.iter_mut().enumerate() {
                let bits = phase.row(z, y);
                if zeroed && bits.iter().all(|word| *word == 0) {
                    continue;
                }
                if !columns.take(set, (z, bits), row, |beside| beside.fill(0)) {
                    near.store(false, Ordering::Relaxed);
                }
            }
        },
    );
    near.into_inner()
}

/// Whether a block of columns of a row holds any of the phase.
fn holds(bits: &[u64], block: usize) -> bool {
    (bits[block / 2] >> (block % 2 * COLUMNS)) as u32 != 0
}

/// 1, 4, 9 and so on up to [`FULL`], from the first and to the last.
struct Squares {
    rising: Vec<u16>,
    falling: Vec<u16>,
}

impl Squares {
    fn new(len: usize) -> Self {
        let square = |n: usize| u16::try_from(n * n).unwrap_or(FULL);
        let rising: Vec<u16> = (1..=len).map(square).collect();
        let falling = rising.iter().rev().copied().collect();
        Self { rising, falling }
    }

    /// Squared distances along a row of the phase; false if it holds none.
    fn along_row(&self, phase: &Bits, [z, y]: [usize; 2], row: &mut Vec<u16>) -> bool {
        let nx = self.rising.len();
        row.clear();
        row.resize(nx, 0);
        let mut any = false;
        phase.runs_of_row(z, y, |start, end| {
            any = true;
            let (start, end) = (start as usize, end as usize);
            // The edge of the volume is no border.
            let middle = match (start > 0, end < nx) {
                (true, true) => start + (end - start).div_ceil(2),
                (true, false) => end,
                (false, true) => start,
                (false, false) => return row.fill(FULL),
            };
            row[start..middle].copy_from_slice(&self.rising[..middle - start]);
            row[middle..end].copy_from_slice(&self.falling[nx - (end - middle)..]);
        });
        any
    }
}

/// Columns of a page in blocks. Each block's rows lie one after the other, filled up to whole
/// stretches, with one more before and one behind; what is not a row is never the least.
struct Columns {
    rows: usize,
    blocks: Vec<Row>,
    /// Rows of a block, with those that are none.
    pitch: usize,
    /// Stretches of rows that may still change, and those that may in the next step.
    open: [Vec<bool>; 2],
    /// Whether a block's stretch of rows has been given a row.
    given: Vec<bool>,
}

impl Columns {
    fn new([rows, nx]: [usize; 2]) -> Self {
        let (blocks, stretches) = (nx.div_ceil(COLUMNS), rows.div_ceil(STRETCH));
        let pitch = stretches * STRETCH + 2;
        Self {
            rows,
            blocks: vec![Row([FULL; COLUMNS]); blocks * pitch],
            pitch,
            open: [vec![false; stretches], vec![false; stretches]],
            given: vec![false; blocks * stretches],
        }
    }

    /// Makes all rows zero.
    fn begin(&mut self) {
        for block in self.blocks.chunks_mut(self.pitch) {
            block[1..=self.rows].fill(Row([0; COLUMNS]));
            block[1 + self.rows..].fill(Row([FULL; COLUMNS]));
        }
        self.given.fill(false);
    }

    /// Gives a row where it holds any of the phase.
    fn put(&mut self, (at, bits): (usize, &[u64]), row: &[u16]) {
        let stretches = self.open[0].len();
        for (block, values) in row.chunks(COLUMNS).enumerate() {
            if holds(bits, block) {
                let place = &mut self.blocks[block * self.pitch + 1 + at].0;
                match <&[u16; COLUMNS]>::try_from(values) {
                    Ok(values) => *place = *values,
                    Err(_) => place[..values.len()].copy_from_slice(values),
                }
                self.given[block * stretches + at / STRETCH] = true;
            }
        }
    }

    /// Takes a row out where it holds any of the phase; the rest is for `beside`. False if one of
    /// its values is [`FULL`].
    fn take<T: From<u16>>(
        &self,
        set: InstructionSet,
        (at, bits): (usize, &[u64]),
        out: &mut [T],
        beside: impl Fn(&mut [T]),
    ) -> bool {
        vectorised(
            set,
            #[inline(always)]
            || {
                let mut most = 0;
                for (block, out) in out.chunks_mut(COLUMNS).enumerate() {
                    if !holds(bits, block) {
                        beside(out);
                        continue;
                    }
                    let values = &self.blocks[block * self.pitch + 1 + at].0;
                    for (out, &value) in out.iter_mut().zip(values) {
                        *out = T::from(value);
                        most = value.max(most);
                    }
                }
                most < FULL
            },
        )
    }

    /// Replaces each value by the least of `column[i ± k] + k²`.
    fn lower(&mut self, set: InstructionSet) {
        let stretches = self.open[0].len();
        let blocks = self.blocks.chunks_mut(self.pitch).zip(self.given.chunks(stretches));
        for (block, given) in blocks.filter(|(_, given)| given.contains(&true)) {
            vectorised(
                set,
                #[inline(always)]
                || match set {
                    InstructionSet::Portable => lower::<Plain>(block, given, &mut self.open),
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx2 => lower::<Wide>(block, given, &mut self.open),
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx512 => lower::<Widest>(block, given, &mut self.open),
                },
            );
        }
    }
}

/// Lowers a block of which only the stretches `given` hold more than zeros.
#[inline(always)]
fn lower<L: Lanes>(block: &mut [Row], given: &[bool], [open, next]: &mut [Vec<bool>; 2]) {
    for lane in (0..COLUMNS).step_by(L::COUNT) {
        open.copy_from_slice(given);
        let mut odd = 1u16;
        while open.contains(&true) {
            next.fill(false);
            step::<L>(block, (lane, odd), open, next);
            std::mem::swap(open, next);
            odd = odd.saturating_add(2);
        }
    }
}

/// One step of the open stretches; tells which are open in the next.
#[inline(always)]
fn step<L: Lanes>(block: &mut [Row], (lane, odd): (usize, u16), open: &[bool], next: &mut [bool]) {
    let (odd, none) = (L::all(odd), L::all(0));
    // The row before as it was before this step, if the step has been there.
    let mut before = None;
    for (stretch, _) in open.iter().enumerate().filter(|(_, open)| **open) {
        let Some(rows) = block[stretch * STRETCH..].first_chunk_mut::<{ STRETCH + 2 }>() else {
            return;
        };
        let mut below = match before {
            Some((after, row)) if after == stretch => row,
            _ => L::load(&rows[0].0, lane).plus(odd),
        };
        let mut here = L::load(&rows[1].0, lane);
        let mut raised = here.plus(odd);
        let mut changes = [none; STRETCH];
        for at in 1..=STRETCH {
            let above = L::load(&rows[at + 1].0, lane);
            let above_raised = above.plus(odd);
            let lowered = here.least(below.least(above_raised));
            lowered.store(&mut rows[at].0, lane);
            changes[at - 1] = none.with_differences(here, lowered);
            (below, here, raised) = (raised, above, above_raised);
        }
        before = Some((stretch + 1, below));
        let mut changed = none;
        for change in changes {
            changed = changed.with_differences(none, change);
        }
        if changed.any() {
            next[stretch] = true;
            if stretch > 0 && changes[0].any() {
                next[stretch - 1] = true;
            }
            if stretch + 1 < next.len() && changes[STRETCH - 1].any() {
                next[stretch + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn steps_find_the_least_of_all(
            values in prop::collection::vec(prop_oneof![Just(0u16), Just(FULL), 0..3000u16], 1..70),
        ) {
            let away = |i: usize, j: usize| (i.abs_diff(j) as u64).pow(2);
            let wanted: Vec<u16> = (0..values.len())
                .map(|i| {
                    let all = values.iter().enumerate().map(|(j, &v)| u64::from(v) + away(i, j));
                    all.min().map_or(FULL, |least| least.min(u64::from(FULL)) as u16)
                })
                .collect();
            for set in InstructionSet::available() {
                let mut columns = Columns::new([values.len(), 3]);
                columns.begin();
                for (at, &value) in values.iter().enumerate() {
                    columns.put((at, &[0b101]), &[value, 0, value]);
                }
                columns.lower(set);
                for (at, &wanted) in wanted.iter().enumerate() {
                    let mut row = [9u32; 3];
                    let near = columns.take(set, (at, &[0b101]), &mut row, |_| {});
                    prop_assert_eq!(near, wanted < FULL);
                    prop_assert_eq!(row, [u32::from(wanted), 0, u32::from(wanted)]);
                }
            }
        }
    }
}
