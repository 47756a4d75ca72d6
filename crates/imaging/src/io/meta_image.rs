//! MetaImage headers, attached (`.mha`) and detached (`.mhd`), as ITK writes them.
//!
//! Three axes of grey, plain or deflated. Not read: text data, voxels in several files, and
//! `MET_LONG`, whose size depends on the machine that wrote it.

use super::ReadOptions;
use super::header::{self, Fields, Header, companion};
use super::raw::Packing;
use super::spacing::{Look, spacing};
use crate::{ImagingError, VoxelSizeSource};
use std::path::Path;

/// Reads a header; its last line names where the voxels are.
pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Header, ImagingError> {
    let last = |line: &str| {
        line.split_once('=')
            .is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("ElementDataFile"))
    };
    let (lines, end) = header::lines(path, last)?;
    let fields = Fields::new(path, &lines, '=')?;
    fields.require("ndims", "3")?;
    fields.require("elementnumberofchannels", "1")?;
    let shape = fields.shape(&["dimsize"])?;
    let told = fields.need(&["elementtype"])?;
    let kind = match told {
        "MET_CHAR" => "i8",
        "MET_UCHAR" => "u8",
        "MET_SHORT" => "i16",
        "MET_USHORT" => "u16",
        "MET_INT" => "i32",
        "MET_UINT" => "u32",
        "MET_LONG_LONG" => "i64",
        "MET_ULONG_LONG" => "u64",
        "MET_FLOAT" => "f32",
        "MET_DOUBLE" => "f64",
        _ => return Err(fields.unsupported("ElementType", told)),
    };
    if !flag(&fields, &["binarydata"], true)? {
        return Err(fields.unsupported("BinaryData", "False"));
    }
    let big_endian = flag(&fields, &["binarydatabyteordermsb", "elementbyteordermsb"], false)?;
    let packing = flag(&fields, &["compresseddata"], false)?.then_some(Packing::Zlib);
    let name = fields.need(&["elementdatafile"])?;
    let (data, begin) = match name {
        "LOCAL" | "Local" | "local" => (path.to_owned(), end),
        _ if name.starts_with("LIST") || name.contains('%') => {
            return Err(fields.unsupported("ElementDataFile", name));
        }
        _ => (companion(path, name, options)?, 0),
    };
    let skip = fields.get(&["headersize"]).unwrap_or("0");
    let offset = match skip.parse::<i64>() {
        Ok(-1) if packing.is_none() => None,
        Ok(0) => Some(begin),
        Ok(skip) if skip > 0 => Some(begin.saturating_add_signed(skip)),
        _ => return Err(fields.unsupported("HeaderSize", skip)),
    };
    let spacing = spacings(&fields);
    Ok(Header { shape, kind, big_endian, data, offset, packing, spacing })
}

fn flag(fields: &Fields, names: &[&str], absent: bool) -> Result<bool, ImagingError> {
    match fields.get(names) {
        None => Ok(absent),
        Some(value) if value.eq_ignore_ascii_case("true") || value == "1" => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("false") || value == "0" => Ok(false),
        Some(value) => Err(fields.unsupported(names[0], value)),
    }
}

fn spacings(fields: &Fields) -> Look {
    let name = "MetaImage ElementSpacing";
    let Some(text) = fields.get(&["elementspacing", "elementsize"]) else {
        return Err(format!("{name} (absent)"));
    };
    // Writers that know no spacing write one, in a unit that would make a millimetre of it.
    if text.split_whitespace().all(|n| n.parse() == Ok(1.0)) {
        return Err(format!("{name} (1 is a default, not a voxel size)"));
    }
    // The unit is millimetres by convention; few writers say so.
    let unit = fields.get(&["distanceunits"]).unwrap_or("mm");
    spacing((name, text), [unit; 3], VoxelSizeSource::MetaImage)
}
