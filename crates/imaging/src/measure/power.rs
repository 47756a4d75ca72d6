//! Phase → its power spectrum, folded over the signs of the frequencies, transformed back along y
//! and x.
//!
//! Along z first, straight from the bits, two real columns to one complex; then page by page of
//! frequencies along z everything else, so that the spectrum goes to memory once and comes back
//! once.

use crate::fourier::{Block, COLUMNS, Scratch, Transform, blocks_in, room_for};
use crate::measure::two_point::FoldedPower;
use crate::memory::{Stream, zeroed};
use crate::segment::Bits;
use crate::simd::{InstructionSet, vectorised};
use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

/// Floats that [`folded_power`] works in.
pub(super) fn room_for_power([nz, ny, nx]: [usize; 3]) -> usize {
    room_for(ny * (nz / 2 + 1) * nx.div_ceil(COLUMNS))
}

/// Transforms a phase continued by zeros to `shape`, and its folded power back along y and x as
/// far as `lag`.
pub(super) fn folded_power(
    phase: &Bits,
    shape: [usize; 3],
    (lag, room): (usize, &mut [f32]),
) -> FoldedPower {
    let [nz, ny, nx] = shape;
    let (frequencies, groups) = (nz / 2 + 1, nx.div_ceil(COLUMNS));
    let set = InstructionSet::detect();
    let blocks = &mut blocks_in(room)[..ny * frequencies * groups];
    along_z(phase, nz, blocks, groups);
    let spectrum = Spectrum { blocks, frequencies, groups };
    let lag_groups = (lag + 1).div_ceil(COLUMNS);
    let mut values: Vec<[f32; COLUMNS]> = zeroed(frequencies * (lag + 1) * lag_groups);
    let plan = Plan { y: Transform::new(ny), x: Transform::new(nx), shape: [ny, nx], lag };
    values.par_chunks_mut((lag + 1) * lag_groups).enumerate().for_each_init(
        || Work::new(&plan),
        |work, (frequency, out)| {
            vectorised(
                set,
                #[inline(always)]
                || work.fold(&plan, &spectrum, frequency, out),
            );
        },
    );
    FoldedPower { len: nz, groups: lag_groups, values }
}

/// Transform along z by y, frequency, x: what one task writes lies together, and what another
/// reads comes in rows.
struct Spectrum<'a> {
    blocks: &'a [Block],
    frequencies: usize,
    groups: usize,
}

/// Transforms all columns along z; only the frequencies up to half are kept, for the others are
/// their conjugates.
fn along_z(phase: &Bits, nz: usize, spectrum: &mut [Block], groups: usize) {
    let [pages, rows, columns] = phase.shape();
    let (set, transform) = (InstructionSet::detect(), Transform::new(nz));
    let row = (nz / 2 + 1) * groups;
    let values = size_of_val(spectrum) / size_of::<u32>();
    spectrum.par_chunks_mut(2 * row).enumerate().for_each_init(
        || (vec![Block::default(); nz], Vec::new(), Scratch::default()),
        |(column, bits, scratch), (pair, out)| {
            if 2 * pair >= rows || columns.div_ceil(COLUMNS) < groups {
                out.fill(Block::default());
            }
            if 2 * pair >= rows {
                return;
            }
            // Rows of all pages together, or each group of columns would fetch them anew.
            bits.clear();
            for z in 0..pages {
                let second = (2 * pair + 1 < rows).then(|| phase.row(z, 2 * pair + 1));
                bits.push([phase.row(z, 2 * pair), second.unwrap_or_default()]);
            }
            let (first, second) = out.split_at_mut(row);
            let stream = Stream::new(values);
            for group in 0..columns.div_ceil(COLUMNS) {
                vectorised(
                    set,
                    #[inline(always)]
                    || {
                        fill(column, bits, group);
                        transform.apply(column, scratch);
                        part(column, [first, second], (groups, group), &stream);
                    },
                );
            }
        },
    );
}

/// Takes sixteen columns of each page's first row as real and of the second as imaginary parts,
/// zeros beyond the pages.
#[inline(always)]
fn fill(column: &mut [Block], bits: &[[&[u64]; 2]], group: usize) {
    let (inside, beyond) = column.split_at_mut(bits.len());
    for (block, [re, im]) in inside.iter_mut().zip(bits) {
        (block.re, block.im) = (lanes(re, group), lanes(im, group));
    }
    beyond.fill(Block::default());
}

/// Sixteen voxels of a row as numbers.
#[inline(always)]
fn lanes(row: &[u64], group: usize) -> [f32; COLUMNS] {
    let word = row.get(group / 4).copied().unwrap_or_default();
    let bits = (word >> (group % 4 * COLUMNS)) as u32;
    let mut lanes = [0.0; COLUMNS];
    for (lane, value) in lanes.iter_mut().enumerate() {
        *value = (bits >> lane & 1) as f32;
    }
    lanes
}

/// The transform of `a + i b` with real a and b → twice the transforms of each; of b none if there
/// is no room for it.
#[inline(always)]
fn part(
    column: &[Block],
    [first, second]: [&mut [Block]; 2],
    (groups, group): (usize, usize),
    stream: &Stream,
) {
    for k in 0..=column.len() / 2 {
        let (here, mirror) = (&column[k], &column[(column.len() - k) % column.len()]);
        let [mut a, mut b] = [Block::default(); 2];
        for lane in 0..COLUMNS {
            a.re[lane] = here.re[lane] + mirror.re[lane];
            a.im[lane] = here.im[lane] - mirror.im[lane];
            b.re[lane] = here.im[lane] + mirror.im[lane];
            b.im[lane] = mirror.re[lane] - here.re[lane];
        }
        let place = k * groups + group;
        stream.write(cast_slice(&[a]), cast_slice_mut(&mut first[place..=place]));
        if let Some(place) = second.get_mut(place..=place) {
            stream.write(cast_slice(&[b]), cast_slice_mut(place));
        }
    }
}

/// How pages are transformed along y and x, and back as far as `lag`.
struct Plan {
    y: Transform,
    x: Transform,
    /// Values along y and x.
    shape: [usize; 2],
    lag: usize,
}

/// What a page is transformed in.
struct Work {
    page: Vec<Block>,
    column: Vec<Block>,
    row: Vec<Block>,
    /// Folded power of sixteen y as the real and sixteen more as the imaginary part, along x.
    power: Vec<Block>,
    /// Back along x: for every sixteen lags the frequencies along y.
    back: Vec<[f32; COLUMNS]>,
    scratch: Scratch,
}

impl Work {
    fn new(plan: &Plan) -> Self {
        let [ny, nx] = plan.shape;
        let lag_groups = (plan.lag + 1).div_ceil(COLUMNS);
        // Whole pairs of groups of frequencies.
        let rows = (ny / 2 + 1).next_multiple_of(2 * COLUMNS);
        Self {
            page: vec![Block::default(); ny * nx.div_ceil(COLUMNS)],
            column: vec![Block::default(); ny],
            row: vec![Block::default(); nx],
            power: vec![Block::default(); nx],
            back: vec![[0.0; COLUMNS]; lag_groups * rows],
            scratch: Scratch::default(),
        }
    }

    /// Power of a frequency along z of twice the spectrum, folded and transformed back.
    #[inline(always)]
    fn fold(
        &mut self,
        plan: &Plan,
        spectrum: &Spectrum<'_>,
        frequency: usize,
        out: &mut [[f32; COLUMNS]],
    ) {
        let ny = plan.shape[0];
        let groups = spectrum.groups;
        for (y, row) in self.page.chunks_mut(groups).enumerate() {
            let from = (y * spectrum.frequencies + frequency) * groups;
            row.copy_from_slice(&spectrum.blocks[from..from + groups]);
        }
        for group in 0..groups {
            for (block, row) in self.column.iter_mut().zip(self.page.chunks(groups)) {
                *block = row[group];
            }
            plan.y.apply(&mut self.column, &mut self.scratch);
            for (block, row) in self.column.iter().zip(self.page.chunks_mut(groups)) {
                row[group] = *block;
            }
        }
        let rows = self.back.len() / (plan.lag + 1).div_ceil(COLUMNS);
        for first in (0..=ny / 2).step_by(2 * COLUMNS) {
            for half in 0..2 {
                self.power_of(plan, (first + half * COLUMNS, half == 1));
            }
            plan.x.apply(&mut self.power, &mut self.scratch);
            for (x, block) in self.power.iter().enumerate().take(plan.lag + 1) {
                let place = x / COLUMNS * rows + first;
                for lane in 0..COLUMNS {
                    self.back[place + lane][x % COLUMNS] = block.re[lane];
                    self.back[place + COLUMNS + lane][x % COLUMNS] = block.im[lane];
                }
            }
        }
        self.back_along_y(plan, rows, out);
    }

    /// Power of the rows from `first` on and of those with the other sign, folded along x: the real
    /// or the imaginary part of `self.power`.
    #[inline(always)]
    fn power_of(&mut self, plan: &Plan, (first, imaginary): (usize, bool)) {
        let [ny, nx] = plan.shape;
        let groups = nx.div_ceil(COLUMNS);
        if !imaginary {
            self.power.fill(Block::default());
        }
        for mirrored in [false, true] {
            let rows: [usize; COLUMNS] = std::array::from_fn(|lane| {
                // Beyond half there is nothing to fold; whatever comes out is not used.
                let y = (first + lane).min(ny / 2);
                if mirrored { (ny - y) % ny } else { y }
            });
            for (group, blocks) in self.row.chunks_mut(COLUMNS).enumerate() {
                for (lane, y) in rows.into_iter().enumerate() {
                    let from = &self.page[y * groups + group];
                    for (k, block) in blocks.iter_mut().enumerate() {
                        (block.re[lane], block.im[lane]) = (from.re[k], from.im[k]);
                    }
                }
            }
            plan.x.apply(&mut self.row, &mut self.scratch);
            for x in 0..nx {
                let (here, mirror) = (&self.row[x], &self.row[(nx - x) % nx]);
                let mut power = [0.0; COLUMNS];
                for (lane, power) in power.iter_mut().enumerate() {
                    // A mean of four, of twice the amplitudes.
                    *power = (here.re[lane] * here.re[lane]
                        + here.im[lane] * here.im[lane]
                        + mirror.re[lane] * mirror.re[lane]
                        + mirror.im[lane] * mirror.im[lane])
                        * (1.0 / 16.0);
                }
                let sums = &mut self.power[x];
                let sums = if imaginary { &mut sums.im } else { &mut sums.re };
                sums.iter_mut().zip(power).for_each(|(sum, power)| *sum += power);
            }
        }
    }

    /// Transforms the folded power back along y, two groups of lags along x at a time.
    #[inline(always)]
    fn back_along_y(&mut self, plan: &Plan, rows: usize, out: &mut [[f32; COLUMNS]]) {
        let ny = plan.shape[0];
        let groups = (plan.lag + 1).div_ceil(COLUMNS);
        for group in (0..groups).step_by(2) {
            let second = (group + 1).min(groups - 1);
            for k in 0..=ny / 2 {
                let (re, im) = (self.back[group * rows + k], self.back[second * rows + k]);
                self.column[k] = Block { re, im };
                if k > 0 {
                    self.column[ny - k] = Block { re, im };
                }
            }
            plan.y.apply(&mut self.column, &mut self.scratch);
            for (block, out) in self.column.iter().zip(out.chunks_mut(groups)) {
                (out[group], out[second]) = (block.re, block.im);
            }
        }
    }
}
