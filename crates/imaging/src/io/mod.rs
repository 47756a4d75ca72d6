//! Files → scans, and volumes → TIFF files.
//!
//! Reads a multi-page TIFF (8, 16, 32, 64 bit integers, 16, 32, 64 bit floats; none, LZW, deflate,
//! zstd, PackBits; BigTIFF; tiles and strips; ImageJ stacks, also those with one directory for all
//! slices) or a folder of single-page slices. Everything a header promises is checked against a
//! budget and against the length of the file before memory is taken, and every page before the
//! first is decoded: nothing is dropped in silence.
//!
//! Not read, with a clear error: colour, palettes, several channels or times, JPEG.

mod budget;
mod folder;
mod metadata;
mod pages;
mod raw;
mod samples;
mod write;

pub use budget::Limits;
pub use write::{write_tiff_u8, write_tiff_u16};

use crate::scan::hex;
use crate::{ImagingError, Scan};
use metadata::{Tags, voxel_size};
use microdiff_domain::VoxelSize;
use samples::Samples;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// How a scan is read.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ReadOptions {
    /// Voxel size to use whatever the file says.
    pub voxel_size: Option<VoxelSize>,
    /// Budget.
    pub limits: Limits,
}

/// Reads a scan from a TIFF file or a folder of slices. A voxel size that is nowhere to be found
/// is not an error here, see [`Scan::require_voxel_size`].
pub fn read_scan(path: &Path, options: &ReadOptions) -> Result<Scan, ImagingError> {
    let meta = std::fs::metadata(path).map_err(|source| unreadable(path, source))?;
    let mut digest = Sha256::new();
    let (samples, tags) = if meta.is_dir() {
        folder::read(path, &options.limits, &mut digest)?
    } else {
        let length = open(path)?.1;
        let file = pages::Pages::open(path)?;
        options.limits.check(path, &file.page, (file.count() as u64, length))?;
        // The hash is as slow as the voxels of an unpacked file, and needs no memory.
        let (samples, hashed) =
            rayon::join(|| file.decode(length), || hash_file(path, &mut digest));
        let samples = samples.and_then(|samples| hashed.map(|()| samples))?;
        (samples, file.tags)
    };
    scan(path, options, samples, (&tags, hex(&digest.finalize())))
}

fn scan(
    path: &Path,
    options: &ReadOptions,
    samples: Samples,
    (tags, sha256): (&Tags, String),
) -> Result<Scan, ImagingError> {
    let (voxel_size, voxel_size_looked) = voxel_size(tags, options.voxel_size)?;
    let source_type = samples.source_type();
    let (voxels, grey_map) = samples.into_voxels(path)?;
    Ok(Scan { voxels, grey_map, source_type, voxel_size, voxel_size_looked, sha256 })
}

/// SHA-256 of a file's bytes in hexadecimal, as [`Scan::sha256`] has it for a scan in one file.
pub fn file_sha256(path: &Path) -> Result<String, ImagingError> {
    let mut digest = Sha256::new();
    hash_file(path, &mut digest)?;
    Ok(hex(&digest.finalize()))
}

/// Opens a file and gives its length; refuses an empty one.
fn open(path: &Path) -> Result<(BufReader<File>, u64), ImagingError> {
    let file = File::open(path).map_err(|source| unreadable(path, source))?;
    let meta = file.metadata().map_err(|source| unreadable(path, source))?;
    if meta.len() == 0 {
        return Err(ImagingError::Empty { path: shown(path) });
    }
    Ok((BufReader::with_capacity(1 << 16, file), meta.len()))
}

fn hash_file(path: &Path, digest: &mut Sha256) -> Result<(), ImagingError> {
    let mut file = File::open(path).map_err(|source| unreadable(path, source))?;
    let mut buffer = vec![0u8; 1 << 18];
    loop {
        let read = file.read(&mut buffer).map_err(|source| unreadable(path, source))?;
        if read == 0 {
            return Ok(());
        }
        digest.update(&buffer[..read]);
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> ImagingError {
    ImagingError::Read { path: shown(path), source }
}

/// A path made safe to print: no control characters, the last 160 characters.
fn shown(path: &Path) -> String {
    let text = clean(&path.to_string_lossy());
    let skip = text.chars().count().saturating_sub(160);
    text.chars().skip(skip).collect()
}

/// Text from outside without control characters.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
