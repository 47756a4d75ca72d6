//! What the text headers of raw volumes have in common: a bounded read of the text, the data file
//! beside it, and the voxels behind both.
//!
//! A header is believed in nothing: its size is held against the length of the data and the budget
//! before memory is taken, and a name of another file must stay in the header's folder.

use super::budget::PageKind;
use super::raw::{self, Layout, Packing};
use super::samples::Samples;
use super::spacing::Look;
use super::{Digest, ReadOptions, excerpt, shown, unreadable};
use crate::ImagingError;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

/// Longest header read; real ones take some kilobytes.
const HEADER_BYTES: u64 = 512 << 10;
/// Most lines of a header.
const HEADER_LINES: usize = 4096;

/// What a header says of its voxels.
#[derive(Debug)]
pub(super) struct Header {
    /// Number of voxels along (z, y, x).
    pub shape: [usize; 3],
    /// Type of a voxel, as named by [`super::samples::kind_name`].
    pub kind: &'static str,
    pub big_endian: bool,
    /// The file that holds the voxels; the header's own where they follow it.
    pub data: PathBuf,
    /// Where in it they begin; none if they are the last bytes of the file.
    pub offset: Option<u64>,
    pub packing: Option<Packing>,
    pub spacing: Look,
}

impl Header {
    /// Reads the voxels. The header at `path` and its data go into the digest.
    pub(super) fn read(
        &self,
        path: &Path,
        options: &ReadOptions,
        digest: &mut Digest,
    ) -> Result<Samples, ImagingError> {
        let data = &self.data;
        let length = std::fs::metadata(data).map_err(|error| unreadable(data, error))?.len();
        let [pages, height, width] = self.shape;
        let bytes_per_voxel = bytes_of(self.kind);
        let page = PageKind { height, width, kind: self.kind, bytes_per_voxel };
        // Length first: a header that claims more than there is lies, whatever the budget.
        let layout = self.layout(&page, length)?;
        options.limits.check(data, &page, (pages as u64, length))?;
        let mut samples = Samples::new(data, self.shape, self.kind)?;
        let read = || match self.packing {
            Some(packing) => raw::unpack(data, packing, (&layout, &page), &mut samples),
            None => raw::read(data, &layout, &page, &mut samples),
        };
        let hash = || {
            if data == path {
                return digest.add_file(path);
            }
            [path, data].iter().try_for_each(|path| {
                let name = path.file_name().unwrap_or_default().as_encoded_bytes();
                digest.add_named_file(name, path)
            })
        };
        let (read, hashed) = rayon::join(read, hash);
        read.and(hashed)?;
        Ok(samples)
    }

    /// Where the voxels begin, if as many bytes are there as the header says.
    fn layout(&self, page: &PageKind, length: u64) -> Result<Layout, ImagingError> {
        let needed = u128::from(page.bytes()) * self.shape[0] as u128;
        let here = length.saturating_sub(self.offset.unwrap_or(0));
        let [z, y, x] = self.shape;
        let wrong = |reason: String| {
            let reason = format!(
                "its header describes {x} x {y} x {z} voxels of {}, {needed} bytes; {reason}",
                self.kind
            );
            Err(ImagingError::Damaged { path: shown(&self.data), reason })
        };
        if self.packing.is_none() && needed > u128::from(here) {
            return wrong(format!("the file holds {here}"));
        }
        // Packed voxels are counted while they are unpacked.
        if self.packing.is_none() && self.offset.is_some() && needed < u128::from(here) {
            return wrong(format!("the file holds {here}, more than that"));
        }
        let needed = u64::try_from(needed).unwrap_or(u64::MAX);
        let offset = self.offset.unwrap_or_else(|| length.saturating_sub(needed));
        Ok(Layout { offset, big_endian: self.big_endian })
    }
}

/// Size of a voxel of a type as named by [`super::samples::kind_name`].
fn bytes_of(kind: &str) -> u64 {
    match kind {
        "u8" | "i8" => 1,
        "u16" | "i16" => 2,
        "u32" | "i32" | "f32" => 4,
        _ => 8,
    }
}

/// The lines of a header up to the one that ends it, without their ends, and where the next
/// begins. Bytes that are no text become replacement characters.
pub(super) fn lines(
    path: &Path,
    ends: impl Fn(&str) -> bool,
) -> Result<(Vec<String>, u64), ImagingError> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    let mut reader = BufReader::new(file.take(HEADER_BYTES));
    let mut lines = Vec::new();
    let mut read = 0u64;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let count =
            reader.read_until(b'\n', &mut bytes).map_err(|error| unreadable(path, error))?;
        read += count as u64;
        if (count == 0 && read >= HEADER_BYTES) || lines.len() >= HEADER_LINES {
            return Err(damaged(path, "its header does not end".to_owned()));
        }
        let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
        let last = count == 0 || ends(&line);
        lines.push(line);
        if last {
            return Ok((lines, read));
        }
    }
}

/// The values of a header by their names, each of which may occur once.
pub(super) struct Fields {
    path: PathBuf,
    fields: Vec<(String, String)>,
}

impl Fields {
    /// Takes lines of `name SEPARATOR value`; passes over all others.
    pub(super) fn new(
        path: &Path,
        lines: &[String],
        separator: char,
    ) -> Result<Self, ImagingError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in lines.iter().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.split_once(separator) else { continue };
            let name = name.trim().to_lowercase();
            if fields.iter().any(|(other, _)| *other == name) {
                return Err(damaged(path, format!("its header says {} twice", excerpt(&name, 60))));
            }
            fields.push((name, value.trim().to_owned()));
        }
        Ok(Self { path: path.to_owned(), fields })
    }

    /// The value of the first of these names that is there.
    pub(super) fn get(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| {
            self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
        })
    }

    /// The same, or the error that says what is missing.
    pub(super) fn need(&self, names: &[&str]) -> Result<&str, ImagingError> {
        self.get(names)
            .ok_or_else(|| damaged(&self.path, format!("its header does not say {}", names[0])))
    }

    /// The error that a value is not one that can be read here.
    pub(super) fn unsupported(&self, name: &str, value: &str) -> ImagingError {
        let value = excerpt(value, 60);
        unsupported(&self.path, format!("its header says {name} {value}, which is not read here"))
    }

    /// Refuses a header whose volume has not three axes or whose voxels are not single numbers.
    pub(super) fn require(&self, name: &str, wanted: &str) -> Result<(), ImagingError> {
        match self.get(&[name]) {
            Some(value) if value != wanted => Err(self.unsupported(name, value)),
            _ => Ok(()),
        }
    }

    /// Three counts, given as x, y, z.
    pub(super) fn shape(&self, names: &[&str]) -> Result<[usize; 3], ImagingError> {
        shape(&self.path, self.need(names)?)
    }
}

/// Three counts, given as x, y, z.
pub(super) fn shape(path: &Path, text: &str) -> Result<[usize; 3], ImagingError> {
    let counts: Vec<u32> = text.split_whitespace().map_while(|n| n.parse().ok()).collect();
    match (counts.as_slice(), text.split_whitespace().count()) {
        ([x, y, z], 3) if *x > 0 && *y > 0 && *z > 0 => Ok([*z, *y, *x].map(|n| n as usize)),
        _ => {
            let text = excerpt(text, 60);
            Err(damaged(path, format!("its header gives the size {text}; three counts are needed")))
        }
    }
}

/// The file beside a header that holds its voxels. It has to lie in the header's folder, links
/// followed, and to be an ordinary file.
pub(super) fn companion(
    path: &Path,
    name: &str,
    options: &ReadOptions,
) -> Result<PathBuf, ImagingError> {
    let told = excerpt(name, 80);
    if !options.data_files {
        let reason = format!("its voxels are in another file, {told}; give one file with both");
        return Err(unsupported(path, reason));
    }
    let outside = || unsupported(path, format!("its data file {told} is not in the same folder"));
    let slashes = name.replace('\\', "/");
    let relative = Path::new(&slashes);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if name.is_empty() || slashes.contains(':') || !relative.components().all(plain) {
        return Err(outside());
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let data = folder.join(relative);
    let real = |path: &Path| path.canonicalize().map_err(|error| unreadable(path, error));
    let (home, found) = (real(folder)?, real(&data)?);
    if !found.starts_with(&home) {
        return Err(outside());
    }
    if !found.is_file() {
        return Err(unsupported(path, format!("its data file {told} is not an ordinary file")));
    }
    Ok(data)
}

pub(super) fn damaged(path: &Path, reason: String) -> ImagingError {
    ImagingError::Damaged { path: shown(path), reason }
}

pub(super) fn unsupported(path: &Path, reason: String) -> ImagingError {
    ImagingError::Unsupported { path: shown(path), reason }
}
