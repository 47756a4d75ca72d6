//! The common page unpacked without detours: strips of grey values, plain, deflated or packed by
//! zstd, with or without differences along the rows.
//!
//! The decoder reads every variety of TIFF, and pays for it: streams of small reads, a new
//! decompressor for each strip, differences summed byte by byte. Here whole strips go from the
//! file through one decompressor into their place. Anything out of the ordinary is left to the
//! decoder, a strip that does not unpack to its exact length included, so that what is accepted
//! and what is said of the rest stays the decoder's affair.

use super::budget::PageKind;
use super::samples::Page;
use super::unreadable;
use crate::ImagingError;
use crate::lanes::sums_of_eight;
use flate2::{Decompress, FlushDecompress, Status};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use tiff::decoder::Decoder;
use tiff::tags::Tag;

/// Most strips of a page kept in mind; more are slow anyway.
const MOST_STRIPS: u64 = 64;
/// Sums of differences are carried from one such group of values to the next.
const GROUP: usize = 16;

/// How a strip is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Deflate,
    Zstd,
}

/// Where the strips of a page lie, and how they are packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Strips {
    /// Place in the file, and length.
    places: Vec<(u64, u64)>,
    rows: usize,
    packing: Packing,
    /// Whether each value but the first of a row is the difference to the one before.
    differences: bool,
}

impl Strips {
    /// The strips of the decoder's current page, if it is of the plain kind and they lie within
    /// the file.
    pub(super) fn find(
        decoder: &mut Decoder<BufReader<File>>,
        (page, length): (&PageKind, u64),
    ) -> Option<Self> {
        let mut number = |tag: Tag, absent: u64| match decoder.find_tag_unsigned::<u64>(tag) {
            Ok(found) => Some(found.unwrap_or(absent)),
            Err(_) => None,
        };
        let packing = match number(Tag::Compression, 1)? {
            1 => Packing::Plain,
            8 | 32_946 => Packing::Deflate,
            50_000 => Packing::Zstd,
            _ => return None,
        };
        let differences = match number(Tag::Predictor, 1)? {
            1 => false,
            2 if page.kind != "f32" => true,
            _ => return None,
        };
        let kept = ["u8", "i8", "u16", "i16", "f32"].contains(&page.kind);
        let ordinary = number(Tag::PhotometricInterpretation, 0)? == 1
            && number(Tag::SamplesPerPixel, 1)? == 1
            && number(Tag::FillOrder, 1)? == 1;
        let rows = number(Tag::RowsPerStrip, u64::MAX)?.min(page.height as u64);
        if !kept || !ordinary || rows == 0 || (page.height as u64).div_ceil(rows) > MOST_STRIPS {
            return None;
        }
        let mut numbers = |tag: Tag| decoder.find_tag_unsigned_vec::<u64>(tag).ok().flatten();
        let (offsets, lengths) = (numbers(Tag::StripOffsets)?, numbers(Tag::StripByteCounts)?);
        let places: Vec<(u64, u64)> = offsets.into_iter().zip(lengths).collect();
        let inside = |&(offset, bytes): &(u64, u64)| {
            offset.checked_add(bytes).is_some_and(|end| end <= length)
        };
        let whole = places.len() as u64 == (page.height as u64).div_ceil(rows);
        (whole && places.iter().all(inside)).then_some(Self {
            places,
            rows: rows as usize,
            packing,
            differences,
        })
    }
}

/// A file with what unpacks its strips.
pub(super) struct Unpacker {
    file: File,
    swap: bool,
    packed: Vec<u8>,
    deflate: Option<Decompress>,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Unpacker {
    /// Opens a file of pages.
    pub(super) fn open(path: &Path, big_endian: bool) -> Result<Self, ImagingError> {
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        let swap = big_endian != cfg!(target_endian = "big");
        Ok(Self { file, swap, packed: Vec::new(), deflate: None, zstd: None })
    }

    /// Fills a page from its strips. False if they are not what they should be; the page then
    /// holds anything.
    pub(super) fn unpack(&mut self, strips: &Strips, kind: &PageKind, page: &mut Page<'_>) -> bool {
        // Differences are between values in the order of the machine.
        if strips.differences && self.swap && kind.bytes_per_voxel > 1 {
            return false;
        }
        let strip_bytes = strips.rows * kind.width * kind.bytes_per_voxel as usize;
        let Some(bytes) = page.bytes(kind.kind) else { return false };
        if bytes.len() as u64 != kind.bytes() || strip_bytes == 0 {
            return false;
        }
        for (&place, strip) in strips.places.iter().zip(bytes.chunks_mut(strip_bytes)) {
            if self.unpack_strip(strips.packing, place, strip).is_none() {
                return false;
            }
        }
        if strips.differences {
            page.sum_differences(kind.width);
        }
        page.settle(kind.kind, self.swap);
        true
    }

    /// Fills a strip with exactly what its bytes in the file unpack to; nothing if that is another
    /// length.
    fn unpack_strip(
        &mut self,
        packing: Packing,
        (offset, length): (u64, u64),
        strip: &mut [u8],
    ) -> Option<()> {
        self.file.seek(SeekFrom::Start(offset)).ok()?;
        if packing == Packing::Plain {
            // Longer strips than needed are common: padded to whole blocks.
            return (length >= strip.len() as u64).then(|| self.file.read_exact(strip).ok())?;
        }
        self.packed.resize(usize::try_from(length).ok()?, 0);
        self.file.read_exact(&mut self.packed).ok()?;
        if packing == Packing::Zstd {
            let context = match &mut self.zstd {
                Some(context) => context,
                None => self.zstd.insert(zstd::bulk::Decompressor::new().ok()?),
            };
            let written = context.decompress_to_buffer(&self.packed, strip).ok()?;
            return (written == strip.len()).then_some(());
        }
        let state = self.deflate.get_or_insert_with(|| Decompress::new(true));
        state.reset(true);
        let status = state.decompress(&self.packed, strip, FlushDecompress::Finish).ok()?;
        (status == Status::StreamEnd && state.total_out() == strip.len() as u64).then_some(())
    }
}

/// Turns the differences along a row back into values.
pub(super) trait Differences: Copy + Default {
    /// Sum that wraps.
    fn plus(self, other: Self) -> Self;

    /// Replaces each value of a group by the sum of `before` and all up to it. Sums within the group
    /// take as many steps as doublings; only `before` waits for the group ahead.
    #[inline(always)]
    fn sum_group(group: &mut [Self; GROUP], before: Self) {
        for step in [1, 2, 4, 8] {
            let shifted = *group;
            for lane in step..GROUP {
                group[lane] = group[lane].plus(shifted[lane - step]);
            }
        }
        for value in group.iter_mut() {
            *value = value.plus(before);
        }
    }
}

impl Differences for u8 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Differences for u16 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn sum_group(group: &mut [Self; GROUP], mut before: Self) {
        for eight in group.as_chunks_mut().0 {
            *eight = sums_of_eight(*eight, before);
            before = eight[7];
        }
    }
}

/// Replaces each value by the sum of all up to it.
#[inline(always)]
pub(super) fn running_sums<T: Differences>(row: &mut [T]) {
    let mut before = T::default();
    let (groups, rest) = row.as_chunks_mut::<GROUP>();
    for group in groups {
        T::sum_group(group, before);
        before = group[GROUP - 1];
    }
    for value in rest {
        before = value.plus(before);
        *value = before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Differences + PartialEq + std::fmt::Debug>(row: &mut [T]) {
        let mut sum = T::default();
        let mut wanted = row.to_vec();
        for value in &mut wanted {
            sum = sum.plus(*value);
            *value = sum;
        }
        running_sums(row);
        assert_eq!(row, wanted);
    }

    #[test]
    fn sums_run_through_groups_and_wrap() {
        check(&mut (0..50u8).map(|i| i.wrapping_mul(37)).collect::<Vec<_>>());
        check(&mut (0..150u16).map(|i| i.wrapping_mul(9137)).collect::<Vec<_>>());
    }
}
