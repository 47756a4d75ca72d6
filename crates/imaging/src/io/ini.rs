//! Raw volumes of tomography systems, described by an INI text beside them: `.vgi` (Volume
//! Graphics, Nikon) and `.pcr` (GE phoenix).
//!
//! Keys and codes are those of files that public readers accept; neither format is published.

use super::ReadOptions;
use super::header::{self, Fields, Header, companion, unsupported};
use super::samples::kind_name;
use super::spacing::spacing;
use crate::{ImagingError, VoxelSizeSource};
use std::path::Path;

/// Reads the volume a `.vgi` file describes; the voxels are in the file it names.
pub(super) fn vgi(path: &Path, options: &ReadOptions) -> Result<Header, ImagingError> {
    let lines = header::lines(path, |_| false)?.0;
    if section(&lines, "[file2]").is_some() {
        return Err(unsupported(path, "its voxels are in several files".to_owned()));
    }
    let absent = || header::damaged(path, "it has no section [file1]".to_owned());
    let file = Fields::new(path, section(&lines, "[file1]").ok_or_else(absent)?, '=')?;
    file.require("fileformat", "raw")?;
    let shape = file.shape(&["size"])?;
    whole(path, &file, shape)?;
    let bits: u8 = file.need(&["bitsperelement"])?.parse().unwrap_or(0);
    let datatype = file.need(&["datatype"])?;
    let format = match datatype.to_lowercase().as_str() {
        "unsigned integer" => 1,
        "signed integer" => 2,
        "float" => 3,
        _ => return Err(file.unsupported("Datatype", datatype)),
    };
    let kind = kind_name(bits, format).filter(|kind| *kind != "f16");
    let kind = kind.ok_or_else(|| file.unsupported("BitsPerElement", &bits.to_string()))?;
    let skip = file.get(&["skipheader"]).unwrap_or("0");
    let offset = skip.parse().map_err(|_| file.unsupported("SkipHeader", skip))?;
    let data = companion(path, file.need(&["name"])?, options)?;
    let name = "VGI resolution";
    let found = match section(&lines, "[geometry]") {
        None => Err(format!("{name} (absent)")),
        Some(lines) => {
            let geometry = Fields::new(path, lines, '=')?;
            match (geometry.get(&["resolution"]), geometry.get(&["unit"])) {
                (None, _) => Err(format!("{name} (absent)")),
                (Some(_), None) => Err(format!("{name} (without a unit)")),
                (Some(text), Some(unit)) => spacing((name, text), [unit; 3], VoxelSizeSource::Vgi),
            }
        }
    };
    let (offset, big_endian) = (Some(offset), false);
    Ok(Header { shape, kind, big_endian, data, offset, packing: None, spacing: found })
}

/// Refuses a region that is not the whole file: the rest would be dropped, or never was there.
fn whole(path: &Path, file: &Fields, [z, y, x]: [usize; 3]) -> Result<(), ImagingError> {
    let numbers = |name: &str| {
        let text = file.get(&[name])?;
        Some(text.split_whitespace().map_while(|n| n.parse().ok()).collect::<Vec<u64>>())
    };
    let first = numbers("regionofintereststart").is_none_or(|at| at == [0, 0, 0]);
    let last = [x, y, z].map(|n| n as u64 - 1);
    if first && numbers("regionofinterestend").is_none_or(|at| at == last) {
        return Ok(());
    }
    Err(unsupported(path, "its region of interest is not the whole volume".to_owned()))
}

/// Reads the volume a `.pcr` file describes; the voxels are in the `.vol` file of the same name.
pub(super) fn pcr(path: &Path, options: &ReadOptions) -> Result<Header, ImagingError> {
    let lines = header::lines(path, |_| false)?.0;
    let absent = || header::damaged(path, "it has no section [VolumeData]".to_owned());
    let volume = Fields::new(path, section(&lines, "[VolumeData]").ok_or_else(absent)?, '=')?;
    let size = ["volume_sizex", "volume_sizey", "volume_sizez"];
    let [x, y, z] = size.map(|name| volume.need(&[name]));
    let shape = header::shape(path, &format!("{} {} {}", x?, y?, z?))?;
    let code = volume.need(&["format"])?;
    let kind = match code {
        "1" => "u8",
        "5" => "u16",
        "10" => "f32",
        _ => return Err(volume.unsupported("Format", code)),
    };
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let data = companion(path, &format!("{stem}.vol"), options)?;
    let name = "PCR VoxelSizeRec";
    let found = match volume.get(&["voxelsizerec"]) {
        None => Err(format!("{name} (absent)")),
        Some(edge) => {
            let text = format!("{edge} {edge} {edge}");
            spacing((name, &text), ["mm"; 3], VoxelSizeSource::Pcr)
        }
    };
    let (offset, big_endian) = (Some(0), false);
    Ok(Header { shape, kind, big_endian, data, offset, packing: None, spacing: found })
}

/// The lines of the first section of a name, up to the next section.
fn section<'a>(lines: &'a [String], name: &str) -> Option<&'a [String]> {
    let begin = lines.iter().position(|line| line.trim().eq_ignore_ascii_case(name))? + 1;
    let rest = &lines[begin..];
    let ends = |line: &String| line.trim_start().starts_with(['[', '{']);
    Some(&rest[..rest.iter().position(ends).unwrap_or(rest.len())])
}
