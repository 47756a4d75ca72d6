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
        self.apply_to(set, Source { x, row: self.inputs, column: 1 }, out);
    }

    /// `out = xᵀ · W + b`, where `x` is (inputs, rows), row-major.
    pub(crate) fn apply_turned(&self, set: InstructionSet, x: &[f32], out: &mut [f32]) {
        let rows = out.len() / self.outputs();
        self.apply_to(set, Source { x, row: 1, column: rows }, out);
    }

    fn apply_to(&self, set: InstructionSet, x: Source<'_>, out: &mut [f32]) {
        // What the tiles below rely on, whichever way x lies.
        assert!(x.x.len() >= out.len() / self.outputs() * self.inputs, "too few inputs");
        match set {
            InstructionSet::Portable => affine_portable(self, x, out),
            // SAFETY: `InstructionSet::available` lists AVX2 only after detecting AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => unsafe { affine_avx2(self, x, out) },
            // SAFETY: `InstructionSet::available` lists AVX-512 only after detecting it.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => unsafe { affine_avx512(self, x, out) },
        }
    }

    /// The panels from one on, `PANELS` of them, with their biases; nothing if there are fewer.
    fn panels<const PANELS: usize>(&self, from: usize) -> Option<Panels<'_, PANELS>> {
        let biases = self.bias.as_chunks().0.get(from..)?.first_chunk()?;
        let size = self.inputs * PANELS;
        let weights = self.panels.as_chunks().0.get(from * self.inputs..)?.get(..size)?;
        Some(Panels { weights, biases })
    }
}

/// Neighbouring panels: their weights one panel after another, and their biases.
#[derive(Clone, Copy)]
struct Panels<'a, const PANELS: usize> {
    weights: &'a [[f32; LANES]],
    biases: &'a [[f32; LANES]; PANELS],
}

/// Where an affine layer reads its input from, and how far apart its rows and columns are.
#[derive(Clone, Copy)]
struct Source<'a> {
    x: &'a [f32],
    row: usize,
    column: usize,
}

impl<'a> Source<'a> {
    #[inline(always)]
    fn skip_rows(self, rows: usize) -> Self {
        Self { x: &self.x[rows * self.row..], ..self }
    }
}

fn affine_portable(layer: &Affine, x: Source<'_>, out: &mut [f32]) {
    for (row, out) in out.chunks_exact_mut(layer.outputs()).enumerate() {
        let x = x.skip_rows(row);
        for (index, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let Some(Panels { weights, biases: [bias] }) = layer.panels(index) else { continue };
            *out = *bias;
            for (k, weights) in weights.iter().enumerate() {
                let value = x.x[k * x.column];
                for lane in 0..LANES {
                    out[lane] = value.mul_add(weights[lane], out[lane]);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn affine_avx2(layer: &Affine, x: Source<'_>, out: &mut [f32]) {
    by_rows::<6>(
        layer,
        (x, out),
        |x, out| row_of_tiles_avx2::<6>(layer, x, out),
        |x, out| row_of_tiles_avx2::<1>(layer, x, out),
    );
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn affine_avx512(layer: &Affine, x: Source<'_>, out: &mut [f32]) {
    by_rows::<12>(
        layer,
        (x, out),
        |x, out| row_of_tiles_avx512::<12>(layer, x, out),
        |x, out| row_of_tiles_avx512::<1>(layer, x, out),
    );
}

/// Hands out `ROWS` rows at a time, and what is left over one by one.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn by_rows<const ROWS: usize>(
    layer: &Affine,
    (x, out): (Source<'_>, &mut [f32]),
    many: impl Fn(Source<'_>, &mut [f32]),
    one: impl Fn(Source<'_>, &mut [f32]),
) {
    let outputs = layer.outputs();
    let rows = out.len() / outputs;
    let (whole, rest) = out.split_at_mut(rows / ROWS * ROWS * outputs);
    for (index, out) in whole.chunks_exact_mut(ROWS * outputs).enumerate() {
        many(x.skip_rows(index * ROWS), out);
    }
    for (index, out) in rest.chunks_exact_mut(outputs).enumerate() {
        one(x.skip_rows(rows / ROWS * ROWS + index), out);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
fn row_of_tiles_avx2<const ROWS: usize>(layer: &Affine, x: Source<'_>, out: &mut [f32]) {
    let mut index = 0;
    while let Some(panels) = layer.panels::<1>(index) {
        tile_avx2::<ROWS>(x, panels, &mut out[index * LANES..], layer.outputs());
        index += 1;
    }
}

/// Two panels at a time, so that a value of the input serves two products and loads do not limit
/// them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn row_of_tiles_avx512<const ROWS: usize>(layer: &Affine, x: Source<'_>, out: &mut [f32]) {
    let mut index = 0;
    while let Some(panels) = layer.panels::<2>(index) {
        tile_avx512::<ROWS, 2>(x, panels, &mut out[index * LANES..], layer.outputs());
        index += 2;
    }
    if let Some(panels) = layer.panels::<1>(index) {
        tile_avx512::<ROWS, 1>(x, panels, &mut out[index * LANES..], layer.outputs());
    }
}

// Explicit vector types, because the compiler keeps a tile of arrays in memory: 4 against more
// than 50 GFLOP/s. Plain loops with constant bounds, for the same reason: iterators' closures are
// not compiled for the instruction set. `outputs` is the distance between rows of `out`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
#[expect(clippy::needless_range_loop, reason = "iterators would keep the sums in memory")]
fn tile_avx2<const ROWS: usize>(
    x: Source<'_>,
    Panels { weights, biases: [bias] }: Panels<'_, 1>,
    out: &mut [f32],
    outputs: usize,
) {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps};
    // SAFETY: both halves of a LANES-long array are eight readable floats.
    let load = |v: &[f32; LANES]| unsafe {
        [_mm256_loadu_ps(v.as_ptr()), _mm256_loadu_ps(v.as_ptr().add(8))]
    };
    let mut sums = [load(bias); ROWS];
    for (k, weights) in weights.iter().enumerate() {
        let [low, high] = load(weights);
        for row in 0..ROWS {
            // SAFETY: `Affine::apply_to` checked that x holds every row and column of the output's
            // rows, of which the caller has ROWS.
            let value = _mm256_set1_ps(unsafe { *x.x.get_unchecked(row * x.row + k * x.column) });
            sums[row][0] = _mm256_fmadd_ps(value, low, sums[row][0]);
            sums[row][1] = _mm256_fmadd_ps(value, high, sums[row][1]);
        }
    }
    for row in 0..ROWS {
        let out = &mut out[row * outputs..][..LANES];
        // SAFETY: both halves of LANES floats are eight writable floats.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), sums[row][0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), sums[row][1]);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
#[expect(clippy::needless_range_loop, reason = "iterators would keep the sums in memory")]
fn tile_avx512<const ROWS: usize, const PANELS: usize>(
    x: Source<'_>,
    Panels { weights, biases }: Panels<'_, PANELS>,
    out: &mut [f32],
    outputs: usize,
) {
    use std::arch::x86_64::{
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };
    // SAFETY: a LANES-long array is sixteen readable floats.
    let load = |v: &[f32; LANES]| unsafe { _mm512_loadu_ps(v.as_ptr()) };
    let mut start = [_mm512_setzero_ps(); PANELS];
    for panel in 0..PANELS {
        start[panel] = load(&biases[panel]);
    }
    let (mut sums, mut now) = ([start; ROWS], start);
    let inputs = weights.len() / PANELS;
    for k in 0..inputs {
        for panel in 0..PANELS {
            now[panel] = load(&weights[panel * inputs + k]);
        }
        for row in 0..ROWS {
            // SAFETY: `Affine::apply_to` checked that x holds every row and column of the output's
            // rows, of which the caller has ROWS.
            let value = _mm512_set1_ps(unsafe { *x.x.get_unchecked(row * x.row + k * x.column) });
            for panel in 0..PANELS {
                sums[row][panel] = _mm512_fmadd_ps(value, now[panel], sums[row][panel]);
            }
        }
    }
    for row in 0..ROWS {
        let out = &mut out[row * outputs..][..PANELS * LANES];
        for panel in 0..PANELS {
            // SAFETY: of PANELS · LANES floats, these are sixteen writable ones.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(panel * LANES), sums[row][panel]) };
        }
    }
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
