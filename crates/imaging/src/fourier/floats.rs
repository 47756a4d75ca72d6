//! Sums and products of 32-bit floats, a register at a time.
//!
//! Explicit vector types for the reason of [`crate::lanes`]: the compiler keeps
//! small transforms over arrays in memory.

/// A register of `f32`. The vector types may only be used where their instruction set was
/// detected, see [`crate::simd`].
pub(crate) trait Floats: Copy {
    /// Values in a register.
    const COUNT: usize;
    /// Reads from `at` on; `values` is long enough.
    fn load(values: &[f32], at: usize) -> Self;
    /// Writes from `at` on; `values` is long enough.
    fn store(self, values: &mut [f32], at: usize);
    /// The same value in all lanes.
    fn all(value: f32) -> Self;
    /// Sum, value by value.
    fn plus(self, other: Self) -> Self;
    /// Difference, value by value.
    fn minus(self, other: Self) -> Self;
    /// Product, value by value.
    fn times(self, other: Self) -> Self;
}

/// Eight lanes of ordinary code, which the compiler turns into the target's own registers.
#[derive(Clone, Copy)]
pub(crate) struct Plain([f32; 8]);

impl Floats for Plain {
    const COUNT: usize = 8;

    #[inline(always)]
    fn load(values: &[f32], at: usize) -> Self {
        let mut lanes = [0.0; 8];
        lanes.copy_from_slice(&values[at..at + 8]);
        Self(lanes)
    }

    #[inline(always)]
    fn store(self, values: &mut [f32], at: usize) {
        values[at..at + 8].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn all(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] - other.0[lane]))
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * other.0[lane]))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Wide, Widest};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Floats;
    use std::arch::x86_64::{
        __m256, __m512, _mm256_add_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps,
        _mm256_storeu_ps, _mm256_sub_ps, _mm512_add_ps, _mm512_loadu_ps, _mm512_mul_ps,
        _mm512_set1_ps, _mm512_storeu_ps, _mm512_sub_ps,
    };

    macro_rules! floats {
        ($name:ident, $doc:literal, $register:ty, $count:literal,
         $load:ident, $store:ident, $all:ident, $add:ident, $sub:ident, $mul:ident) => {
            #[doc = $doc]
            #[derive(Clone, Copy)]
            pub(crate) struct $name($register);

            impl Floats for $name {
                const COUNT: usize = $count;

                #[inline(always)]
                fn load(values: &[f32], at: usize) -> Self {
                    let values: &[f32] = &values[at..at + $count];
                    // SAFETY: the slice is as long as the register; the set was detected.
                    Self(unsafe { $load(values.as_ptr()) })
                }

                #[inline(always)]
                fn store(self, values: &mut [f32], at: usize) {
                    let values: &mut [f32] = &mut values[at..at + $count];
                    // SAFETY: the slice is as long as the register; the set was detected.
                    unsafe { $store(values.as_mut_ptr(), self.0) };
                }

                #[inline(always)]
                fn all(value: f32) -> Self {
                    // SAFETY: the set was detected.
                    Self(unsafe { $all(value) })
                }

                #[inline(always)]
                fn plus(self, other: Self) -> Self {
                    // SAFETY: the set was detected.
                    Self(unsafe { $add(self.0, other.0) })
                }

                #[inline(always)]
                fn minus(self, other: Self) -> Self {
                    // SAFETY: the set was detected.
                    Self(unsafe { $sub(self.0, other.0) })
                }

                #[inline(always)]
                fn times(self, other: Self) -> Self {
                    // SAFETY: the set was detected.
                    Self(unsafe { $mul(self.0, other.0) })
                }
            }
        };
    }

    floats!(
        Wide,
        "Eight lanes, AVX2.",
        __m256,
        8,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps
    );
    floats!(
        Widest,
        "Sixteen lanes, AVX-512.",
        __m512,
        16,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps
    );
}
