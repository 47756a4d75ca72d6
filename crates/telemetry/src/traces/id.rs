//! Trace and span ids.
//!
//! Ids are made here, not by an exporter, so that logs, exemplars and answers carry them even when
//! nothing is exported. They come from a small generator of the thread, seeded by the system: an id
//! has to be unlike all others, and nothing rests on nobody guessing it.

use std::cell::RefCell;
use std::fmt;

use rand::Rng as _;
use rand::rngs::SmallRng;

thread_local! {
    static RANDOM: RefCell<SmallRng> = RefCell::new(rand::make_rng());
}

/// The id shared by all spans of one trace; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

/// The id of one span; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

impl TraceId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        let number = RANDOM.with_borrow_mut(|random| {
            u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())
        });
        Self(number.max(1))
    }

    /// From its 32 lower-case hexadecimal digits; `None` for anything else and for zero.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32).then(|| lower_hex(text)).flatten().filter(|v| *v != 0).map(Self)
    }

    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }

    pub(crate) const fn halves(self) -> (u64, u64) {
        ((self.0 >> 64) as u64, self.0 as u64)
    }

    pub(crate) fn from_halves(high: u64, low: u64) -> Self {
        Self(u128::from(high) << 64 | u128::from(low))
    }
}

impl SpanId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(RANDOM.with_borrow_mut(rand::Rng::next_u64).max(1))
    }

    /// From its 16 lower-case hexadecimal digits; `None` for anything else and for zero.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let value = (text.len() == 16).then(|| lower_hex(text)).flatten()?;
        u64::try_from(value).ok().filter(|v| *v != 0).map(Self)
    }

    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The number of these lower-case hexadecimal digits, at most 32 of them.
pub(super) fn lower_hex(text: &str) -> Option<u128> {
    text.bytes().try_fold(0_u128, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_within_a_thread_and_between_threads() {
        let draw = || (0..1000).map(|_| TraceId::random()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(draw)).collect();
        let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 4000);
        // Level 2 of Trace Context asks for randomness in the low 56 bits, samplers for it below.
        let ones: u32 = ids.iter().map(|id| (id.get() as u64).count_ones()).sum();
        assert!((31 * 4000..33 * 4000).contains(&ones), "{ones}");
    }
}
