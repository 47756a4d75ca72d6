//! A phase as one bit per voxel, and counts of pairs of voxels from shifted rows.

/// Rows of 64-bit words, x from the lowest bit up; unused high bits are zero.
pub(crate) struct Bits {
    shape: [usize; 3],
    words: usize,
    data: Vec<u64>,
}

impl Bits {
    /// All zero.
    pub(crate) fn new(shape: [usize; 3]) -> Self {
        let words = shape[2].div_ceil(64);
        Self { shape, words, data: vec![0; shape[0] * shape[1] * words] }
    }

    /// Shape (z, y, x).
    pub(crate) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Sets x from `start` to before `end` in a row.
    pub(crate) fn fill(&mut self, row: usize, start: usize, end: usize) {
        let words = &mut self.data[row * self.words..(row + 1) * self.words];
        for (w, word) in words.iter_mut().enumerate() {
            *word |= span_mask(w, start, end);
        }
    }

    /// Words of row (z, y).
    pub(crate) fn row(&self, z: usize, y: usize) -> &[u64] {
        let start = (z * self.shape[1] + y) * self.words;
        &self.data[start..start + self.words]
    }

    /// Set voxels.
    pub(crate) fn count(&self) -> u64 {
        self.data.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Set voxels of page `z`.
    pub(crate) fn count_page(&self, z: usize) -> u64 {
        let page = self.shape[1] * self.words;
        self.data[z * page..(z + 1) * page].iter().map(|w| u64::from(w.count_ones())).sum()
    }
}

/// Bits of word `w` whose x lies from `start` to before `end`.
pub(crate) fn span_mask(w: usize, start: usize, end: usize) -> u64 {
    let low = start.saturating_sub(w * 64).min(64);
    let high = end.saturating_sub(w * 64).min(64);
    if high <= low {
        return 0;
    }
    (u64::MAX >> (64 - (high - low))) << low
}

/// Word `w` of `row` moved so that bit x holds what was at x + `shift`.
pub(crate) fn shifted(row: &[u64], w: usize, shift: isize) -> u64 {
    let at = |i: isize| usize::try_from(i).ok().and_then(|i| row.get(i)).copied().unwrap_or(0);
    let first = w as isize + shift.div_euclid(64);
    let bits = shift.rem_euclid(64);
    if bits == 0 { at(first) } else { at(first) >> bits | at(first + 1) << (64 - bits) }
}

/// Number of x with `a[x]` and `b[x + shift]` set.
pub(crate) fn pairs(a: &[u64], b: &[u64], shift: isize) -> u64 {
    a.iter()
        .enumerate()
        .map(
            |(w, word)| {
                if *word == 0 { 0 } else { u64::from((word & shifted(b, w, shift)).count_ones()) }
            },
        )
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pairs_agree_with_counting(
            a in prop::collection::vec(any::<bool>(), 150),
            b in prop::collection::vec(any::<bool>(), 150),
            shift in -160..160isize,
        ) {
            let pack = |v: &[bool]| {
                let mut bits = Bits::new([1, 1, 150]);
                (0..150).filter(|&x| v[x]).for_each(|x| bits.fill(0, x, x + 1));
                bits
            };
            let plain = (0..150isize)
                .filter(|x| a[*x as usize] && (0..150).contains(&(x + shift)) && b[(x + shift) as usize])
                .count();
            let (a, b) = (pack(&a), pack(&b));
            prop_assert_eq!(pairs(a.row(0, 0), b.row(0, 0), shift), plain as u64);
        }

        #[test]
        fn filled_spans_have_their_length(start in 0..200usize, len in 0..200usize) {
            let mut bits = Bits::new([1, 1, 400]);
            bits.fill(0, start, start + len);
            prop_assert_eq!(bits.count(), len as u64);
            let at = |x: usize| bits.row(0, 0)[x / 64] >> (x % 64) & 1 == 1;
            prop_assert!(len == 0 || at(start) && !at(start + len));
        }
    }
}
