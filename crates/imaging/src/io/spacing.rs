//! The spacings a file tells → the edge of a cubic voxel, with where it came from.

use crate::{ImagingError, KnownVoxelSize, VoxelSizeSource};
use microdiff_domain::VoxelSize;

/// Spacings may differ by this share and still count as cubic.
const CUBIC_TOLERANCE: f64 = 0.01;

/// A spacing found in a file, in µm: along z if given, and across.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub z: Option<f64>,
    pub xy: Option<[f64; 2]>,
    pub source: VoxelSizeSource,
    pub text: String,
}

/// What stood in one place: a spacing, or in words what was there instead.
pub(super) type Look = Result<Found, String>;

/// The voxel size from the places where it may stand, the most telling first, and in words where
/// it was looked for in vain. `given` wins over the file.
pub(super) fn voxel_size(
    looks: Vec<Look>,
    given: Option<VoxelSize>,
) -> Result<(Option<KnownVoxelSize>, String), ImagingError> {
    if let Some(size) = given {
        let said = looks.into_iter().find_map(|look| look.and_then(edge).ok()?.ok());
        let text = match said {
            Some(other) if (other.size.get() / size.get() - 1.0).abs() > CUBIC_TOLERANCE => {
                format!("given: {size}, although the file says {} ({})", other.size, other.text)
            }
            _ => format!("given: {size}"),
        };
        let known = KnownVoxelSize { size, source: VoxelSizeSource::Option, text };
        return Ok((Some(known), String::new()));
    }
    let mut looked = Vec::new();
    for look in looks {
        match look.and_then(edge) {
            Ok(known) => return Ok((Some(known?), String::new())),
            Err(vain) => looked.push(vain),
        }
    }
    Ok((None, looked.join(", ")))
}

/// The edge of a cubic voxel; an outer error says why there is none, an inner one refuses.
fn edge(found: Found) -> Result<Result<KnownVoxelSize, ImagingError>, String> {
    let [x, y] = match (found.xy, found.z) {
        (Some(xy), _) => xy,
        (None, Some(z)) => [z, z],
        (None, None) => return Err(format!("{} (no number)", found.text)),
    };
    let z = found.z.unwrap_or(x);
    for other in [y, z] {
        if (other / x - 1.0).abs() > CUBIC_TOLERANCE {
            let round = |v: f64| (v * 1e4).round() / 1e4;
            return Ok(Err(ImagingError::NotCubic { z_um: round(other), xy_um: round(x) }));
        }
    }
    match VoxelSize::micrometres(x) {
        Ok(size) => Ok(Ok(KnownVoxelSize { size, source: found.source, text: found.text })),
        Err(_) => Err(format!("{} (gives {x} um, not a voxel size)", found.text)),
    }
}

/// The spacing along x, y and z that a header gives as `text`, each in its unit.
pub(super) fn spacing(
    (name, text): (&str, &str),
    units: [&str; 3],
    source: VoxelSizeSource,
) -> Look {
    let shown = super::excerpt(text, 60);
    let numbers: Option<Vec<f64>> = text.split_whitespace().map(|n| n.parse().ok()).collect();
    let Ok([x, y, z]) = <[f64; 3]>::try_from(numbers.unwrap_or_default()) else {
        return Err(format!("{name} ({shown} is not three numbers)"));
    };
    let mut edges = [x, y, z];
    for (edge, unit) in edges.iter_mut().zip(units) {
        let Some(scale) = micrometres_per(unit) else {
            let unit = super::excerpt(unit, 20);
            return Err(format!("{name} ({shown} in \"{unit}\", which is no length)"));
        };
        *edge = edge.abs() * scale;
    }
    if edges.iter().any(|edge| !edge.is_finite() || *edge <= 0.0) {
        return Err(format!("{name} ({shown})"));
    }
    let [x, y, z] = edges;
    let text = format!("{name} {shown} {}", super::excerpt(units[0].trim(), 20));
    Ok(Found { z: Some(z), xy: Some([x, y]), source, text })
}

/// The length of a unit by its name.
pub(super) fn micrometres_per(unit: &str) -> Option<f64> {
    let unit = unit.trim().replace("\\u00B5", "µ").replace("\\u00b5", "µ").replace('\u{3bc}', "µ");
    Some(match unit.to_lowercase().as_str() {
        "um" | "µm" | "micron" | "microns" | "micrometer" | "micrometre" => 1.0,
        "nm" | "nanometer" | "nanometre" => 1e-3,
        "mm" | "millimeter" | "millimetre" => 1e3,
        "cm" | "centimeter" | "centimetre" => 1e4,
        "m" | "meter" | "metre" => 1e6,
        "inch" | "in" | "inches" => 25_400.0,
        _ => return None,
    })
}
