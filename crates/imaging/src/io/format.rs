//! Which format a file has: by its first bytes, and by its name where those say nothing.

use super::header::{Header, unsupported};
use super::{ReadOptions, ini, meta_image, nrrd, open, unreadable};
use crate::ImagingError;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The first bytes of TIFF and BigTIFF in both orders of bytes.
const TIFF: [&[u8]; 4] = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"];

/// A format of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Also what is none of the others: the reader says that it is no TIFF file.
    Tiff,
    Nrrd,
    MetaImage,
    Vgi,
    Pcr,
    /// Voxels whose header is another file.
    Bare,
}

impl Format {
    pub(super) fn of(path: &Path) -> Result<Self, ImagingError> {
        let (reader, _) = open(path)?;
        let mut head = Vec::new();
        reader.take(16).read_to_end(&mut head).map_err(|error| unreadable(path, error))?;
        Ok(match extension(path).as_str() {
            _ if TIFF.iter().any(|first| head.starts_with(first)) => Self::Tiff,
            _ if head.starts_with(b"NRRD") => Self::Nrrd,
            _ if head.starts_with(b"ObjectType") || head.starts_with(b"NDims") => Self::MetaImage,
            "mhd" | "mha" => Self::MetaImage,
            "vgi" => Self::Vgi,
            "pcr" => Self::Pcr,
            "vol" | "raw" => Self::Bare,
            _ => Self::Tiff,
        })
    }
}

fn extension(path: &Path) -> String {
    path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// The header that lies beside bare voxels and names them.
pub(super) fn beside(
    path: &Path,
    options: &ReadOptions,
) -> Result<(PathBuf, Header), ImagingError> {
    let mut found = None;
    for end in ["vgi", "pcr", "nhdr", "mhd"] {
        let beside = path.with_extension(end);
        if !options.data_files || !beside.is_file() {
            continue;
        }
        let header = match end {
            "vgi" => ini::vgi(&beside, options)?,
            "pcr" => ini::pcr(&beside, options)?,
            "nhdr" => nrrd::open(&beside, options)?,
            _ => meta_image::open(&beside, options)?,
        };
        let real = |path: &Path| path.canonicalize().ok();
        if real(&header.data) == real(path) {
            found = Some((beside, header));
            break;
        }
    }
    found.ok_or_else(|| {
        let reason = "it holds voxels and nothing else; give the header (.vgi, .pcr, .nhdr or \
                      .mhd) that lies in its folder and names it";
        unsupported(path, reason.to_owned())
    })
}
