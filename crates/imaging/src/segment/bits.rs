//! A phase as one bit per voxel, and counts of pairs of voxels from shifted rows.
//!
//! What other tools keep as a mask of bytes. Everything about a phase is read off its bits: an
//! eighth of the memory, 64 voxels to an instruction.

use crate::ImagingError;
use crate::arguments::check_shape;
use crate::lanes::bits_of;
use crate::memory::zeroed;
use crate::simd::{InstructionSet, vectorised};
use rayon::prelude::*;

/// A phase of a (z, y, x) volume: rows of 64-bit words, x from the lowest bit up; unused high bits
/// are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bits {
    shape: [usize; 3],
    words: usize,
    data: Vec<u64>,
}

impl Bits {
    /// All zero.
    pub(crate) fn new(shape: [usize; 3]) -> Self {
        let words = shape[2].div_ceil(64);
        Self { shape, words, data: zeroed(shape[0] * shape[1] * words) }
    }

    /// The voxels that are `true`; refuses a mask whose length is not the shape's.
    pub fn from_mask(mask: &[bool], shape: [usize; 3]) -> Result<Self, ImagingError> {
        Self::of(mask, shape, is_set)
    }

    /// The voxels darker than `level`; refuses a volume whose length is not the shape's.
    pub fn darker_than(grey: &[u16], shape: [usize; 3], level: u16) -> Result<Self, ImagingError> {
        Self::of(
            grey,
            shape,
            #[inline(always)]
            |&grey| u8::from(grey < level),
        )
    }

    /// The voxels that are at least `level`; refuses a volume whose length is not the shape's.
    pub fn at_least(grey: &[u16], shape: [usize; 3], level: u16) -> Result<Self, ImagingError> {
        Ok(Self::darker_than(grey, shape, level)?.complement())
    }

    /// The voxels that `mark` sets in each row (z, y), which it is given without any set.
    pub(crate) fn from_rows(
        shape: [usize; 3],
        mark: impl Fn([usize; 2], &mut [bool]) + Sync,
    ) -> Self {
        let set = InstructionSet::detect();
        let mut bits = Self::new(shape);
        let words = bits.words;
        bits.data.par_chunks_mut(shape[1] * words).enumerate().for_each_init(
            || vec![false; shape[2]],
            |marked, (z, rows)| {
                for (y, row) in rows.chunks_mut(words).enumerate() {
                    marked.fill(false);
                    mark([z, y], marked);
                    vectorised(
                        set,
                        #[inline(always)]
                        || pack_row(set, row, marked, &is_set),
                    );
                }
            },
        );
        bits
    }

    /// The spans, from a first x to before an end, that `find` tells of for each row (z, y).
    pub(crate) fn from_spans(
        shape: [usize; 3],
        find: impl Fn([usize; 2], &mut dyn FnMut(usize, usize)) + Sync,
    ) -> Self {
        let mut bits = Self::new(shape);
        let words = bits.words;
        bits.data.par_chunks_mut(shape[1] * words).enumerate().for_each(|(z, rows)| {
            for (y, row) in rows.chunks_mut(words).enumerate() {
                find([z, y], &mut |start, end| fill_row(row, start, end));
            }
        });
        bits
    }

    /// Clears what is not set in the one page of `columns`.
    pub(crate) fn keep_within(&mut self, columns: &Bits) {
        self.data.par_chunks_mut(columns.data.len()).for_each(|page| {
            page.iter_mut().zip(&columns.data).for_each(|(word, inside)| *word &= inside);
        });
    }

    /// Packs whether a value is in the phase, told as 0 or 1.
    fn of<T: Copy + Default + Sync>(
        values: &[T],
        shape: [usize; 3],
        inside: impl Fn(&T) -> u8 + Sync,
    ) -> Result<Self, ImagingError> {
        check_shape(shape, values.len())?;
        let set = InstructionSet::detect();
        let mut bits = Self::new(shape);
        let (nx, words) = (shape[2], bits.words);
        bits.data.par_chunks_mut(shape[1] * words).zip(values.par_chunks(shape[1] * nx)).for_each(
            |(rows, values)| {
                vectorised(
                    set,
                    #[inline(always)]
                    || {
                        for (row, values) in rows.chunks_mut(words).zip(values.chunks(nx)) {
                            pack_row(set, row, values, &inside);
                        }
                    },
                );
            },
        );
        Ok(bits)
    }

    /// The mask, one `bool` per voxel.
    pub fn to_mask(&self) -> Vec<bool> {
        let [_, ny, nx] = self.shape;
        let mut mask = vec![false; self.shape.iter().product()];
        mask.par_chunks_mut(nx).enumerate().for_each(|(row, mask)| {
            let words = self.row(row / ny, row % ny);
            for (mask, word) in mask.chunks_mut(64).zip(words) {
                mask.iter_mut().enumerate().for_each(|(x, set)| *set = word >> x & 1 == 1);
            }
        });
        mask
    }

    /// The voxels that are not set.
    pub fn complement(&self) -> Self {
        self.combined(self, |a, _| !a)
    }

    /// The voxels set in both or in either, as `combine` says; `other` has the same shape.
    pub(crate) fn combined(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let mut out = self.clone();
        let last = span_mask(self.words - 1, 0, self.shape[2]);
        for (row, other) in out.data.chunks_mut(self.words).zip(other.data.chunks(self.words)) {
            row.iter_mut().zip(other).for_each(|(word, other)| *word = combine(*word, *other));
            row[self.words - 1] &= last;
        }
        out
    }

    /// Whether a voxel is set; none is beyond the volume.
    pub fn contains(&self, [z, y, x]: [usize; 3]) -> bool {
        let [nz, ny, nx] = self.shape;
        z < nz && y < ny && x < nx && self.row(z, y)[x / 64] >> (x % 64) & 1 == 1
    }

    /// Shape (z, y, x).
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Calls `each` with first and one past last x of every run of set voxels of a row.
    #[inline(always)]
    pub(crate) fn runs_of_row(&self, z: usize, y: usize, mut each: impl FnMut(u32, u32)) {
        let mut open: Option<u32> = None;
        for (w, &word) in self.row(z, y).iter().enumerate() {
            let base = (64 * w) as u32;
            let mut left = word;
            if open.is_some() {
                // Complemented while within a run, so that its end is the next set bit.
                left = !left;
            }
            while left != 0 {
                let at = left.trailing_zeros();
                match open.take() {
                    None => open = Some(base + at),
                    Some(start) => each(start, base + at),
                }
                left = !left & (u64::MAX << at);
            }
        }
        if let Some(start) = open {
            each(start, self.shape[2] as u32);
        }
    }

    /// Sets x from `start` to before `end` in a row.
    pub(crate) fn fill(&mut self, row: usize, start: usize, end: usize) {
        fill_row(&mut self.data[row * self.words..(row + 1) * self.words], start, end);
    }

    /// Number of runs of set voxels of a row.
    #[inline(always)]
    pub(crate) fn count_runs(&self, z: usize, y: usize) -> u32 {
        let row = self.row(z, y);
        let mut runs = 0;
        for (w, word) in row.iter().enumerate() {
            runs += (word & !shifted(row, w, -1)).count_ones();
        }
        runs
    }

    /// Words of row (z, y).
    pub(crate) fn row(&self, z: usize, y: usize) -> &[u64] {
        let start = (z * self.shape[1] + y) * self.words;
        &self.data[start..start + self.words]
    }

    /// Number of set voxels.
    pub fn count(&self) -> u64 {
        self.data.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Words of page `z`, row by row.
    pub(crate) fn page(&self, z: usize) -> &[u64] {
        let page = self.shape[1] * self.words;
        &self.data[z * page..(z + 1) * page]
    }

    /// Set voxels of page `z`.
    pub(crate) fn count_page(&self, z: usize) -> u64 {
        self.page(z).iter().map(|w| u64::from(w.count_ones())).sum()
    }
}

#[inline(always)]
fn is_set(set: &bool) -> u8 {
    u8::from(*set)
}

fn fill_row(row: &mut [u64], start: usize, end: usize) {
    for (w, word) in row.iter_mut().enumerate().take(end.div_ceil(64)).skip(start / 64) {
        *word |= span_mask(w, start, end);
    }
}

/// Packs a row, 64 values to a word.
#[inline(always)]
fn pack_row<T: Copy + Default>(
    set: InstructionSet,
    row: &mut [u64],
    values: &[T],
    inside: &impl Fn(&T) -> u8,
) {
    let (whole, rest) = values.as_chunks::<64>();
    for (word, values) in row.iter_mut().zip(whole) {
        *word = pack(set, values, inside);
    }
    if let Some(word) = row.get_mut(whole.len()).filter(|_| !rest.is_empty()) {
        let mut values = [T::default(); 64];
        values[..rest.len()].copy_from_slice(rest);
        *word = pack(set, &values, inside) & span_mask(0, 0, rest.len());
    }
}

#[inline(always)]
fn pack<T>(set: InstructionSet, values: &[T; 64], inside: &impl Fn(&T) -> u8) -> u64 {
    let mut bytes = [0u8; 64];
    for (byte, value) in bytes.iter_mut().zip(values) {
        *byte = inside(value);
    }
    bits_of(set, &bytes)
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
#[inline(always)]
pub(crate) fn shifted(row: &[u64], w: usize, shift: isize) -> u64 {
    let at = |i: isize| usize::try_from(i).ok().and_then(|i| row.get(i)).copied().unwrap_or(0);
    let first = w as isize + shift.div_euclid(64);
    let bits = shift.rem_euclid(64);
    if bits == 0 { at(first) } else { at(first) >> bits | at(first + 1) << (64 - bits) }
}

/// Number of bits set in both of two rows, or of two pages.
#[inline(always)]
pub(crate) fn both(a: &[u64], b: &[u64]) -> u64 {
    a.iter().zip(b).map(|(a, b)| u64::from((a & b).count_ones())).sum()
}

/// Number of x with `a[x]` and `b[x + shift]` set, of two rows of the same length.
#[inline(always)]
pub(crate) fn pairs(a: &[u64], b: &[u64], shift: isize) -> u64 {
    let (whole, bits) = (shift.div_euclid(64), shift.rem_euclid(64));
    let skip = whole.unsigned_abs();
    if bits == 0 {
        let (a, b) = if whole < 0 { (a, b) } else { (b, a) };
        return a.get(skip..).map_or(0, |a| both(a, b));
    }
    // Each word of `a` meets the high bits of one of `b` and the low bits of the next.
    let count = |a: u64, high: u64, low: u64| {
        u64::from((a & (high >> bits | low << (64 - bits))).count_ones())
    };
    let (a, b, first) = if whole < 0 {
        (a.get(skip - 1..).unwrap_or_default(), b, a.get(skip - 1))
    } else {
        (a, b.get(skip..).unwrap_or_default(), None)
    };
    let mut sum = 0;
    let a = match (first, b.first()) {
        (Some(&first), Some(&low)) => {
            sum += count(first, 0, low);
            &a[1..]
        }
        _ => a,
    };
    for ((&a, &high), &low) in a.iter().zip(b).zip(b.iter().skip(1)) {
        sum += count(a, high, low);
    }
    match (b.len().checked_sub(1).and_then(|last| a.get(last)), b.last()) {
        (Some(&a), Some(&high)) => sum + count(a, high, 0),
        _ => sum,
    }
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
        fn masks_and_runs_come_back(
            nx in 1..200usize,
            values in prop::collection::vec(any::<bool>(), 2 * 3 * 200),
            stretch in 1..40usize,
        ) {
            let shape = [2, 3, nx];
            let mask: Vec<bool> = (0..6 * nx).map(|i| values[i / stretch]).collect();
            let bits = Bits::from_mask(&mask, shape).unwrap();
            prop_assert_eq!(&bits.to_mask(), &mask);
            let grey: Vec<u16> = mask.iter().map(|&m| if m { 4 } else { 7 }).collect();
            prop_assert_eq!(&Bits::darker_than(&grey, shape, 5).unwrap(), &bits);
            prop_assert_eq!(&Bits::at_least(&grey, shape, 5).unwrap(), &bits.complement());
            let mut again = Bits::new(shape);
            for row in 0..6 {
                let mut last = None;
                let mut runs = 0;
                bits.runs_of_row(row / 3, row % 3, |start, end| {
                    assert!(start < end && last.is_none_or(|last| start > last));
                    (last, runs) = (Some(end), runs + 1);
                    again.fill(row, start as usize, end as usize);
                });
                prop_assert_eq!(bits.count_runs(row / 3, row % 3), runs);
            }
            prop_assert_eq!(&again, &bits);
            let marked = Bits::from_rows(shape, |[z, y], row| {
                row.copy_from_slice(&mask[(3 * z + y) * nx..][..nx]);
            });
            prop_assert_eq!(&marked, &bits);
            let spanned = Bits::from_spans(shape, |[z, y], fill| {
                bits.runs_of_row(z, y, |start, end| fill(start as usize, end as usize));
            });
            prop_assert_eq!(&spanned, &bits);
            let mut within = bits.complement();
            within.keep_within(&Bits::from_mask(&mask[..3 * nx], [1, 3, nx]).unwrap());
            let both: Vec<bool> = (0..6 * nx).map(|i| !mask[i] && mask[i % (3 * nx)]).collect();
            prop_assert_eq!(within.to_mask(), both);
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
