//! Discrete Fourier transforms of sixteen columns side by side.
//!
//! In a volume the columns along y and z lie beside one another, so that a register holds the same
//! place of sixteen of them and no value has to be moved across a register. Stockham's order
//! (1966; Van Loan 1992, Computational Frameworks for the FFT, 1.7) needs no reordering either.
//! Lengths with other factors than 2, 3 and 5 go to `rustfft`, column by column.

mod butterfly;
mod floats;

use crate::simd::{InstructionSet, vectorised};
use butterfly::{Butterfly, Complexes, Small};
use bytemuck::{Pod, Zeroable};
use floats::{Floats, Plain};
#[cfg(target_arch = "x86_64")]
use floats::{Wide, Widest};
use num_complex::Complex;
use rustfft::{Fft, FftPlanner};
use std::f64::consts::TAU;
use std::sync::Arc;

/// Columns transformed together.
pub(crate) const COLUMNS: usize = 16;

/// The same place of sixteen complex columns.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Block {
    pub re: [f32; COLUMNS],
    pub im: [f32; COLUMNS],
}

// SAFETY: floats, of which all bits may be zero.
unsafe impl Zeroable for Block {}
// SAFETY: floats only, and 128 bytes of them leave no gap at an alignment of 64.
unsafe impl Pod for Block {}

/// Floats that hold so many blocks wherever they lie: memory comes at the alignment of `f32`.
pub(crate) fn room_for(blocks: usize) -> usize {
    blocks * 2 * COLUMNS + align_of::<Block>() / size_of::<f32>()
}

/// The blocks that floats hold, with whatever is in them.
pub(crate) fn blocks_in(room: &mut [f32]) -> &mut [Block] {
    let skip = room.as_ptr().align_offset(align_of::<Block>()).min(room.len());
    let floats = (room.len() - skip) / (2 * COLUMNS) * 2 * COLUMNS;
    bytemuck::cast_slice_mut(&mut room[skip..skip + floats])
}

/// How to transform columns of one length, forwards: the sum over x of v(x)·exp(−2πi·kx/n).
pub(crate) struct Transform {
    set: InstructionSet,
    len: usize,
    way: Way,
}

enum Way {
    Stages(Vec<Stage>),
    Columns(Arc<dyn Fft<f32>>),
}

/// One of the steps whose radices multiply to the length.
struct Stage {
    radix: usize,
    /// Powers 1 to radix − 1 of the root of unity of this stage to each p below length / radix.
    twiddles: Vec<[f32; 2]>,
}

/// What a transform works in, reused from one to the next.
#[derive(Default)]
pub(crate) struct Scratch {
    blocks: Vec<Block>,
    column: Vec<Complex<f32>>,
    rest: Vec<Complex<f32>>,
}

impl Transform {
    /// Plans for columns of `len` values.
    pub(crate) fn new(len: usize) -> Self {
        Self::with(InstructionSet::detect(), len)
    }

    fn with(set: InstructionSet, len: usize) -> Self {
        let way = match stages(len) {
            Some(stages) => Way::Stages(stages),
            None => Way::Columns(FftPlanner::new().plan_fft_forward(len)),
        };
        Self { set, len, way }
    }

    /// Transforms the columns in place.
    pub(crate) fn apply(&self, columns: &mut [Block], scratch: &mut Scratch) {
        let stages = match &self.way {
            Way::Stages(stages) => stages,
            Way::Columns(transform) => return one_by_one(transform, columns, scratch),
        };
        scratch.blocks.resize(self.len, Block::default());
        let blocks = &mut scratch.blocks[..self.len];
        vectorised(
            self.set,
            #[inline(always)]
            || match self.set {
                InstructionSet::Portable => all_stages::<Plain>(stages, columns, blocks),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 => all_stages::<Wide>(stages, columns, blocks),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx512 => all_stages::<Widest>(stages, columns, blocks),
            },
        );
    }
}

/// The steps for a length; nothing if it has other factors.
fn stages(len: usize) -> Option<Vec<Stage>> {
    let mut stages = Vec::new();
    let mut rest = len;
    while rest > 1 {
        // Eights first; what is left of the powers of two takes one stage.
        let radix = [8, 4, 2, 3, 5].into_iter().find(|radix| rest.is_multiple_of(*radix))?;
        let below = rest / radix;
        let mut twiddles = Vec::with_capacity(below * (radix - 1));
        for p in 0..below {
            twiddles.extend((1..radix).map(|k| {
                let angle = -TAU * (p * k) as f64 / rest as f64;
                [angle.cos() as f32, angle.sin() as f32]
            }));
        }
        stages.push(Stage { radix, twiddles });
        rest = below;
    }
    Some(stages)
}

#[inline(always)]
fn all_stages<F: Floats>(stages: &[Stage], columns: &mut [Block], scratch: &mut [Block]) {
    let mut stride = 1;
    let (mut from, mut to): (&mut [Block], &mut [Block]) = (columns, scratch);
    for stage in stages {
        match stage.radix {
            2 => one_stage::<F, 2>(stage, stride, from, to),
            3 => one_stage::<F, 3>(stage, stride, from, to),
            4 => one_stage::<F, 4>(stage, stride, from, to),
            5 => one_stage::<F, 5>(stage, stride, from, to),
            _ => one_stage::<F, 8>(stage, stride, from, to),
        }
        stride *= stage.radix;
        std::mem::swap(&mut from, &mut to);
    }
    if stages.len() % 2 == 1 {
        to.copy_from_slice(from);
    }
}

#[inline(always)]
fn one_stage<F: Floats, const R: usize>(
    stage: &Stage,
    stride: usize,
    from: &[Block],
    to: &mut [Block],
) where
    Small: Butterfly<R>,
{
    let below = from.len() / (stride * R);
    for (p, twiddles) in stage.twiddles.chunks_exact(R - 1).enumerate().take(below) {
        for q in 0..stride {
            for lane in (0..COLUMNS).step_by(F::COUNT) {
                let zero = F::all(0.0);
                let mut values = [Complexes { re: zero, im: zero }; R];
                for (j, value) in values.iter_mut().enumerate() {
                    let block = &from[q + stride * (p + j * below)];
                    value.re = F::load(&block.re, lane);
                    value.im = F::load(&block.im, lane);
                }
                let values = Small::apply(values);
                for (k, value) in values.into_iter().enumerate() {
                    // The roots for p = 0 are ones, and the last stage has no others.
                    let turned = match k.checked_sub(1).filter(|_| p > 0) {
                        Some(k) => value.times([F::all(twiddles[k][0]), F::all(twiddles[k][1])]),
                        None => value,
                    };
                    let block = &mut to[q + stride * (R * p + k)];
                    turned.re.store(&mut block.re, lane);
                    turned.im.store(&mut block.im, lane);
                }
            }
        }
    }
}

fn one_by_one(transform: &Arc<dyn Fft<f32>>, columns: &mut [Block], scratch: &mut Scratch) {
    scratch.rest.resize(transform.get_inplace_scratch_len(), Complex::default());
    for lane in 0..COLUMNS {
        scratch.column.clear();
        scratch.column.extend(columns.iter().map(|b| Complex::new(b.re[lane], b.im[lane])));
        transform.process_with_scratch(&mut scratch.column, &mut scratch.rest);
        for (block, value) in columns.iter_mut().zip(&scratch.column) {
            (block.re[lane], block.im[lane]) = (value.re, value.im);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_instruction_set_agrees_with_the_definition() {
        for len in [1, 2, 3, 4, 5, 6, 7, 8, 16, 30, 45, 49, 64, 90, 120, 128, 150] {
            let value = |i: usize, lane: usize| ((i * 37 + lane * 11) % 19) as f32 - 9.0;
            let mut columns = vec![Block::default(); len];
            for (i, block) in columns.iter_mut().enumerate() {
                block.re = std::array::from_fn(|lane| value(i, lane));
                block.im = std::array::from_fn(|lane| value(i, lane + 5));
            }
            let wanted = |k: usize, lane: usize| {
                let term = |(i, block): (usize, &Block)| {
                    let value: Complex<f64> =
                        Complex::new(block.re[lane].into(), block.im[lane].into());
                    let angle = -TAU * ((i * k) % len) as f64 / len as f64;
                    value * Complex::new(angle.cos(), angle.sin())
                };
                columns.iter().enumerate().map(term).sum::<Complex<f64>>()
            };
            for set in InstructionSet::available() {
                let mut found = columns.clone();
                Transform::with(set, len).apply(&mut found, &mut Scratch::default());
                for (k, lane) in (0..len).flat_map(|k| [(k, 0), (k, 7), (k, 15)]) {
                    let (re, im) = (found[k].re[lane], found[k].im[lane]);
                    let here: Complex<f64> = Complex::new(re.into(), im.into());
                    let error: f64 = (here - wanted(k, lane)).norm_sqr();
                    assert!(error < 1e-6, "{len} {set:?} {k} {lane}: off by {error}");
                }
            }
        }
    }
}
