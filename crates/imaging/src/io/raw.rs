//! Voxels without any frame of their own: bytes of a known type from a known place, or a packed
//! stream of them.

use super::budget::PageKind;
use super::samples::{Page, Samples};
use super::{shown, unreadable};
use crate::ImagingError;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// Where voxels begin in a file, and the order of their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub offset: u64,
    pub big_endian: bool,
}

/// How voxels are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zlib,
}

/// Reads pages that lie one behind the other, on all threads, each straight into its place. The
/// caller has checked that the file is long enough.
pub(super) fn read(
    path: &Path,
    layout: &Layout,
    kind: &PageKind,
    samples: &mut Samples,
) -> Result<(), ImagingError> {
    let begin = || {
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        Ok((file, Vec::new(), None))
    };
    samples.fill(begin, |(file, buffer, at), index, page| {
        if *at != Some(index) {
            let place = layout.offset + index as u64 * kind.bytes();
            file.seek(SeekFrom::Start(place)).map_err(|error| unreadable(path, error))?;
        }
        *at = Some(index + 1);
        read_page(file, buffer, (kind, layout.big_endian), page).map_err(|error| ended(path, error))
    })
}

/// Reads a packed volume; bytes beyond it are as wrong as missing ones.
pub(super) fn unpack(
    path: &Path,
    packing: Packing,
    (layout, kind): (&Layout, &PageKind),
    samples: &mut Samples,
) -> Result<(), ImagingError> {
    let mut file = File::open(path).map_err(|error| unreadable(path, error))?;
    file.seek(SeekFrom::Start(layout.offset)).map_err(|error| unreadable(path, error))?;
    let packed = BufReader::with_capacity(1 << 18, file);
    match packing {
        Packing::Gzip => unpack_from(path, MultiGzDecoder::new(packed), (layout, kind), samples),
        Packing::Zlib => unpack_from(path, ZlibDecoder::new(packed), (layout, kind), samples),
    }
}

fn unpack_from(
    path: &Path,
    mut stream: impl Read,
    (layout, kind): (&Layout, &PageKind),
    samples: &mut Samples,
) -> Result<(), ImagingError> {
    let mut buffer = Vec::new();
    for mut page in samples.pages() {
        read_page(&mut stream, &mut buffer, (kind, layout.big_endian), &mut page)
            .map_err(|error| ended(path, error))?;
    }
    match stream.read(&mut [0]).map_err(|error| ended(path, error))? {
        0 => Ok(()),
        _ => Err(damaged(path, "it unpacks to more voxels than its header says".to_owned())),
    }
}

/// Fills a page with the next bytes.
fn read_page(
    reader: &mut impl Read,
    buffer: &mut Vec<u8>,
    (kind, big_endian): (&PageKind, bool),
    page: &mut Page<'_>,
) -> std::io::Result<()> {
    if let Some(bytes) = page.bytes(kind.kind) {
        reader.read_exact(bytes)?;
        page.settle(kind.kind, big_endian != cfg!(target_endian = "big"));
        return Ok(());
    }
    buffer.resize(kind.bytes() as usize, 0);
    reader.read_exact(buffer)?;
    if page.take_bytes(buffer, kind.kind, big_endian) {
        return Ok(());
    }
    Err(std::io::Error::new(ErrorKind::InvalidData, format!("no voxels of {}", kind.kind)))
}

fn ended(path: &Path, error: std::io::Error) -> ImagingError {
    match error.kind() {
        ErrorKind::UnexpectedEof => damaged(path, "the file ends early".to_owned()),
        ErrorKind::InvalidData | ErrorKind::InvalidInput => {
            damaged(path, super::clean(&error.to_string()))
        }
        _ => unreadable(path, error),
    }
}

fn damaged(path: &Path, reason: String) -> ImagingError {
    ImagingError::Damaged { path: shown(path), reason }
}
