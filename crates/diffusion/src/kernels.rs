//! The `f32` arithmetic of the network: SiLU and layer normalisation, and what affine layers
//! ([`crate::affine`]) share with them.
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
                let share = reciprocal(1.0 + exp(-*x));
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

/// [`normalise_body`], operation by operation: what the compiler makes of it takes twice as long.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn normalise_avx512(x: &[f32], film: &[f32], out: &mut [f32]) {
    use std::arch::x86_64::{
        __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_storeu_ps, _mm512_sub_ps,
    };
    // SAFETY: a LANES-long array is sixteen readable floats.
    let load = |v: &[f32; LANES]| -> __m512 { unsafe { _mm512_loadu_ps(v.as_ptr()) } };
    let width = film.len() / 2;
    let (scale, shift) = film.split_at(width);
    let (scale, shift) = (scale.as_chunks().0, shift.as_chunks().0);
    let one = _mm512_set1_ps(1.0);
    for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let row = row.as_chunks::<LANES>().0;
        let mut sum = _mm512_setzero_ps();
        for values in row {
            sum = _mm512_add_ps(sum, load(values));
        }
        let mean = _mm512_set1_ps(fold_avx512(sum) / width as f32);
        let mut sum = _mm512_setzero_ps();
        for values in row {
            let centred = _mm512_sub_ps(load(values), mean);
            sum = _mm512_add_ps(sum, _mm512_mul_ps(centred, centred));
        }
        let variance = fold_avx512(sum) / width as f32;
        let inverse = _mm512_set1_ps(1.0 / (variance + EPSILON).sqrt());
        let out = out.as_chunks_mut::<LANES>().0;
        for (index, values) in row.iter().enumerate() {
            let normal = _mm512_mul_ps(_mm512_sub_ps(load(values), mean), inverse);
            let scale = _mm512_add_ps(one, load(&scale[index]));
            let filmed = _mm512_fmadd_ps(normal, scale, load(&shift[index]));
            // SAFETY: a LANES-long array is sixteen writable floats.
            unsafe { _mm512_storeu_ps(out[index].as_mut_ptr(), filmed) };
        }
    }
}

/// [`fold`], operation by operation.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
fn fold_avx512(sums: std::arch::x86_64::__m512) -> f32 {
    use std::arch::x86_64::{
        _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_shuffle_ps, _mm256_add_ps,
        _mm256_castps256_ps128, _mm256_extractf128_ps, _mm512_castps512_ps256,
        _mm512_shuffle_f32x4,
    };
    let high = _mm512_castps512_ps256(_mm512_shuffle_f32x4::<0b00_00_11_10>(sums, sums));
    let eight = _mm256_add_ps(_mm512_castps512_ps256(sums), high);
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

#[inline(always)]
fn silu_body(x: &mut [f32]) {
    for value in x {
        *value *= reciprocal(1.0 + exp(-*value));
    }
}

/// 1/x to 2 ulp for x from 1 to 2¹²⁶: a division takes longer than all of this. Taking the bits of x
/// from a constant negates the exponent, which guesses within 12 %; then three steps of Newton's.
#[inline(always)]
fn reciprocal(x: f32) -> f32 {
    /// The bits of the guess and of x add up to this.
    const SUM: u32 = 0x7EF3_11C7;
    let mut guess = f32::from_bits(SUM.wrapping_sub(x.to_bits()));
    for _ in 0..3 {
        guess = guess.mul_add((-x).mul_add(guess, 1.0), guess);
    }
    guess
}

/// eˣ to 2 ulp between -87 and 87, held at the ends, so that one more than it has a [`reciprocal`].
/// Coefficients: Cephes `expf` (S. Moshier).
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// 1.5 · 2²³: adding it leaves the nearest integer in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
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
        for (((value, scale), shift), out) in row.iter().zip(scale).zip(shift).zip(out) {
            *out = ((value - mean) * inverse).mul_add(1.0 + scale, *shift);
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
    fold(sums)
}

/// Sum of the products of two rows, in the order of [`lane_sum`].
#[inline(always)]
pub(crate) fn lane_product(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    fold(sums)
}

#[inline(always)]
fn fold(mut sums: [f32; LANES]) -> f32 {
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
    use crate::affine::Affine;
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
    fn exponential_is_accurate() {
        for step in -8700..=8700 {
            let x = step as f32 / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 3e-7, "at {x}");
        }
    }

    #[test]
    fn reciprocal_is_accurate() {
        for step in 0..=126_000 {
            let x = (f64::from(step) / 1000.0).exp2() as f32;
            let error = f64::from(reciprocal(x)) * f64::from(x) - 1.0;
            assert!(error.abs() < 2.4e-7, "at {x}: {error}");
        }
    }

    #[test]
    fn activations_of_any_size_are_numbers() {
        for x in [-f32::MAX, -1e9, -100.0, -88.0, -87.5, -10.0, 0.0, 10.0, 88.0, 100.0, f32::MAX] {
            for set in InstructionSet::available() {
                let (mut value, mut slope) = ([x; LANES], [1.0; LANES]);
                silu(set, &mut value);
                silu_gradient(set, &[x; LANES], &mut slope);
                let exact = f64::from(x) / (1.0 + (-f64::from(x)).exp());
                let error = (f64::from(value[0]) - exact).abs();
                assert!(
                    error <= 1e-6 * exact.abs() + 1e-30 * f64::from(x.abs()),
                    "{x}: {}",
                    value[0]
                );
                assert!((-0.2..=1.2).contains(&slope[0]) || x.abs() > 1e30, "{x}: {}", slope[0]);
                assert!(slope[0].is_finite(), "{x}");
            }
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
            let transposed: Vec<f32> = (0..inputs * rows)
                .map(|at| x[at % rows * inputs + at / rows])
                .collect();
            let results: Vec<Vec<u32>> = InstructionSet::available()
                .into_iter()
                .map(|set| {
                    let mut product = vec![0.0; rows * outputs];
                    layer.apply(set, &x, &mut product);
                    let mut turned = vec![0.0; rows * outputs];
                    layer.apply_turned(set, &transposed, &mut turned);
                    assert_eq!(product, turned);
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
