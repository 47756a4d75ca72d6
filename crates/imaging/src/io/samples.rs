//! Voxels of any type, filled page by page in place, and their way to 8 or 16 bit.

use super::shown;
use super::strips::running_sums;
use crate::memory::try_zeroed;
use crate::simd::{InstructionSet, vectorised};
use crate::{GreyMap, ImagingError, Voxels};
use microdiff_domain::Volume;
use rayon::prelude::*;
use std::path::Path;
use tiff::decoder::DecodingResult;

/// Values looked at to find the grey range of a float scan.
const RANGE_SAMPLE: usize = 1 << 20;

/// Runs of pages that a thread fills one after the other.
const RUNS_PER_THREAD: usize = 8;

/// Pages of equal size, one after the other.
pub(super) struct Samples {
    shape: [usize; 3],
    kind: &'static str,
    values: Values,
}

/// 8 and 16 bit as they are, signed ones with the sign bit turned; all else as `f32`.
enum Values {
    U8(Vec<u8>),
    U16(Vec<u16>),
    F32(Vec<f32>),
}

/// One page of [`Samples`], to be filled.
pub(super) enum Page<'a> {
    U8(&'a mut [u8]),
    U16(&'a mut [u16]),
    F32(&'a mut [f32]),
}

impl Samples {
    /// Room for a volume of a type as named by [`kind_name`]. The caller has checked the budget.
    pub(super) fn new(
        path: &Path,
        shape: [usize; 3],
        kind: &'static str,
    ) -> Result<Self, ImagingError> {
        let room = || {
            let len = shape.iter().try_fold(1usize, |acc, &n| acc.checked_mul(n))?;
            Some(match kind {
                "u8" | "i8" => Values::U8(try_zeroed(len)?),
                "u16" | "i16" => Values::U16(try_zeroed(len)?),
                _ => Values::F32(try_zeroed(len)?),
            })
        };
        let values = room().ok_or_else(|| ImagingError::TooLarge {
            path: shown(path),
            reason: "not enough memory for its voxels".to_owned(),
        })?;
        Ok(Self { shape, kind, values })
    }

    /// Type of the source's voxels.
    pub(super) fn source_type(&self) -> &'static str {
        self.kind
    }

    /// All pages in order.
    pub(super) fn pages(&mut self) -> Vec<Page<'_>> {
        let len = (self.shape[1] * self.shape[2]).max(1);
        match &mut self.values {
            Values::U8(all) => all.chunks_exact_mut(len).map(Page::U8).collect(),
            Values::U16(all) => all.chunks_exact_mut(len).map(Page::U16).collect(),
            Values::F32(all) => all.chunks_exact_mut(len).map(Page::F32).collect(),
        }
    }

    /// Fills all pages on all threads, each thread some runs of them. `begin` opens what a run
    /// is read from and `fill` puts one page, counted from 0, in its place. The error told is that
    /// of the first page that has one, on any number of threads.
    pub(super) fn fill<R>(
        &mut self,
        begin: impl Fn() -> Result<R, ImagingError> + Sync,
        fill: impl Fn(&mut R, usize, &mut Page<'_>) -> Result<(), ImagingError> + Sync,
    ) -> Result<(), ImagingError> {
        let mut pages = self.pages();
        // Several runs for each thread, for one may be busy with something else.
        let share = pages.len().div_ceil(RUNS_PER_THREAD * rayon::current_num_threads()).max(1);
        let runs: Vec<Result<(), ImagingError>> = pages
            .par_chunks_mut(share)
            .enumerate()
            .map(|(run, pages)| {
                let mut reader = begin()?;
                for (index, page) in pages.iter_mut().enumerate() {
                    fill(&mut reader, run * share + index, page)?;
                }
                Ok(())
            })
            .collect();
        runs.into_iter().collect()
    }

    /// Voxels as kept, and how they relate to the source. Refuses values that are no numbers.
    pub(super) fn into_voxels(self, path: &Path) -> Result<(Voxels, GreyMap), ImagingError> {
        let signed = |offset: f64| GreyMap {
            offset: if self.kind.starts_with('i') { offset } else { 0.0 },
            scale: 1.0,
        };
        Ok(match self.values {
            Values::U8(data) => (Volume::new(self.shape, data)?.into(), signed(-128.0)),
            Values::U16(data) => (Volume::new(self.shape, data)?.into(), signed(-32768.0)),
            Values::F32(values) => {
                check_finite(path, &values, self.shape[1] * self.shape[2])?;
                let map = grey_range(&values);
                let level = |v: f32| {
                    ((f64::from(v) - map.offset) / map.scale + 0.5).clamp(0.0, 65535.0) as u16
                };
                let data = values.par_iter().map(|&v| level(v)).collect();
                (Volume::new(self.shape, data)?.into(), map)
            }
        })
    }
}

impl Page<'_> {
    /// The bytes of the page, for a source whose voxels are of the type kept; none for others.
    pub(super) fn bytes(&mut self, kind: &str) -> Option<&mut [u8]> {
        match self {
            Self::U8(page) => Some(page),
            Self::U16(page) => Some(bytemuck::cast_slice_mut(page)),
            Self::F32(page) => (kind == "f32").then(|| bytemuck::cast_slice_mut(page)),
        }
    }

    /// Turns differences along rows of a width back into whole numbers.
    pub(super) fn sum_differences(&mut self, width: usize) {
        let set = InstructionSet::detect();
        match self {
            Self::U8(page) => page.chunks_mut(width).for_each(|row| {
                vectorised(
                    set,
                    #[inline(always)]
                    || running_sums(row),
                );
            }),
            Self::U16(page) => page.chunks_mut(width).for_each(|row| {
                vectorised(
                    set,
                    #[inline(always)]
                    || running_sums(row),
                );
            }),
            Self::F32(_) => {}
        }
    }

    /// Mends what was written as bytes: the order of the bytes, and the sign.
    pub(super) fn settle(&mut self, kind: &str, swap: bool) {
        match self {
            Self::U8(page) if kind == "i8" => page.iter_mut().for_each(|v| *v ^= 0x80),
            Self::U8(_) => {}
            Self::U16(page) => {
                if swap {
                    page.iter_mut().for_each(|v| *v = v.swap_bytes());
                }
                if kind == "i16" {
                    page.iter_mut().for_each(|v| *v ^= 0x8000);
                }
            }
            Self::F32(page) => {
                if swap {
                    page.iter_mut().for_each(|v| *v = f32::from_bits(v.to_bits().swap_bytes()));
                }
            }
        }
    }

    /// Takes decoded values as they are kept as `f32`. False if their number is another.
    pub(super) fn take(&mut self, decoded: DecodingResult) -> bool {
        let Self::F32(page) = self else { return false };
        match decoded {
            DecodingResult::U8(new) => put(page, &new, f32::from),
            DecodingResult::I8(new) => put(page, &new, f32::from),
            DecodingResult::U16(new) => put(page, &new, f32::from),
            DecodingResult::I16(new) => put(page, &new, f32::from),
            DecodingResult::U32(new) => put(page, &new, |v| v as f32),
            DecodingResult::I32(new) => put(page, &new, |v| v as f32),
            DecodingResult::U64(new) => put(page, &new, |v| v as f32),
            DecodingResult::I64(new) => put(page, &new, |v| v as f32),
            DecodingResult::F16(new) => put(page, &new, |v| v.to_f32()),
            DecodingResult::F32(new) => put(page, &new, |v| v),
            DecodingResult::F64(new) => put(page, &new, |v| v as f32),
        }
    }

    /// Takes bytes of a type that is not kept as it is. False if they are of no such type.
    pub(super) fn take_bytes(&mut self, bytes: &[u8], kind: &str, big_endian: bool) -> bool {
        let Self::F32(page) = self else { return false };
        macro_rules! of {
            ($type:ty, $size:literal) => {{
                let read = if big_endian { <$type>::from_be_bytes } else { <$type>::from_le_bytes };
                put(page, bytes.as_chunks::<$size>().0, |b| read(b) as f32)
            }};
        }
        match kind {
            "u32" => of!(u32, 4),
            "i32" => of!(i32, 4),
            "u64" => of!(u64, 8),
            "i64" => of!(i64, 8),
            "f64" => of!(f64, 8),
            _ => false,
        }
    }
}

fn put<T: Copy>(page: &mut [f32], new: &[T], as_float: impl Fn(T) -> f32) -> bool {
    page.iter_mut().zip(new).for_each(|(to, &from)| *to = as_float(from));
    page.len() == new.len()
}

fn check_finite(path: &Path, values: &[f32], page: usize) -> Result<(), ImagingError> {
    let bad = |page: &[f32]| page.iter().filter(|v| !v.is_finite()).count() as u64;
    let counts: Vec<u64> = values.par_chunks(page.max(1)).map(bad).collect();
    match counts.iter().position(|&count| count > 0) {
        Some(first) => Err(ImagingError::NotFinite {
            path: shown(path),
            count: counts.iter().sum(),
            page: first + 1,
        }),
        None => Ok(()),
    }
}

/// Range of levels for a float scan: from the smallest to the largest value, but no further than
/// half the central range beyond it, so that one hot voxel does not take all levels; from zero where
/// the values lie not far above it.
fn grey_range(values: &[f32]) -> GreyMap {
    let (low, high) =
        values.iter().fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
    let stride = (values.len() / RANGE_SAMPLE).max(1) | 1;
    let mut sample: Vec<f32> = values.iter().step_by(stride).copied().collect();
    sample.sort_by(f32::total_cmp);
    let at = |share: f64| f64::from(sample[(share * (sample.len() - 1) as f64) as usize]);
    let (low, high) = (f64::from(low), f64::from(high));
    let (inner_low, inner_high) =
        if sample.is_empty() { (low, high) } else { (at(0.0005), at(0.9995)) };
    let slack = 0.5 * (inner_high - inner_low);
    let (from, to) = if slack > 0.0 {
        (low.max(inner_low - slack), high.min(inner_high + slack))
    } else {
        (low, high)
    };
    // Contrast is read against zero, as in integer scans, where that costs at most two bits.
    let from = if from >= 0.0 && to <= 4.0 * (to - from) { 0.0 } else { from };
    let scale = (to - from) / 65535.0;
    GreyMap { offset: from, scale: if scale > 0.0 { scale } else { 1.0 } }
}

/// Name of a voxel type from its bits and the value of the SampleFormat tag.
pub(super) fn kind_name(bits: u8, format: u16) -> Option<&'static str> {
    Some(match (bits, format) {
        (8, 1) => "u8",
        (16, 1) => "u16",
        (32, 1) => "u32",
        (64, 1) => "u64",
        (8, 2) => "i8",
        (16, 2) => "i16",
        (32, 2) => "i32",
        (64, 2) => "i64",
        (16, 3) => "f16",
        (32, 3) => "f32",
        (64, 3) => "f64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::grey_range;

    #[test]
    fn zero_stays_zero_unless_it_would_cost_too_many_levels() {
        assert_eq!(grey_range(&[20.0, 30.0, 40.0]).offset, 0.0);
        assert_eq!(grey_range(&[1000.0, 1000.5, 1001.0]).offset, 1000.0);
        assert_eq!(grey_range(&[-1.0, 0.0, 1.0]).offset, -1.0);
    }
}
