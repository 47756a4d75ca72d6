//! The pages of one TIFF file, checked before any is decoded.

use super::budget::PageKind;
use super::metadata::Tags;
use super::raw::{self, Layout};
use super::samples::{Page, Samples, kind_name};
use super::strips::{Strips, Unpacker};
use super::{Limits, excerpt, open, shown};
use crate::ImagingError;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use tiff::decoder::ifd::Value;
use tiff::decoder::{Decoder, Limits as DecoderLimits};
use tiff::tags::{ByteOrder, Tag};
use tiff::{ColorType, TiffError, TiffFormatError};

/// Memory the values of one tag may take, decoded: two million strips.
const DIRECTORY_BYTES: usize = 64 << 20;

/// Channels that could be the colours of one picture.
const MOST_COLOURS: u64 = 4;

/// Longest description read; OME-XML of many planes takes a megabyte.
const DESCRIPTION_BYTES: u64 = 16 << 20;

/// A checked file.
pub(super) struct Pages {
    path: PathBuf,
    decoder: Decoder<BufReader<File>>,
    /// What all pages share.
    pub page: PageKind,
    /// Pages with a directory of their own.
    directories: usize,
    /// Slices stored one after the other behind a single directory, and where they begin.
    contiguous: Option<(u64, u64)>,
    big_endian: bool,
    /// For each page that can be unpacked without the decoder, how.
    strips: Vec<Option<Strips>>,
    /// Tags of the first page.
    pub tags: Tags,
}

impl Pages {
    /// Walks all directories. Refuses pages that differ, colour, and more than can be.
    pub(super) fn open(path: &Path, budget: &Limits) -> Result<Self, ImagingError> {
        let (reader, length) = open(path)?;
        let fault = |error: TiffError| explain(path, error);
        let mut decoder = Decoder::new(reader).map_err(fault)?.with_limits(limits(0, length));
        let page = page_kind(path, &mut decoder, 1)?;
        let tags = read_tags(path, &mut decoder)?;
        let big_endian = decoder.byte_order() == ByteOrder::BigEndian;
        let contiguous = contiguous_slices(path, &mut decoder, (&tags, page, length))?;
        let mut directories = 1;
        let mut strips = vec![Strips::find(&mut decoder, (&page, length))];
        while decoder.more_images() {
            // Each directory takes bytes of the file, so this ends; but many may share the same
            // long list of strips, so it ends as soon as the budget does.
            budget.check(path, &page, (directories as u64 + 1, length))?;
            decoder.next_image().map_err(fault)?;
            directories += 1;
            let other = page_kind(path, &mut decoder, directories)?;
            if other != page {
                return Err(ImagingError::Mixed {
                    path: shown(path),
                    reason: format!(
                        "page {directories} is {}, page 1 is {}",
                        other.text(),
                        page.text()
                    ),
                });
            }
            strips.push(Strips::find(&mut decoder, (&page, length)));
        }
        // The budget has the last word on the page; the decoder only has to let it through.
        let decoder = decoder.with_limits(limits(page.bytes(), length));
        let pages = Self {
            path: path.to_owned(),
            decoder,
            page,
            directories,
            contiguous,
            big_endian,
            strips,
            tags,
        };
        pages.check_description()?;
        Ok(pages)
    }

    /// Number of slices.
    pub(super) fn count(&self) -> usize {
        self.contiguous.map_or(self.directories, |(count, _)| count as usize)
    }

    /// A stack that says it has more slices, channels or times than are there is not guessed at.
    fn check_description(&self) -> Result<(), ImagingError> {
        let path = || shown(&self.path);
        for key in ["channels", "frames"] {
            let count = self.tags.imagej_count(key);
            // Writers that are not told what the axes mean call the slices channels or times; as
            // the only long axis it can be nothing else.
            let slices_by_another_name =
                count > MOST_COLOURS && count == self.tags.imagej_count("images");
            if count > 1 && !slices_by_another_name {
                let reason = format!("an ImageJ stack of {count} {key}; give one volume");
                return Err(ImagingError::Unsupported { path: path(), reason });
            }
        }
        for key in ["SizeC", "SizeT"] {
            if self.tags.ome(key).is_some_and(|count| count != "1") {
                let reason = format!("OME-XML with {key} above 1; give one volume");
                return Err(ImagingError::Unsupported { path: path(), reason });
            }
        }
        let promised = self.tags.imagej_count("images");
        if self.tags.imagej("images").is_some() && promised != self.count() as u64 {
            let reason = format!(
                "its ImageJ description promises {promised} slices, the file holds {}",
                self.count()
            );
            return Err(ImagingError::Damaged { path: path(), reason });
        }
        Ok(())
    }

    /// Decodes all slices, on all threads.
    pub(super) fn decode(&self, length: u64) -> Result<Samples, ImagingError> {
        let shape = [self.count(), self.page.height, self.page.width];
        let mut samples = Samples::new(&self.path, shape, self.page.kind)?;
        if let Some((_, offset)) = self.contiguous {
            let layout = Layout { offset, big_endian: self.big_endian };
            raw::read(&self.path, &layout, &self.page, &mut samples)?;
        } else {
            let begin = || Ok((Unpacker::open(&self.path, self.big_endian)?, None));
            samples.fill(begin, |(unpacker, decoder), index, page| {
                if self.unpack(unpacker, index, page) {
                    return Ok(());
                }
                // Whatever is not plain, or not as it should be, is for the decoder to read or
                // to explain.
                let decoder = match decoder {
                    Some(decoder) => decoder,
                    None => decoder.insert(self.decoder(length)?),
                };
                decode_page(&self.path, decoder, (&self.page, index), page)
            })?;
        }
        Ok(samples)
    }

    fn unpack(&self, unpacker: &mut Unpacker, index: usize, page: &mut Page<'_>) -> bool {
        let strips = self.strips.get(index).and_then(Option::as_ref);
        strips.is_some_and(|strips| unpacker.unpack(strips, &self.page, page))
    }

    fn decoder(&self, length: u64) -> Result<Decoder<BufReader<File>>, ImagingError> {
        let (reader, _) = open(&self.path)?;
        let decoder = Decoder::new(reader).map_err(|error| explain(&self.path, error))?;
        Ok(decoder.with_limits(limits(self.page.bytes(), length)))
    }

    /// Decodes the only page of a slice.
    pub(super) fn decode_single(&mut self, page: &mut Page<'_>) -> Result<(), ImagingError> {
        if self.unpack(&mut Unpacker::open(&self.path, self.big_endian)?, 0, page) {
            return Ok(());
        }
        decode_page(&self.path, &mut self.decoder, (&self.page, 0), page)
    }
}

/// Decodes directory `index` into its place.
fn decode_page(
    path: &Path,
    decoder: &mut Decoder<BufReader<File>>,
    (kind, index): (&PageKind, usize),
    page: &mut Page<'_>,
) -> Result<(), ImagingError> {
    let fault = |error: TiffError| explain(path, error);
    decoder.seek_to_image(index).map_err(fault)?;
    let layout = decoder.image_buffer_layout().map_err(fault)?;
    let decoded = match page.bytes(kind.kind) {
        Some(bytes) if layout.len == bytes.len() => {
            decoder.read_image_bytes(bytes).map_err(fault)?;
            page.settle(kind.kind, false);
            true
        }
        Some(_) => false,
        None => page.take(decoder.read_image().map_err(fault)?),
    };
    if decoded {
        return Ok(());
    }
    let reason = format!("page {} does not decode to {}", index + 1, kind.text());
    Err(ImagingError::Damaged { path: shown(path), reason })
}

/// The decoder takes memory for the values of a tag on the word of the tag, as far as its limit
/// for a page goes; so while directories are read the page must not count.
fn limits(page_bytes: u64, length: u64) -> DecoderLimits {
    let within = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut limits = DecoderLimits::default();
    limits.decoding_buffer_size = within(page_bytes).max(DIRECTORY_BYTES);
    limits.intermediate_buffer_size = within(length);
    limits
}

fn page_kind(
    path: &Path,
    decoder: &mut Decoder<BufReader<File>>,
    number: usize,
) -> Result<PageKind, ImagingError> {
    let fault = |error: TiffError| explain(path, error);
    let unsupported = |reason: String| ImagingError::Unsupported { path: shown(path), reason };
    let (width, height) = decoder.dimensions().map_err(fault)?;
    let bits = match decoder.colortype().map_err(fault)? {
        ColorType::Gray(bits) => bits,
        other => {
            let reason = format!("page {number} holds {other:?} pixels; one grey value is needed");
            return Err(unsupported(reason));
        }
    };
    let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat).map_err(fault)?;
    let format = formats.and_then(|all| all.first().copied()).unwrap_or(1);
    let kind = kind_name(bits, if format == 4 { 1 } else { format }).ok_or_else(|| {
        unsupported(format!("page {number} has {bits} bits per voxel in sample format {format}"))
    })?;
    let (chunk_width, chunk_height) = decoder.chunk_dimensions();
    let page = u128::from(width) * u128::from(height);
    let strip = u64::from(chunk_height).min(u64::from(height) + 65_536);
    let chunk = u128::from(chunk_width) * u128::from(strip);
    // A tile may overhang the page, but one much larger only serves to exhaust memory.
    if chunk > 4 * page + (1 << 20) {
        let reason = format!("page {number} has tiles of {chunk_width} x {chunk_height}");
        return Err(ImagingError::Damaged { path: shown(path), reason });
    }
    let bytes_per_voxel = u64::from(bits).div_ceil(8);
    Ok(PageKind { height: height as usize, width: width as usize, kind, bytes_per_voxel })
}

fn read_tags(path: &Path, decoder: &mut Decoder<BufReader<File>>) -> Result<Tags, ImagingError> {
    let fault = |error: TiffError| explain(path, error);
    // Text in the wrong encoding is as good as none.
    let text = |value: Option<Value>| value.and_then(|v| v.into_string().ok()).unwrap_or_default();
    // Checked before it is read: the decoder refuses a longer one on stderr, not only by an error.
    let declared = decoder.image_ifd().find_entry(Tag::ImageDescription).map_or(0, |e| e.count());
    if declared > DESCRIPTION_BYTES {
        let reason = format!("its ImageDescription claims {declared} bytes");
        return Err(ImagingError::Damaged { path: shown(path), reason });
    }
    let description = decoder.find_tag(Tag::ImageDescription).unwrap_or_default();
    let x = decoder.find_tag(Tag::XResolution).map_err(fault)?;
    let y = decoder.find_tag(Tag::YResolution).map_err(fault)?;
    let unit = decoder.find_tag_unsigned::<u16>(Tag::ResolutionUnit).map_err(fault)?;
    Ok(Tags {
        description: text(description),
        resolution: [x, y].map(|value| value.and_then(ratio)),
        unit: unit.unwrap_or(2),
    })
}

fn ratio(value: Value) -> Option<f64> {
    match value {
        Value::Rational(n, d) if d != 0 => Some(f64::from(n) / f64::from(d)),
        Value::Float(v) => Some(f64::from(v)),
        Value::Double(v) => Some(v),
        _ => None,
    }
}

/// Number and place of the slices of an ImageJ stack above 4 GB: one directory, no compression,
/// all slices behind one another.
fn contiguous_slices(
    path: &Path,
    decoder: &mut Decoder<BufReader<File>>,
    (tags, page, length): (&Tags, PageKind, u64),
) -> Result<Option<(u64, u64)>, ImagingError> {
    let fault = |error: TiffError| explain(path, error);
    let count = tags.imagej_count("images");
    if count <= 1 || decoder.more_images() {
        return Ok(None);
    }
    let compression = decoder.find_tag_unsigned::<u16>(Tag::Compression).map_err(fault)?;
    let predictor = decoder.find_tag_unsigned::<u16>(Tag::Predictor).map_err(fault)?;
    let white = decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation).map_err(fault)?;
    let offsets = decoder.find_tag_unsigned_vec::<u64>(Tag::StripOffsets).map_err(fault)?;
    let plain = compression.unwrap_or(1) == 1 && predictor.unwrap_or(1) == 1 && white == Some(1);
    let known = ["u8", "u16", "f32"].contains(&page.kind);
    let Some(first) = offsets.and_then(|all| all.first().copied()).filter(|_| plain && known)
    else {
        return Ok(None);
    };
    let end = u128::from(first) + u128::from(count) * u128::from(page.bytes());
    // Too short a file falls through to the check of the description, which refuses it.
    Ok((end <= u128::from(length)).then_some((count, first)))
}

/// The decoder's error in words for the owner of the file.
fn explain(path: &Path, error: TiffError) -> ImagingError {
    let path = shown(path);
    match error {
        TiffError::FormatError(
            TiffFormatError::TiffSignatureNotFound | TiffFormatError::TiffSignatureInvalid,
        ) => ImagingError::NotTiff { path },
        TiffError::UnsupportedError(error) => {
            ImagingError::Unsupported { path, reason: excerpt(&error.to_string(), 200) }
        }
        TiffError::LimitsExceeded => {
            ImagingError::TooLarge { path, reason: "a tag or strip exceeds the limits".to_owned() }
        }
        TiffError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImagingError::Damaged { path, reason: "the file ends early".to_owned() }
        }
        other => ImagingError::Damaged { path, reason: excerpt(&other.to_string(), 200) },
    }
}
