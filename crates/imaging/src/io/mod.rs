//! Files → scans, and volumes → TIFF files.
//!
//! Reads a multi-page TIFF (8, 16, 32, 64 bit integers, 16, 32, 64 bit floats; none, LZW, deflate,
//! zstd, PackBits; BigTIFF; tiles and strips; ImageJ stacks, also those with one directory for all
//! slices), a folder of single-page slices, or raw voxels with a header: NRRD, MetaImage, `.vgi` and
//! `.pcr`. Everything a header promises is checked against a budget and against the length of the
//! file before memory is taken, and every page before the first is decoded: nothing is dropped in
//! silence.
//!
//! Not read, with a clear error: colour, palettes, several channels or times, JPEG.

mod budget;
mod folder;
mod format;
mod header;
mod ini;
mod meta_image;
mod metadata;
mod nrrd;
mod ome;
mod pages;
mod raw;
mod samples;
mod spacing;
mod strips;
mod write;

pub use budget::Limits;
pub use write::{write_tiff_u8, write_tiff_u16};

use crate::{ImagingError, Scan};
use format::Format;
use metadata::looks;
use microdiff_domain::{VoxelSize, hex};
use samples::Samples;
use sha2::{Digest as _, Sha256};
use spacing::{Look, voxel_size};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// How a scan is read.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ReadOptions {
    /// Voxel size to use whatever the file says.
    pub voxel_size: Option<VoxelSize>,
    /// Whether a header may name a data file, or a data file be read by the header beside it. Off
    /// for files from strangers, whose neighbours are not theirs.
    pub data_files: bool,
    /// Budget.
    pub limits: Limits,
    /// Whether to leave out [`Scan::sha256`]: of a file that is stored as it is, the hash takes
    /// several times as long as the voxels.
    pub unhashed: bool,
}

/// Reads a scan from a file or a folder of slices. A voxel size that is nowhere to be found is not
/// an error here, see [`Scan::require_voxel_size`].
pub fn read_scan(path: &Path, options: &ReadOptions) -> Result<Scan, ImagingError> {
    let meta = std::fs::metadata(path).map_err(|source| unreadable(path, source))?;
    let mut digest = Digest((!options.unhashed).then(Sha256::new));
    let (samples, looks) = if meta.is_dir() {
        let (samples, tags) = folder::read(path, &options.limits, &mut digest)?;
        (samples, looks(&tags))
    } else {
        read_file(path, options, &mut digest)?
    };
    let (voxel_size, voxel_size_looked) = voxel_size(looks, options.voxel_size)?;
    let source_type = samples.source_type();
    let (voxels, grey_map) = samples.into_voxels(path)?;
    let sha256 = digest.finish();
    Ok(Scan { voxels, grey_map, source_type, voxel_size, voxel_size_looked, sha256 })
}

fn read_file(
    path: &Path,
    options: &ReadOptions,
    digest: &mut Digest,
) -> Result<(Samples, Vec<Look>), ImagingError> {
    let (path, header) = match Format::of(path)? {
        Format::Tiff => return read_tiff(path, &options.limits, digest),
        Format::Nrrd => (path.to_owned(), nrrd::open(path, options)?),
        Format::MetaImage => (path.to_owned(), meta_image::open(path, options)?),
        Format::Vgi => (path.to_owned(), ini::vgi(path, options)?),
        Format::Pcr => (path.to_owned(), ini::pcr(path, options)?),
        Format::Bare => format::beside(path, options)?,
    };
    let samples = header.read(&path, options, digest)?;
    Ok((samples, vec![header.spacing]))
}

fn read_tiff(
    path: &Path,
    limits: &Limits,
    digest: &mut Digest,
) -> Result<(Samples, Vec<Look>), ImagingError> {
    let length = open(path)?.1;
    let file = pages::Pages::open(path, limits)?;
    if let Some(reason) = file.tags.ome_contradicts(file.count()) {
        return Err(ImagingError::Damaged { path: shown(path), reason });
    }
    limits.check(path, &file.page, (file.count() as u64, length))?;
    // The hash is as slow as the voxels of an unpacked file, and needs no memory.
    let (samples, hashed) = rayon::join(|| file.decode(length), || digest.add_file(path));
    let samples = samples.and_then(|samples| hashed.map(|()| samples))?;
    Ok((samples, looks(&file.tags)))
}

/// SHA-256 of a file's bytes in hexadecimal, as [`Scan::sha256`] has it for a scan in one file.
pub fn file_sha256(path: &Path) -> Result<String, ImagingError> {
    let mut digest = Digest(Some(Sha256::new()));
    digest.add_file(path)?;
    Ok(digest.finish())
}

/// Opens a file and gives its length; refuses an empty one, and a pipe, which would never end.
fn open(path: &Path) -> Result<(BufReader<File>, u64), ImagingError> {
    if !std::fs::metadata(path).map_err(|source| unreadable(path, source))?.is_file() {
        let reason = "it is not an ordinary file".to_owned();
        return Err(ImagingError::Unsupported { path: shown(path), reason });
    }
    let file = File::open(path).map_err(|source| unreadable(path, source))?;
    let meta = file.metadata().map_err(|source| unreadable(path, source))?;
    if meta.len() == 0 {
        return Err(ImagingError::Empty { path: shown(path) });
    }
    Ok((BufReader::with_capacity(1 << 16, file), meta.len()))
}

/// The hash of what a scan is read from, if it is asked for.
struct Digest(Option<Sha256>);

impl Digest {
    /// Adds a file's bytes.
    fn add_file(&mut self, path: &Path) -> Result<(), ImagingError> {
        let Some(digest) = &mut self.0 else { return Ok(()) };
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

    /// Adds a file's name, after its length, and its bytes.
    fn add_named_file(&mut self, name: &[u8], path: &Path) -> Result<(), ImagingError> {
        if let Some(digest) = &mut self.0 {
            digest.update((name.len() as u64).to_le_bytes());
            digest.update(name);
        }
        self.add_file(path)
    }

    /// In hexadecimal; empty if it was not asked for.
    fn finish(self) -> String {
        self.0.map(|digest| hex(&digest.finalize())).unwrap_or_default()
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

/// The first characters of a text from outside, without control characters.
fn excerpt(text: &str, most: usize) -> String {
    clean(&text.chars().take(most).collect::<String>())
}
