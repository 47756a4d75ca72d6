//! Loops compiled once per instruction set and chosen at run time.
//!
//! Only integer arithmetic and separate multiplications and additions run through here, so every
//! set gives the same bits. The network's kernels choose likewise, but need fused multiply-add and
//! not the 16-bit lanes that grey values ask for.

/// Instruction set to compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InstructionSet {
    /// Whatever the build target guarantees.
    Portable,
    /// AVX2, and counting of bits.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with 8- and 16-bit lanes, and counting of bits.
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
            let counts = is_x86_feature_detected!("popcnt");
            if counts && is_x86_feature_detected!("avx2") {
                sets.push(Self::Avx2);
            }
            if counts
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
            {
                sets.push(Self::Avx512);
            }
        }
        sets
    }
}

/// Runs a loop compiled for an instruction set; the closure must be marked `inline(always)`.
pub(crate) fn vectorised<R>(set: InstructionSet, body: impl FnOnce() -> R) -> R {
    match set {
        InstructionSet::Portable => body(),
        // SAFETY: `InstructionSet::available` lists AVX2 only after detecting it and `popcnt`.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => unsafe { with_avx2(body) },
        // SAFETY: `InstructionSet::available` lists AVX-512 only after detecting all four.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => unsafe { with_avx512(body) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn with_avx2<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
fn with_avx512<R>(body: impl FnOnce() -> R) -> R {
    body()
}
