//! The `f32` arithmetic of the network: affine layers, SiLU and layer normalisation.
//!
//! Each output element is accumulated in one fixed order with fused multiply-adds, and SiLU has
//! its own exponential made of the same operations everywhere, so AVX-512, AVX2 with FMA and plain
//! code give the same bits. Instruction sets are chosen at run time. Bodies that the compiler
//! vectorises are ordinary loops compiled once per instruction set.

/// Columns of a weight panel: one AVX-512 register, two AVX2 registers.
pub(crate) const LANES: usize = 16;
/// Added to a variance before its root.
pub(crate) const EPSILON: f32 = 1e-5;

/// Instruction set to compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InstructionSet {
    /// Whatever the build target guarantees.
    Portable,
    /// AVX2 with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 foundation.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl InstructionSet {
    /// The widest this machine has.
    pub(crate) fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// Every one this machine has, narrowest first.
    pub(crate) fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "only x86 adds"))]
        let mut sets = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f") {
                sets.push(Self::Avx512);
            }
        }
        sets
    }
}

/// An affine layer, its weights cut into panels of [`LANES`] columns, each panel contiguous.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    inputs: usize,
    panels: Vec<f32>,
    bias: Vec<f32>,
}

impl Affine {
    /// From weights of shape (inputs, outputs), row-major, and an optional bias of length outputs.
    /// Outputs are padded with zeros to a multiple of [`LANES`].
    pub(crate) fn pack(weights: &[f32], inputs: usize, bias: &[f32]) -> Self {
        let outputs = bias.len();
        let padded = outputs.next_multiple_of(LANES);
        let mut panels = vec![0.0; inputs * padded];
        for k in 0..inputs {
            for (panel, chunk) in weights[k * outputs..][..outputs].chunks(LANES).enumerate() {
                panels[(panel * inputs + k) * LANES..][..chunk.len()].copy_from_slice(chunk);
            }
        }
        let mut padded_bias = bias.to_vec();
        padded_bias.resize(padded, 0.0);
        Self { inputs, panels, bias: padded_bias }
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

/// `x ← x / (1 + exp(-x))`, element by element.
pub(crate) fn silu(set: InstructionSet, x: &mut [f32]) {
    match set {
        InstructionSet::Portable => silu_body(x),
        // SAFETY: `InstructionSet::available` lists AVX2 only after detecting AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => unsafe { silu_avx2(x) },
        // SAFETY: `InstructionSet::available` lists AVX-512 only after detecting it.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => unsafe { silu_avx512(x) },
    }
}

/// The gradient through [`silu`]: `dy ← dy · d silu(x)/dx`, element by element.
pub(crate) fn silu_gradient(set: InstructionSet, x: &[f32], dy: &mut [f32]) {
    vectorised(
        set,
        #[inline(always)]
        || {
            for (x, dy) in x.iter().zip(dy) {
                let share = 1.0 / (1.0 + exp(-*x));
                *dy *= share * (1.0 + x * (1.0 - share));
            }
        },
    );
}

/// Runs a loop compiled for an instruction set; the closure must be marked `inline(always)`.
pub(crate) fn vectorised<R>(set: InstructionSet, body: impl FnOnce() -> R) -> R {
    match set {
        InstructionSet::Portable => body(),
        // SAFETY: `InstructionSet::available` lists AVX2 only after detecting AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => unsafe { with_avx2(body) },
        // SAFETY: `InstructionSet::available` lists AVX-512 only after detecting it.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => unsafe { with_avx512(body) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512<R>(body: impl FnOnce() -> R) -> R {
    body()
}

/// Layer normalisation of each row of `x` (rows, width), then `· (1 + scale) + shift`; `film`
/// holds the scales and then the shifts. The width is a multiple of [`LANES`].
pub(crate) fn normalise(set: InstructionSet, x: &[f32], film: &[f32], out: &mut [f32]) {
    match set {
        InstructionSet::Portable => normalise_body(x, film, out),
        // SAFETY: `InstructionSet::available` lists AVX2 only after detecting AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => unsafe { normalise_avx2(x, film, out) },
        // SAFETY: `InstructionSet::available` lists AVX-512 only after detecting it.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => unsafe { normalise_avx512(x, film, out) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn affine_avx2(layer: &Affine, x: &[f32], out: &mut [f32]) {
    affine_body(layer, x, out, |columns, panel, bias| tile_avx2(columns, panel, bias));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn affine_avx512(layer: &Affine, x: &[f32], out: &mut [f32]) {
    affine_body(layer, x, out, |columns, panel, bias| tile_avx512(columns, panel, bias));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn silu_avx2(x: &mut [f32]) {
    silu_body(x);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn silu_avx512(x: &mut [f32]) {
    silu_body(x);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn normalise_avx2(x: &[f32], film: &[f32], out: &mut [f32]) {
    normalise_body(x, film, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn normalise_avx512(x: &[f32], film: &[f32], out: &mut [f32]) {
    normalise_body(x, film, out);
}

/// Splits the rows into tiles and each tile's input into columns, which the tile reads in order.
#[inline(always)]
fn affine_body<const ROWS: usize>(
    layer: &Affine,
    x: &[f32],
    out: &mut [f32],
    tile: impl Fn(&[[f32; ROWS]], &[[f32; LANES]], &[f32; LANES]) -> [[f32; LANES]; ROWS],
) {
    let (inputs, outputs) = (layer.inputs, layer.outputs());
    let rows = out.len() / outputs;
    let mut columns = vec![[0.0f32; ROWS]; inputs];
    for first in (0..rows).step_by(ROWS) {
        // The last tile may be short; its surplus rows are computed from stale values and dropped.
        let used = ROWS.min(rows - first);
        for (row, values) in x[first * inputs..][..used * inputs].chunks_exact(inputs).enumerate() {
            for (column, value) in columns.iter_mut().zip(values) {
                column[row] = *value;
            }
        }
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

#[inline(always)]
fn silu_body(x: &mut [f32]) {
    for value in x {
        *value /= 1.0 + exp(-*value);
    }
}

/// eˣ to 2 ulp between -87 and 88, held at the ends. Coefficients: Cephes `expf` (S. Moshier).
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// 1.5 · 2²³: adding it leaves the nearest integer in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    p = p.mul_add(r * r, r) + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(exponent)
}

#[inline(always)]
fn normalise_body(x: &[f32], film: &[f32], out: &mut [f32]) {
    let width = film.len() / 2;
    let (scale, shift) = film.split_at(width);
    for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mean = lane_sum(row, |value| value) / width as f32;
        let variance = lane_sum(row, |value| (value - mean) * (value - mean)) / width as f32;
        let inverse = 1.0 / (variance + EPSILON).sqrt();
        for column in 0..width {
            let normal = (row[column] - mean) * inverse;
            out[column] = normal.mul_add(1.0 + scale[column], shift[column]);
        }
    }
}

/// Sum over a row whose length is a multiple of [`LANES`]: by lane first, then pairwise, so the
/// order does not depend on the width of the registers.
#[inline(always)]
pub(crate) fn lane_sum(row: &[f32], map: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    for chunk in row.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            sums[lane] += map(chunk[lane]);
        }
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 * 2.0 - 2.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn two_by_two_by_eye() {
        let layer = Affine::pack(&[1.0, 2.0, 3.0, 4.0], 2, &[10.0, 20.0]);
        let mut out = [9.0; LANES];
        layer.apply(InstructionSet::Portable, &[1.0, 1.0], &mut out);
        assert_eq!(out[..3], [14.0, 26.0, 0.0]);
    }

    #[test]
    fn exponential_is_accurate() {
        for step in -8700..=8800 {
            let x = step as f32 / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 3e-7, "at {x}");
        }
    }

    #[test]
    fn normalised_rows_have_mean_zero_and_variance_one() {
        let row = numbers(32, 3);
        let mut out = vec![0.0; 32];
        normalise(InstructionSet::Portable, &row, &[0.0; 64], &mut out);
        let mean: f32 = out.iter().sum::<f32>() / 32.0;
        let variance = out.iter().map(|v| v * v).sum::<f32>() / 32.0;
        assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_same_bits(
            rows in 1..40usize,
            inputs in 1..40usize,
            panels in 1..4usize,
            seed: u32,
        ) {
            let outputs = panels * LANES;
            let x = numbers(rows * inputs, seed);
            let weights = numbers(inputs * outputs, seed ^ 1);
            let layer = Affine::pack(&weights, inputs, &numbers(outputs, seed ^ 2));
            let film = numbers(2 * outputs, seed ^ 3);
            let results: Vec<Vec<u32>> = InstructionSet::available()
                .into_iter()
                .map(|set| {
                    let mut product = vec![0.0; rows * outputs];
                    layer.apply(set, &x, &mut product);
                    let mut out = vec![0.0; rows * outputs];
                    normalise(set, &product, &film, &mut out);
                    silu(set, &mut out);
                    product.iter().chain(&out).map(|value| value.to_bits()).collect()
                })
                .collect();
            for result in &results {
                prop_assert_eq!(result, &results[0]);
            }
            let plain: f32 = (0..inputs).map(|k| x[k] * weights[k * outputs]).sum();
            let bias = numbers(outputs, seed ^ 2)[0];
            prop_assert!((f32::from_bits(results[0][0]) - plain - bias).abs() < 1e-4);
        }
    }
}
