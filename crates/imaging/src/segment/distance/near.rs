//! Squared distances that fit eight or sixteen bits: four or two times the lanes of a register, and
//! that much less memory between the passes.
//!
//! Sums stop at the greatest number, which then means "that or more"; whatever is less is exact.
//! Along y by counting from border to border, squared; then along x and along z the least of
//! f(i ± k) + k², whole registers at a time, for as long as k² can still lower any of their values.

use super::upright;
use crate::lanes::{Lanes, Plain, PlainBytes};
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Wide, WideBytes, Widest, WidestBytes};
use crate::memory::Stream;
use crate::segment::bits::Bits;
use crate::simd::{InstructionSet, vectorised};
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Columns of a block, the bits of a word.
const COLUMNS: usize = 64;

/// What squared distances are kept in.
pub(super) trait Narrow: Pod + Into<u32> + Ord + Send + Sync {
    /// No distance.
    const NONE: Self;
    const ONE: Self;
    const TWO: Self;
    const THREE: Self;
    /// What stands for itself and all that is more.
    const FULL: Self;
    /// The longest distance whose square is less than [`Narrow::FULL`].
    const REACH: usize;
    /// The registers of each instruction set.
    type Plain: Lanes<Value = Self>;
    #[cfg(target_arch = "x86_64")]
    type Wide: Lanes<Value = Self>;
    #[cfg(target_arch = "x86_64")]
    type Widest: Lanes<Value = Self>;

    /// The square, at most [`Narrow::FULL`].
    fn squared(self) -> Self;
}

macro_rules! narrow {
    ($value:ty, $wider:ty, $reach:literal, $plain:ty, $wide:ty, $widest:ty) => {
        impl Narrow for $value {
            const NONE: Self = 0;
            const ONE: Self = 1;
            const TWO: Self = 2;
            const THREE: Self = 3;
            const FULL: Self = Self::MAX;
            const REACH: usize = $reach;
            type Plain = $plain;
            #[cfg(target_arch = "x86_64")]
            type Wide = $wide;
            #[cfg(target_arch = "x86_64")]
            type Widest = $widest;

            #[inline(always)]
            fn squared(self) -> Self {
                let value = <$wider>::from(self);
                (value * value).min(<$wider>::from(Self::MAX)) as Self
            }
        }
    };
}

narrow!(u8, u16, 15, PlainBytes, WideBytes, WidestBytes);
narrow!(u16, u32, 255, Plain, Wide, Widest);

/// Fills `out`, which is zero already or not. False if a voxel is too far from any border; `out`
/// then holds anything.
pub(super) fn distances<T: Narrow>(
    set: InstructionSet,
    phase: &Bits,
    out: (&mut [u32], bool),
) -> bool {
    match set {
        InstructionSet::Portable => distances_by::<T, T::Plain>(set, phase, out),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => distances_by::<T, T::Wide>(set, phase, out),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => distances_by::<T, T::Widest>(set, phase, out),
    }
}

fn distances_by<T: Narrow, L: Lanes<Value = T>>(
    set: InstructionSet,
    phase: &Bits,
    (out, zeroed): (&mut [u32], bool),
) -> bool {
    let [nz, ny, nx] = phase.shape();
    // What lies between the passes takes the beginning of each row.
    out.par_chunks_mut(ny * nx).enumerate().for_each_init(
        || Page::<T>::new([ny, nx]),
        |page, (z, out)| {
            vectorised(
                set,
                #[inline(always)]
                || page.lower::<L>(phase, z, out),
            );
        },
    );
    let near = AtomicBool::new(true);
    upright(out, phase.shape()).into_par_iter().enumerate().for_each_init(
        || Upright::<T>::new([nz, nx]),
        |upright, (y, mut rows)| {
            let still_near = near.load(Ordering::Relaxed)
                && vectorised(
                    set,
                    #[inline(always)]
                    || {
                        upright.gather(phase, y, &rows);
                        upright.lower::<L>(phase, y, (&mut rows, zeroed))
                    },
                );
            if !still_near {
                near.store(false, Ordering::Relaxed);
            }
        },
    );
    near.into_inner()
}

/// Columns side by side, as registers like them.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Block<T>([T; COLUMNS]);

// SAFETY: zero is a value of each of them.
unsafe impl<T: Zeroable> Zeroable for Block<T> {}
// SAFETY: the values fill a multiple of 64 bytes without a gap, and are themselves plain.
unsafe impl<T: Pod> Pod for Block<T> {}

/// `count` blocks, all of a value.
fn blocks<T: Pod>(count: usize, value: T) -> Vec<Block<T>> {
    vec![Block([value; COLUMNS]); count]
}

/// The first value of each block of a row, the bits of the block, and its values that are voxels.
fn words(phase: &Bits, [z, y]: [usize; 2]) -> impl Iterator<Item = (usize, u64, usize)> {
    let nx = phase.shape()[2];
    phase.row(z, y).iter().enumerate().map(move |(word, bits)| {
        let x = word * COLUMNS;
        (x, *bits, COLUMNS.min(nx - x))
    })
}

/// The least of `values[at ± k * step] + k²` up to a reach, while that can lower any. There are values
/// for one more step than the reach.
#[inline(always)]
fn lowest<L: Lanes<Value: Narrow>>(
    values: &[L::Value],
    at: usize,
    (step, reach): (usize, usize),
) -> L {
    let farthest = (reach + 1) * step;
    assert!(at >= farthest && at + farthest + L::COUNT <= values.len(), "values for every step");
    let mut lowest = L::load(values, at);
    // Odd numbers sum to squares.
    let (mut square, mut odd, two) =
        (L::all(L::Value::ONE), L::all(L::Value::THREE), L::all(L::Value::TWO));
    let mut k = 1;
    // Two steps to a look, which costs as much as one.
    while k <= reach && lowest.exceeds(square) {
        let (near, far) = (k * step, (k + 1) * step);
        // SAFETY: `far` is no more than `farthest`, so that all four lie within the values.
        let [below, above, farther_below, farther_above] = unsafe {
            let place = values.as_ptr().add(at);
            [
                L::load_from(place.sub(near)),
                L::load_from(place.add(near)),
                L::load_from(place.sub(far)),
                L::load_from(place.add(far)),
            ]
        };
        let first = below.least(above).plus(square);
        (square, odd) = (square.plus(odd), odd.plus(two));
        let second = farther_below.least(farther_above).plus(square);
        (square, odd) = (square.plus(odd), odd.plus(two));
        lowest = lowest.least(first.least(second));
        k += 2;
    }
    lowest
}

/// A page on its way through the passes along y and along x.
struct Page<T> {
    /// Distances counted with rising y.
    rising: Vec<Block<T>>,
    /// Those of the row that was counted last.
    counted: Vec<Block<T>>,
    /// A row's squares, with blocks that are no border before and behind.
    squares: Vec<Block<T>>,
    reach: usize,
    /// Columns before the first, and behind the last.
    margin: usize,
}

impl<T: Narrow> Page<T> {
    fn new([ny, nx]: [usize; 2]) -> Self {
        let (width, reach) = (nx.div_ceil(COLUMNS), T::REACH.min(nx));
        let beside = (reach + 1).div_ceil(COLUMNS);
        Self {
            rising: blocks(ny * width, T::NONE),
            counted: blocks(width, T::FULL),
            squares: blocks(width + 2 * beside, T::FULL),
            reach,
            margin: beside * COLUMNS,
        }
    }

    /// Leaves the squared distances within page `z` at the beginning of each of its rows, where a
    /// block holds any of the phase.
    #[inline(always)]
    fn lower<L: Lanes<Value = T>>(&mut self, phase: &Bits, z: usize, out: &mut [u32]) {
        let [_, ny, nx] = phase.shape();
        let rising: &mut [T] = bytemuck::cast_slice_mut(&mut self.rising);
        let counted: &mut [T] = bytemuck::cast_slice_mut(&mut self.counted);
        let squares: &mut [T] = bytemuck::cast_slice_mut(&mut self.squares);
        // The edge of the volume is no border.
        counted.fill(T::FULL);
        for (y, rising) in rising.chunks_exact_mut(counted.len()).enumerate() {
            for (x, bits, _) in words(phase, [z, y]) {
                let counted = &mut counted[x..x + COLUMNS];
                advance::<L>(counted, bits);
                if bits != 0 {
                    put(counted, &mut rising[x..x + COLUMNS], |value| value);
                }
            }
        }
        counted.fill(T::FULL);
        for y in (0..ny).rev() {
            let rising = &rising[y * counted.len()..][..counted.len()];
            for (x, bits, voxels) in words(phase, [z, y]) {
                advance::<L>(&mut counted[x..x + COLUMNS], bits);
                let squares = &mut squares[self.margin + x..][..COLUMNS];
                if bits == 0 {
                    squares.fill(T::NONE);
                } else {
                    let (falling, rising) = (&counted[x..x + COLUMNS], &rising[x..x + COLUMNS]);
                    for lane in 0..COLUMNS {
                        squares[lane] = falling[lane].min(rising[lane]).squared();
                    }
                }
                squares[voxels..].fill(T::FULL);
            }
            let row: &mut [T] = &mut bytemuck::cast_slice_mut(&mut out[y * nx..][..nx])[..nx];
            for (x, bits, voxels) in words(phase, [z, y]) {
                if bits != 0 {
                    let block = lowest_block::<L>(squares, self.margin + x, (1, self.reach));
                    put(&block, &mut row[x..x + voxels], |value| value);
                }
            }
        }
    }
}

/// One voxel farther within the phase, and anew from its border.
#[inline(always)]
fn advance<L: Lanes<Value: Narrow>>(counted: &mut [L::Value], bits: u64) {
    for lane in (0..COLUMNS).step_by(L::COUNT) {
        let farther = L::load(counted, lane).plus(L::all(L::Value::ONE));
        farther.within(bits >> lane).store(counted, lane);
    }
}

/// Writes those values of a block that `out` has room for.
#[inline(always)]
fn put<T: Copy, U>(block: &[T], out: &mut [U], convert: impl Fn(T) -> U) {
    if let (Some(block), Some(out)) = (block.first_chunk(), out.first_chunk_mut()) {
        // Of known length, which makes this a few registers.
        let (block, out): (&[T; COLUMNS], &mut [U; COLUMNS]) = (block, out);
        for lane in 0..COLUMNS {
            out[lane] = convert(block[lane]);
        }
    } else {
        out.iter_mut().zip(block).for_each(|(out, value)| *out = convert(*value));
    }
}

/// [`lowest`] for all columns of a block.
#[inline(always)]
fn lowest_block<L: Lanes<Value: Narrow>>(
    values: &[L::Value],
    at: usize,
    way: (usize, usize),
) -> [L::Value; COLUMNS] {
    let mut block = [L::Value::NONE; COLUMNS];
    for lane in (0..COLUMNS).step_by(L::COUNT) {
        lowest::<L>(values, at + lane, way).store(&mut block, lane);
    }
    block
}

/// The rows of one y, bottom to top, with rows that are no border below and above.
struct Upright<T> {
    values: Vec<Block<T>>,
    width: usize,
    reach: usize,
    /// Rows below the first, and above the last.
    margin: usize,
    /// A row on its way out.
    row: Vec<u32>,
}

impl<T: Narrow> Upright<T> {
    fn new([nz, nx]: [usize; 2]) -> Self {
        let (width, reach) = (nx.div_ceil(COLUMNS), T::REACH.min(nz));
        let margin = reach + 1;
        let values = blocks((nz + 2 * margin) * width, T::FULL);
        Self { values, width, reach, margin, row: vec![0; nx] }
    }

    /// Takes what [`Page::lower`] left in the rows of `y`.
    fn gather(&mut self, phase: &Bits, y: usize, rows: &[&mut [u32]]) {
        let own = self.values.chunks_exact_mut(self.width).skip(self.margin);
        for (z, (own, row)) in own.zip(rows).enumerate() {
            let row: &[T] = bytemuck::cast_slice(row);
            for ((x, bits, voxels), block) in words(phase, [z, y]).zip(own) {
                if bits == 0 || voxels < COLUMNS {
                    // The columns beyond the volume are nothing to wait for.
                    block.0.fill(T::NONE);
                }
                if bits != 0 {
                    put(&row[x..x + voxels], &mut block.0[..voxels], |value| value);
                }
            }
        }
    }

    /// Writes the squared distances of the rows; false if one is [`Narrow::FULL`].
    #[inline(always)]
    fn lower<L: Lanes<Value = T>>(
        &mut self,
        phase: &Bits,
        y: usize,
        (rows, zeroed): (&mut [&mut [u32]], bool),
    ) -> bool {
        let values: &[T] = bytemuck::cast_slice(&self.values);
        let step = self.width * COLUMNS;
        let stream = Stream::new(phase.shape().into_iter().product());
        let mut most = L::all(T::NONE);
        for (z, row) in rows.iter_mut().enumerate() {
            if zeroed && phase.row(z, y).iter().all(|bits| *bits == 0) {
                continue;
            }
            let squares = if zeroed { &mut **row } else { &mut self.row };
            for (x, bits, voxels) in words(phase, [z, y]) {
                if bits != 0 {
                    let at = (self.margin + z) * step + x;
                    let block = lowest_block::<L>(values, at, (step, self.reach));
                    put(&block, &mut squares[x..x + voxels], T::into);
                    for lane in (0..COLUMNS).step_by(L::COUNT) {
                        most = most.most(L::load(&block, lane));
                    }
                } else {
                    // Where other blocks may have left theirs between the passes.
                    squares[x..x + voxels].fill(0);
                }
            }
            if !zeroed {
                stream.write(&self.row, row);
            }
        }
        let mut greatest = [T::NONE; COLUMNS];
        most.store(&mut greatest, 0);
        greatest.iter().all(|value| *value < T::FULL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check<T: Narrow + std::fmt::Debug, L: Lanes<Value = T>>(values: &[T], step: usize) {
        let reach = T::REACH.min(values.len());
        let full: u64 = T::FULL.into().into();
        let away = |i: usize, j: usize| (i.abs_diff(j) as u64).pow(2);
        // Every lane its own column, `step` apart, with values that differ from lane to lane.
        let margin = vec![T::FULL; (reach + 1) * step];
        let mut columns = margin.clone();
        for i in 0..values.len() {
            columns.extend((0..step).map(|lane| values[(i + lane) % values.len()]));
        }
        columns.extend(margin);
        for i in 0..values.len() {
            let mut found = vec![T::NONE; L::COUNT];
            lowest::<L>(&columns, (reach + 1 + i) * step, (step, reach)).store(&mut found, 0);
            for (lane, found) in found.into_iter().enumerate() {
                let all = (0..values.len()).map(|j| {
                    let value: u32 = values[(j + lane) % values.len()].into();
                    u64::from(value) + away(i, j)
                });
                let wanted = all.min().map_or(full, |least| least.min(full));
                let found: u32 = found.into();
                assert_eq!(u64::from(found), wanted, "row {i}, lane {lane}");
            }
        }
    }

    fn check_all<T: Narrow + std::fmt::Debug>(values: &[T]) {
        for set in InstructionSet::available() {
            match set {
                InstructionSet::Portable => check::<T, T::Plain>(values, COLUMNS),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 => check::<T, T::Wide>(values, COLUMNS),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx512 => check::<T, T::Widest>(values, COLUMNS),
            }
        }
    }

    proptest! {
        #[test]
        fn the_least_of_all_is_found(
            wide in prop::collection::vec(
                prop_oneof![Just(0u16), Just(u16::MAX), 0..3000u16], 1..70),
        ) {
            check_all(&wide);
            check_all(&wide.iter().map(|&v| v.min(255) as u8).collect::<Vec<_>>());
        }
    }
}
