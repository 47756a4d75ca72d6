//! Affine layers over rows, `x · W + b`, by register tiles; the order of each sum is that of
//! [`crate::kernels`]. Shapes are the caller's to get right.

use crate::kernels::{InstructionSet, LANES};

/// An affine layer, its weights cut into panels of [`LANES`] columns, each panel contiguous.
#[derive(Debug, Clone, Default)]
pub(crate) struct Affine {
    inputs: usize,
    panels: Vec<f32>,
    bias: Vec<f32>,
}

impl Affine {
    /// From weights of shape (inputs, outputs), row-major, and a bias of length outputs. Outputs
    /// are padded with zeros to a multiple of [`LANES`].
    pub(crate) fn pack(weights: &[f32], inputs: usize, bias: &[f32]) -> Self {
        let mut packed = Self::default();
        packed.repack(weights, inputs, bias.len());
        packed.set_bias(bias);
        packed
    }

    /// Gives the layer another bias.
    pub(crate) fn set_bias(&mut self, bias: &[f32]) {
        self.bias[..bias.len()].copy_from_slice(bias);
    }

    /// As [`Affine::pack`] with a bias of zeros, into the memory this one has.
    pub(crate) fn repack(&mut self, weights: &[f32], inputs: usize, outputs: usize) {
        self.size(inputs, outputs);
        for k in 0..inputs {
            for (panel, chunk) in weights[k * outputs..][..outputs].chunks(LANES).enumerate() {
                self.panels[(panel * inputs + k) * LANES..][..chunk.len()].copy_from_slice(chunk);
            }
        }
    }

    /// As [`Affine::repack`], from weights of shape (outputs, inputs).
    pub(crate) fn repack_turned(&mut self, weights: &[f32], inputs: usize, outputs: usize) {
        self.size(inputs, outputs);
        for (panel, rows) in weights.chunks(LANES * inputs).enumerate() {
            let panel = &mut self.panels[panel * inputs * LANES..][..inputs * LANES];
            for (lane, row) in rows.chunks_exact(inputs).enumerate() {
                for (column, value) in panel.as_chunks_mut::<LANES>().0.iter_mut().zip(row) {
                    column[lane] = *value;
                }
            }
        }
    }

    /// Zeros of a shape.
    fn size(&mut self, inputs: usize, outputs: usize) {
        let padded = outputs.next_multiple_of(LANES);
        self.inputs = inputs;
        self.panels.clear();
        self.panels.resize(inputs * padded, 0.0);
        self.bias.clear();
        self.bias.resize(padded, 0.0);
    }

    /// Values per input row.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Values per output row, padding included.
    pub(crate) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// `out = x · W + b` for as many rows as `out` holds; `x` is (rows, inputs), `out` is
    /// (rows, outputs), both row-major.
    pub(crate) fn apply(&self, set: InstructionSet, x: &[f32], out: &mut [f32]) {
        self.apply_to(set, &ByRow { x, inputs: self.inputs }, out);
    }

    /// `out = xᵀ · W + b`, where `x` is (inputs, rows), row-major.
    pub(crate) fn apply_turned(&self, set: InstructionSet, x: &[f32], out: &mut [f32]) {
        let rows = out.len() / self.outputs();
        self.apply_to(set, &ByColumn { x, rows }, out);
    }

    fn apply_to(&self, set: InstructionSet, x: &impl Source, out: &mut [f32]) {
        match set {
            InstructionSet::Portable => affine_body(self, x, out, tile_portable),
            // SAFETY: `InstructionSet::available` lists AVX2 only after detecting AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => unsafe { affine_avx2(self, x, out) },
            // SAFETY: `InstructionSet::available` lists AVX-512 only after detecting it.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => unsafe { affine_avx512(self, x, out) },
        }
    }
}

/// Where an affine layer reads its input from.
trait Source {
    /// Writes rows `first..first + used` of the input as columns, one array for each input.
    fn columns<const ROWS: usize>(&self, first: usize, used: usize, out: &mut [[f32; ROWS]]);
}

/// (rows, inputs), row-major.
struct ByRow<'a> {
    x: &'a [f32],
    inputs: usize,
}

impl Source for ByRow<'_> {
    #[inline(always)]
    fn columns<const ROWS: usize>(&self, first: usize, used: usize, out: &mut [[f32; ROWS]]) {
        let rows = &self.x[first * self.inputs..][..used * self.inputs];
        for (row, values) in rows.chunks_exact(self.inputs).enumerate() {
            for (column, value) in out.iter_mut().zip(values) {
                column[row] = *value;
            }
        }
    }
}

/// (inputs, rows), row-major.
struct ByColumn<'a> {
    x: &'a [f32],
    rows: usize,
}

impl Source for ByColumn<'_> {
    #[inline(always)]
    fn columns<const ROWS: usize>(&self, first: usize, used: usize, out: &mut [[f32; ROWS]]) {
        for (column, values) in out.iter_mut().zip(self.x.chunks_exact(self.rows)) {
            match values[first..].first_chunk() {
                Some(whole) => *column = *whole,
                None => column[..used].copy_from_slice(&values[first..]),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn affine_avx2(layer: &Affine, x: &impl Source, out: &mut [f32]) {
    affine_body(layer, x, out, |columns, panel, bias| tile_avx2(columns, panel, bias));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn affine_avx512(layer: &Affine, x: &impl Source, out: &mut [f32]) {
    affine_body(layer, x, out, |columns, panel, bias| tile_avx512(columns, panel, bias));
}

/// Splits the rows into tiles and each tile's input into columns, which the tile reads in order.
#[inline(always)]
fn affine_body<const ROWS: usize>(
    layer: &Affine,
    x: &impl Source,
    out: &mut [f32],
    tile: impl Fn(&[[f32; ROWS]], &[[f32; LANES]], &[f32; LANES]) -> [[f32; LANES]; ROWS],
) {
    let (inputs, outputs) = (layer.inputs, layer.outputs());
    let rows = out.len() / outputs;
    let mut columns = vec![[0.0f32; ROWS]; inputs];
    for first in (0..rows).step_by(ROWS) {
        // The last tile may be short; its surplus rows are computed from stale values and dropped.
        let used = ROWS.min(rows - first);
        x.columns(first, used, &mut columns);
        let panels = layer.panels.as_chunks::<LANES>().0.chunks_exact(inputs);
        let biases = layer.bias.as_chunks::<LANES>().0;
        for (index, (panel, bias)) in panels.zip(biases).enumerate() {
            let sums = tile(&columns, panel, bias);
            for (row, sum) in sums[..used].iter().enumerate() {
                out[(first + row) * outputs + index * LANES..][..LANES].copy_from_slice(sum);
            }
        }
    }
}

#[inline(always)]
fn tile_portable(
    columns: &[[f32; 1]],
    panel: &[[f32; LANES]],
    bias: &[f32; LANES],
) -> [[f32; LANES]; 1] {
    let mut sum = *bias;
    for ([value], weights) in columns.iter().zip(panel) {
        for lane in 0..LANES {
            sum[lane] = value.mul_add(weights[lane], sum[lane]);
        }
    }
    [sum]
}

// Explicit vector types, because the compiler keeps a tile of arrays in memory: 4 against more
// than 50 GFLOP/s.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
fn tile_avx2(
    columns: &[[f32; 6]],
    panel: &[[f32; LANES]],
    bias: &[f32; LANES],
) -> [[f32; LANES]; 6] {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps};
    // SAFETY: both halves of a LANES-long array are eight readable floats.
    let load = |v: &[f32; LANES]| unsafe {
        [_mm256_loadu_ps(v.as_ptr()), _mm256_loadu_ps(v.as_ptr().add(8))]
    };
    let mut sums = [load(bias); 6];
    for (values, weights) in columns.iter().zip(panel) {
        let [low, high] = load(weights);
        for row in 0..6 {
            let value = _mm256_set1_ps(values[row]);
            sums[row][0] = _mm256_fmadd_ps(value, low, sums[row][0]);
            sums[row][1] = _mm256_fmadd_ps(value, high, sums[row][1]);
        }
    }
    let mut out = [[0.0; LANES]; 6];
    for (out, sum) in out.iter_mut().zip(sums) {
        // SAFETY: both halves of a LANES-long array are eight writable floats.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), sum[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), sum[1]);
        }
    }
    out
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn tile_avx512(
    columns: &[[f32; 12]],
    panel: &[[f32; LANES]],
    bias: &[f32; LANES],
) -> [[f32; LANES]; 12] {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps};
    // SAFETY: a LANES-long array is sixteen readable floats.
    let load = |v: &[f32; LANES]| unsafe { _mm512_loadu_ps(v.as_ptr()) };
    let mut sums = [load(bias); 12];
    for (values, weights) in columns.iter().zip(panel) {
        let weights = load(weights);
        for row in 0..12 {
            sums[row] = _mm512_fmadd_ps(_mm512_set1_ps(values[row]), weights, sums[row]);
        }
    }
    let mut out = [[0.0; LANES]; 12];
    for (out, sum) in out.iter_mut().zip(sums) {
        // SAFETY: a LANES-long array is sixteen writable floats.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_by_two_by_eye() {
        let layer = Affine::pack(&[1.0, 2.0, 3.0, 4.0], 2, &[10.0, 20.0]);
        let mut out = [9.0; LANES];
        layer.apply(InstructionSet::Portable, &[1.0, 1.0], &mut out);
        assert_eq!(out[..3], [14.0, 26.0, 0.0]);
    }
}
