//! Least, greatest and sums of 16-bit values, a register at a time.
//!
//! Explicit vector types, because the compiler keeps networks over arrays in memory.

/// A register of `u16`. The vector types may only be used where their instruction set was
/// detected, see [`crate::simd`].
pub(crate) trait Lanes: Copy {
    /// Values in a register.
    const COUNT: usize;
    /// Reads from `x` on; `row` is long enough.
    fn load(row: &[u16], x: usize) -> Self;
    /// Writes from `x` on; `row` is long enough.
    fn store(self, row: &mut [u16], x: usize);
    /// The lesser, value by value.
    fn least(self, other: Self) -> Self;
    /// The greater, value by value.
    fn most(self, other: Self) -> Self;
    /// The same value in all lanes.
    fn all(value: u16) -> Self;
    /// Sum, value by value, at most the greatest number.
    fn plus(self, other: Self) -> Self;
    /// This with the bits added in which two registers differ.
    fn with_differences(self, one: Self, other: Self) -> Self;
    /// Whether any bit is set.
    fn any(self) -> bool;
}

/// Eight lanes of ordinary code, which the compiler turns into the target's own registers.
#[derive(Clone, Copy)]
pub(crate) struct Plain([u16; 8]);

impl Lanes for Plain {
    const COUNT: usize = 8;

    #[inline(always)]
    fn load(row: &[u16], x: usize) -> Self {
        let mut lanes = [0; 8];
        lanes.copy_from_slice(&row[x..x + 8]);
        Self(lanes)
    }

    #[inline(always)]
    fn store(self, row: &mut [u16], x: usize) {
        row[x..x + 8].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn least(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane].min(other.0[lane])))
    }

    #[inline(always)]
    fn most(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane].max(other.0[lane])))
    }

    #[inline(always)]
    fn all(value: u16) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane].saturating_add(other.0[lane])))
    }

    #[inline(always)]
    fn with_differences(self, one: Self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] | (one.0[lane] ^ other.0[lane])))
    }

    #[inline(always)]
    fn any(self) -> bool {
        self.0.iter().fold(0, |all, lane| all | lane) != 0
    }
}

/// For each of eight values the sum, which wraps, of `before` and all up to it: as many steps as
/// doublings, and only `before` waits for whoever computes it.
#[inline(always)]
pub(crate) fn sums_of_eight(values: [u16; 8], before: u16) -> [u16; 8] {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has SSE2.
    return unsafe { x86::sums_of_eight(values, before) };
    #[cfg(not(target_arch = "x86_64"))]
    {
        let mut values = values;
        for step in [1, 2, 4] {
            let shifted = values;
            for lane in step..8 {
                values[lane] = values[lane].wrapping_add(shifted[lane - step]);
            }
        }
        values.map(|value| value.wrapping_add(before))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Wide, Widest};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::{
        __m128i, __m256i, __m512i, _mm_add_epi16, _mm_set1_epi16, _mm_slli_si128,
        _mm256_adds_epu16, _mm256_loadu_si256, _mm256_max_epu16, _mm256_min_epu16, _mm256_or_si256,
        _mm256_set1_epi16, _mm256_storeu_si256, _mm256_testz_si256, _mm256_xor_si256,
        _mm512_adds_epu16, _mm512_loadu_si512, _mm512_max_epu16, _mm512_min_epu16, _mm512_or_si512,
        _mm512_set1_epi16, _mm512_storeu_si512, _mm512_test_epi16_mask, _mm512_xor_si512,
    };

    // The compiler would keep the steps in memory, where each waits for the one before.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn sums_of_eight(values: [u16; 8], before: u16) -> [u16; 8] {
        let mut sums: __m128i = bytemuck::cast(values);
        sums = _mm_add_epi16(sums, _mm_slli_si128::<2>(sums));
        sums = _mm_add_epi16(sums, _mm_slli_si128::<4>(sums));
        sums = _mm_add_epi16(sums, _mm_slli_si128::<8>(sums));
        bytemuck::cast(_mm_add_epi16(sums, _mm_set1_epi16(before.cast_signed())))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn any_of_wide(bits: __m256i) -> bool {
        _mm256_testz_si256(bits, bits) == 0
    }

    #[inline]
    #[target_feature(enable = "avx512bw")]
    fn any_of_widest(bits: __m512i) -> bool {
        _mm512_test_epi16_mask(bits, bits) != 0
    }

    macro_rules! lanes {
        ($name:ident, $doc:literal, $register:ty, $count:literal,
         $load:ident, $store:ident, $min:ident, $max:ident, $all:ident, $add:ident,
         $or:ident, $xor:ident, $any:ident) => {
            #[doc = $doc]
            #[derive(Clone, Copy)]
            pub(crate) struct $name($register);

            impl Lanes for $name {
                const COUNT: usize = $count;

                #[inline(always)]
                fn load(row: &[u16], x: usize) -> Self {
                    let row: &[u16] = &row[x..x + $count];
                    // SAFETY: the slice is as long as the register; the set was detected.
                    Self(unsafe { $load(row.as_ptr().cast()) })
                }

                #[inline(always)]
                fn store(self, row: &mut [u16], x: usize) {
                    let row: &mut [u16] = &mut row[x..x + $count];
                    // SAFETY: the slice is as long as the register; the set was detected.
                    unsafe { $store(row.as_mut_ptr().cast(), self.0) };
                }

                #[inline(always)]
                fn least(self, other: Self) -> Self {
                    // SAFETY: the set was detected.
                    Self(unsafe { $min(self.0, other.0) })
                }

                #[inline(always)]
                fn most(self, other: Self) -> Self {
                    // SAFETY: the set was detected.
                    Self(unsafe { $max(self.0, other.0) })
                }

                #[inline(always)]
                fn all(value: u16) -> Self {
                    // SAFETY: the set was detected.
                    Self(unsafe { $all(value.cast_signed()) })
                }

                #[inline(always)]
                fn plus(self, other: Self) -> Self {
                    // SAFETY: the set was detected.
                    Self(unsafe { $add(self.0, other.0) })
                }

                #[inline(always)]
                fn with_differences(self, one: Self, other: Self) -> Self {
                    // SAFETY: the set was detected.
                    Self(unsafe { $or(self.0, $xor(one.0, other.0)) })
                }

                #[inline(always)]
                fn any(self) -> bool {
                    // SAFETY: the set was detected.
                    unsafe { $any(self.0) }
                }
            }
        };
    }

    lanes!(
        Wide,
        "Sixteen lanes, AVX2.",
        __m256i,
        16,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_min_epu16,
        _mm256_max_epu16,
        _mm256_set1_epi16,
        _mm256_adds_epu16,
        _mm256_or_si256,
        _mm256_xor_si256,
        any_of_wide
    );
    lanes!(
        Widest,
        "Thirty-two lanes, AVX-512 with 16-bit lanes.",
        __m512i,
        32,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_min_epu16,
        _mm512_max_epu16,
        _mm512_set1_epi16,
        _mm512_adds_epu16,
        _mm512_or_si512,
        _mm512_xor_si512,
        any_of_widest
    );
}
