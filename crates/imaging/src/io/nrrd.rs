//! NRRD headers, attached (`.nrrd`) and detached (`.nhdr`): <https://teem.sourceforge.net/nrrd/format.html>.
//!
//! Three axes of grey, raw or gzip. Not read: text and bzip2 encodings, voxels in several files.

use super::header::{self, Fields, Header, companion};
use super::raw::Packing;
use super::spacing::{Look, spacing};
use super::{ReadOptions, excerpt};
use crate::{ImagingError, VoxelSizeSource};
use std::path::Path;

/// Reads a header whose first bytes are `NRRD`.
pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Header, ImagingError> {
    let (lines, end) = header::lines(path, str::is_empty)?;
    // `key:=value` is a remark of the writer, `field: value` is the header.
    let lines: Vec<String> = lines.into_iter().filter(|line| !line.contains(":=")).collect();
    let fields = Fields::new(path, &lines, ':')?;
    fields.require("dimension", "3")?;
    let shape = fields.shape(&["sizes"])?;
    for kind in fields.get(&["kinds"]).unwrap_or("").split_whitespace() {
        if !["domain", "space", "none", "???"].contains(&kind) {
            return Err(fields.unsupported("kinds", kind));
        }
    }
    let told = fields.need(&["type"])?;
    let kind = kind(told).ok_or_else(|| fields.unsupported("type", told))?;
    let big_endian = match fields.get(&["endian"]) {
        Some("big") => true,
        Some("little") => false,
        None if ["u8", "i8"].contains(&kind) => false,
        None => fields.need(&["endian"]).map(|_| false)?,
        Some(other) => return Err(fields.unsupported("endian", other)),
    };
    let packing = match fields.need(&["encoding"])? {
        "raw" => None,
        "gzip" | "gz" => Some(Packing::Gzip),
        other => return Err(fields.unsupported("encoding", other)),
    };
    for name in ["line skip", "lineskip"] {
        fields.require(name, "0")?;
    }
    let (data, begin) = match fields.get(&["data file", "datafile"]) {
        None => (path.to_owned(), end),
        Some(name) if name.starts_with("LIST") || name.contains('%') => {
            return Err(fields.unsupported("data file", name));
        }
        Some(name) => (companion(path, name, options)?, 0),
    };
    let skip = fields.get(&["byte skip", "byteskip"]).unwrap_or("0");
    let offset = match skip.parse::<i64>() {
        Ok(-1) if packing.is_none() => None,
        Ok(0) => Some(begin),
        Ok(skip) if skip > 0 && packing.is_none() => Some(begin.saturating_add_signed(skip)),
        _ => return Err(fields.unsupported("byte skip", skip)),
    };
    let spacing = spacings(&fields);
    Ok(Header { shape, kind, big_endian, data, offset, packing, spacing })
}

fn kind(name: &str) -> Option<&'static str> {
    Some(match name {
        "signed char" | "int8" | "int8_t" => "i8",
        "uchar" | "unsigned char" | "uint8" | "uint8_t" => "u8",
        "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => "i16",
        "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => "u16",
        "int" | "signed int" | "int32" | "int32_t" => "i32",
        "uint" | "unsigned int" | "uint32" | "uint32_t" => "u32",
        "longlong"
        | "long long"
        | "long long int"
        | "signed long long"
        | "signed long long int"
        | "int64"
        | "int64_t" => "i64",
        "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => {
            "u64"
        }
        "float" => "f32",
        "double" => "f64",
        _ => return None,
    })
}

fn spacings(fields: &Fields) -> Look {
    let (name, text) = match (fields.get(&["spacings"]), fields.get(&["space directions"])) {
        (Some(text), _) => ("NRRD spacings", text.to_owned()),
        (None, Some(text)) => {
            ("NRRD space directions", norms(text).unwrap_or_else(|| text.to_owned()))
        }
        (None, None) => return Err("NRRD spacings (absent)".to_owned()),
    };
    let Some(units) = fields.get(&["space units", "units"]) else {
        let text = excerpt(&text, 60);
        return Err(format!("{name} ({text} without units)"));
    };
    // Quoted, and what stands between the quotes is the unit.
    let units: Vec<&str> = units.split('"').skip(1).step_by(2).collect();
    let Ok(units) = <[&str; 3]>::try_from(units) else {
        return Err(format!("{name} (its units are not three)"));
    };
    spacing((name, &text), units, VoxelSizeSource::Nrrd)
}

/// The lengths of three vectors, as text.
fn norms(text: &str) -> Option<String> {
    let vectors = text.split('(').skip(1).map(|vector| {
        let parts = vector.split_once(')')?.0.split(',');
        let numbers: Option<Vec<f64>> = parts.map(|n| n.trim().parse().ok()).collect();
        let norm = numbers?.iter().map(|n: &f64| n * n).sum::<f64>().sqrt();
        Some(norm.to_string())
    });
    Some(vectors.collect::<Option<Vec<String>>>()?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::norms;

    #[test]
    fn directions_have_lengths() {
        assert_eq!(norms("(3,0,4) (0,-5,0) (0,0,5)").as_deref(), Some("5 5 5"));
        assert_eq!(norms("(3,x,4)"), None);
        assert_eq!(norms("none"), Some(String::new()));
    }
}
