//! Least, greatest and sums of 8- and 16-bit values, a register at a time.
//!
//! Explicit vector types, because the compiler keeps networks over arrays in memory.

use crate::simd::InstructionSet;

/// A register of whole numbers. The vector types may only be used where their instruction set was
/// detected, see [`crate::simd`].
pub(crate) trait Lanes: Copy {
    /// What a lane holds.
    type Value: Copy;
    /// Values in a register.
    const COUNT: usize;
    /// Reads from `x` on; `row` is long enough.
    fn load(row: &[Self::Value], x: usize) -> Self;
    /// Reads from a place on.
    ///
    /// # Safety
    /// A register's values lie there.
    unsafe fn load_from(place: *const Self::Value) -> Self;
    /// Writes from `x` on; `row` is long enough.
    fn store(self, row: &mut [Self::Value], x: usize);
    /// The lesser, value by value.
    fn least(self, other: Self) -> Self;
    /// The greater, value by value.
    fn most(self, other: Self) -> Self;
    /// The same value in all lanes.
    fn all(value: Self::Value) -> Self;
    /// Sum, value by value, at most the greatest number.
    fn plus(self, other: Self) -> Self;
    /// Whether any lane is greater than another's.
    fn exceeds(self, other: Self) -> bool;
    /// The lanes whose bit is set, the lowest for the first, and 0 in the others.
    fn within(self, bits: u64) -> Self;
}

macro_rules! plain {
    ($name:ident, $doc:literal, $value:ty, $count:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy)]
        pub(crate) struct $name([$value; $count]);

        impl Lanes for $name {
            type Value = $value;
            const COUNT: usize = $count;

            #[inline(always)]
            fn load(row: &[$value], x: usize) -> Self {
                let mut lanes = [0; $count];
                lanes.copy_from_slice(&row[x..x + $count]);
                Self(lanes)
            }

            #[inline(always)]
            unsafe fn load_from(place: *const $value) -> Self {
                // SAFETY: as the caller has it.
                Self(unsafe { place.cast::<[$value; $count]>().read_unaligned() })
            }

            #[inline(always)]
            fn store(self, row: &mut [$value], x: usize) {
                row[x..x + $count].copy_from_slice(&self.0);
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
            fn all(value: $value) -> Self {
                Self([value; $count])
            }

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                Self(std::array::from_fn(|lane| self.0[lane].saturating_add(other.0[lane])))
            }

            #[inline(always)]
            fn exceeds(self, other: Self) -> bool {
                (0..$count).fold(false, |any, lane| any | (self.0[lane] > other.0[lane]))
            }

            #[inline(always)]
            fn within(self, bits: u64) -> Self {
                let kept = |lane: usize| if bits >> lane & 1 == 1 { self.0[lane] } else { 0 };
                Self(std::array::from_fn(kept))
            }
        }
    };
}

plain!(
    Plain,
    "Eight lanes of ordinary code, which the compiler turns into the target's own registers.",
    u16,
    8
);
plain!(PlainBytes, "Sixteen lanes of eight bits, likewise.", u8, 16);

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

/// A bit for each byte that is not zero, the lowest for the first.
#[inline(always)]
pub(crate) fn bits_of(set: InstructionSet, bytes: &[u8; 64]) -> u64 {
    match set {
        InstructionSet::Portable => {
            let eights = bytes.as_chunks::<8>().0.iter().enumerate();
            eights.fold(0, |word, (k, eight)| {
                // Each byte as 0 or 1: the product gathers them in the highest byte, first lowest.
                let ones = u64::from_le_bytes(eight.map(|byte| u8::from(byte != 0)));
                word | (ones.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * k)
            })
        }
        // SAFETY: the set was detected.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => unsafe { x86::wide_bits_of(bytes) },
        // SAFETY: the set was detected.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => unsafe { x86::widest_bits_of(bytes) },
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Wide, WideBytes, Widest, WidestBytes};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::{
        __m128i, __m256i, __m512i, _mm_add_epi16, _mm_set1_epi16, _mm_slli_si128, _mm256_adds_epu8,
        _mm256_adds_epu16, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_cmpeq_epi16,
        _mm256_loadu_si256, _mm256_max_epu8, _mm256_max_epu16, _mm256_min_epu8, _mm256_min_epu16,
        _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32,
        _mm256_set1_epi64x, _mm256_setr_epi64x, _mm256_setzero_si256, _mm256_shuffle_epi8,
        _mm256_storeu_si256, _mm256_subs_epu8, _mm256_subs_epu16, _mm256_testz_si256,
        _mm512_adds_epu8, _mm512_adds_epu16, _mm512_cmpgt_epu8_mask, _mm512_cmpgt_epu16_mask,
        _mm512_loadu_si512, _mm512_maskz_mov_epi8, _mm512_maskz_mov_epi16, _mm512_max_epu8,
        _mm512_max_epu16, _mm512_min_epu8, _mm512_min_epu16, _mm512_set1_epi8, _mm512_set1_epi16,
        _mm512_storeu_si512, _mm512_test_epi8_mask,
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
    pub(super) fn wide_bits_of(bytes: &[u8; 64]) -> u64 {
        // No `map` over the halves, whose closure would not be compiled for the instruction set.
        let set = |half: WideBytes| {
            let zeros = _mm256_cmpeq_epi8(half.0, _mm256_setzero_si256());
            u64::from(!_mm256_movemask_epi8(zeros).cast_unsigned())
        };
        set(WideBytes::load(bytes, 0)) | set(WideBytes::load(bytes, 32)) << 32
    }

    #[inline]
    #[target_feature(enable = "avx512bw")]
    pub(super) fn widest_bits_of(bytes: &[u8; 64]) -> u64 {
        let bytes = WidestBytes::load(bytes, 0).0;
        _mm512_test_epi8_mask(bytes, bytes)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn wide_exceeds(one: __m256i, other: __m256i) -> bool {
        let more = _mm256_subs_epu16(one, other);
        _mm256_testz_si256(more, more) == 0
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn wide_bytes_exceed(one: __m256i, other: __m256i) -> bool {
        let more = _mm256_subs_epu8(one, other);
        _mm256_testz_si256(more, more) == 0
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn wide_within(values: __m256i, bits: u64) -> __m256i {
        // Each lane asks for its own bit.
        const OWN: [u16; 16] = {
            let (mut own, mut lane) = ([0; 16], 0);
            while lane < 16 {
                own[lane] = 1 << lane;
                lane += 1;
            }
            own
        };
        let own = Wide::load(&OWN, 0).0;
        let set = _mm256_and_si256(_mm256_set1_epi16((bits as u16).cast_signed()), own);
        _mm256_and_si256(values, _mm256_cmpeq_epi16(set, own))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn wide_bytes_within(values: __m256i, bits: u64) -> __m256i {
        // Byte k of the bits goes to lanes 8k to 8k + 7, of which each asks for its own bit.
        let spread = |k: i64| 0x0101_0101_0101_0101 * k;
        let places = _mm256_setr_epi64x(spread(0), spread(1), spread(2), spread(3));
        let own = _mm256_set1_epi64x(0x8040_2010_0804_0201u64.cast_signed());
        let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32((bits as u32).cast_signed()), places);
        let set = _mm256_and_si256(bytes, own);
        _mm256_and_si256(values, _mm256_cmpeq_epi8(set, own))
    }

    #[inline]
    #[target_feature(enable = "avx512bw")]
    fn widest_exceeds(one: __m512i, other: __m512i) -> bool {
        _mm512_cmpgt_epu16_mask(one, other) != 0
    }

    #[inline]
    #[target_feature(enable = "avx512bw")]
    fn widest_bytes_exceed(one: __m512i, other: __m512i) -> bool {
        _mm512_cmpgt_epu8_mask(one, other) != 0
    }

    #[inline]
    #[target_feature(enable = "avx512bw")]
    fn widest_within(values: __m512i, bits: u64) -> __m512i {
        _mm512_maskz_mov_epi16(bits as u32, values)
    }

    #[inline]
    #[target_feature(enable = "avx512bw")]
    fn widest_bytes_within(values: __m512i, bits: u64) -> __m512i {
        _mm512_maskz_mov_epi8(bits, values)
    }

    macro_rules! lanes {
        ($name:ident, $doc:literal, $value:ty, $register:ty, $count:literal,
         $load:ident, $store:ident, $min:ident, $max:ident, $all:ident, $add:ident,
         $exceeds:ident, $within:ident) => {
            #[doc = $doc]
            #[derive(Clone, Copy)]
            pub(crate) struct $name($register);

            impl Lanes for $name {
                type Value = $value;
                const COUNT: usize = $count;

                #[inline(always)]
                fn load(row: &[$value], x: usize) -> Self {
                    let row: &[$value] = &row[x..x + $count];
                    // SAFETY: the slice is as long as the register.
                    unsafe { Self::load_from(row.as_ptr()) }
                }

                #[inline(always)]
                unsafe fn load_from(place: *const $value) -> Self {
                    // SAFETY: as the caller has it; the set was detected.
                    Self(unsafe { $load(place.cast()) })
                }

                #[inline(always)]
                fn store(self, row: &mut [$value], x: usize) {
                    let row: &mut [$value] = &mut row[x..x + $count];
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
                fn all(value: $value) -> Self {
                    // SAFETY: the set was detected.
                    Self(unsafe { $all(value.cast_signed()) })
                }

                #[inline(always)]
                fn plus(self, other: Self) -> Self {
                    // SAFETY: the set was detected.
                    Self(unsafe { $add(self.0, other.0) })
                }

                #[inline(always)]
                fn exceeds(self, other: Self) -> bool {
                    // SAFETY: the set was detected.
                    unsafe { $exceeds(self.0, other.0) }
                }

                #[inline(always)]
                fn within(self, bits: u64) -> Self {
                    // SAFETY: the set was detected.
                    Self(unsafe { $within(self.0, bits) })
                }
            }
        };
    }

    lanes!(
        Wide,
        "Sixteen lanes, AVX2.",
        u16,
        __m256i,
        16,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_min_epu16,
        _mm256_max_epu16,
        _mm256_set1_epi16,
        _mm256_adds_epu16,
        wide_exceeds,
        wide_within
    );
    lanes!(
        WideBytes,
        "Thirty-two lanes of eight bits, AVX2.",
        u8,
        __m256i,
        32,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_min_epu8,
        _mm256_max_epu8,
        _mm256_set1_epi8,
        _mm256_adds_epu8,
        wide_bytes_exceed,
        wide_bytes_within
    );
    lanes!(
        Widest,
        "Thirty-two lanes, AVX-512 with 16-bit lanes.",
        u16,
        __m512i,
        32,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_min_epu16,
        _mm512_max_epu16,
        _mm512_set1_epi16,
        _mm512_adds_epu16,
        widest_exceeds,
        widest_within
    );
    lanes!(
        WidestBytes,
        "Sixty-four lanes of eight bits, AVX-512 with 8-bit lanes.",
        u8,
        __m512i,
        64,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_min_epu8,
        _mm512_max_epu8,
        _mm512_set1_epi8,
        _mm512_adds_epu8,
        widest_bytes_exceed,
        widest_bytes_within
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Debug;

    /// What differs most between the sets: which lanes are kept, and whether any is greater.
    fn check<L: Lanes<Value: PartialOrd + PartialEq + Default + Debug>>(
        (ours, theirs): (&[L::Value], &[L::Value]),
        bits: u64,
    ) {
        let (one, other) = (L::load(ours, 0), L::load(theirs, 0));
        let mut kept = vec![L::Value::default(); L::COUNT];
        one.within(bits).store(&mut kept, 0);
        for (lane, kept) in kept.into_iter().enumerate() {
            let wanted = if bits >> lane & 1 == 1 { ours[lane] } else { L::Value::default() };
            assert_eq!(kept, wanted, "lane {lane}");
        }
        let greater = (0..L::COUNT).any(|lane| ours[lane] > theirs[lane]);
        assert_eq!(one.exceeds(other), greater);
        assert!(!one.least(other).exceeds(one) && !one.exceeds(one.most(other)));
    }

    proptest! {
        #[test]
        fn all_sets_agree(
            bytes in prop::array::uniform32(any::<u8>()),
            near in 0..3u8,
            bits in any::<u64>(),
        ) {
            let ours: [u8; 64] = std::array::from_fn(|i| bytes[i % 32].rotate_left(i as u32 / 32));
            // Equal but for one lane, or for none.
            let mut theirs = ours;
            theirs[bits as usize % 64] = theirs[bits as usize % 64].saturating_sub(near);
            let (wide, wide_theirs) =
                (ours.map(|v| u16::from(v) * 257), theirs.map(|v| u16::from(v) * 257));
            let masked: [u8; 64] = std::array::from_fn(|i| ours[i] * (bits >> i & 1) as u8);
            let wanted = (0..64).filter(|i| masked[*i] != 0).fold(0, |word, i| word | 1 << i);
            for set in InstructionSet::available() {
                prop_assert_eq!(bits_of(set, &masked), wanted);
                match set {
                    InstructionSet::Portable => {
                        check::<Plain>((&wide, &wide_theirs), bits);
                        check::<PlainBytes>((&ours, &theirs), bits);
                    }
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx2 => {
                        check::<Wide>((&wide, &wide_theirs), bits);
                        check::<WideBytes>((&ours, &theirs), bits);
                    }
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx512 => {
                        check::<Widest>((&wide, &wide_theirs), bits);
                        check::<WidestBytes>((&ours, &theirs), bits);
                    }
                }
            }
        }
    }
}
