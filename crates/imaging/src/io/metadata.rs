//! Where a TIFF file says how large a voxel is.

use crate::{ImagingError, KnownVoxelSize, VoxelSizeSource};
use microdiff_domain::VoxelSize;

/// Spacings may differ by this share and still count as cubic.
const CUBIC_TOLERANCE: f64 = 0.01;
/// Resolutions programs write when they know none, in dots per inch.
const DEFAULT_DPI: [f64; 2] = [72.0, 96.0];

/// The tags of a first page that matter.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tags {
    /// ImageDescription.
    pub description: String,
    /// XResolution and YResolution, pixels per unit.
    pub resolution: [Option<f64>; 2],
    /// ResolutionUnit: 1 none, 2 inch, 3 centimetre.
    pub unit: u16,
}

impl Tags {
    /// The value of `key=` in an ImageJ description.
    pub(super) fn imagej(&self, key: &str) -> Option<&str> {
        self.description.starts_with("ImageJ=").then_some(())?;
        self.description.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }

    /// A count in an ImageJ description; 1 when absent.
    pub(super) fn imagej_count(&self, key: &str) -> u64 {
        self.imagej(key).and_then(|text| text.trim().parse().ok()).unwrap_or(1)
    }

    /// The value of an attribute of OME-XML.
    pub(super) fn ome(&self, attribute: &str) -> Option<&str> {
        let pixels = self.description.split_once("<Pixels")?.1.split('>').next()?;
        let value = pixels.split_once(&format!(" {attribute}=\""))?.1;
        value.split('"').next()
    }
}

/// A spacing found in a file, in µm: along z if given, and across.
struct Found {
    z: Option<f64>,
    xy: Option<[f64; 2]>,
    source: VoxelSizeSource,
    text: String,
}

/// Where a voxel size may stand, the most telling first.
const LOOKS: [Look; 3] = [ome, imagej, resolution];

/// Finds a voxel size in one place, or says in words what was there instead.
type Look = fn(&Tags) -> Result<Found, String>;

/// The voxel size, and in words where it was looked for in vain. `given` wins over the file.
pub(super) fn voxel_size(
    tags: &Tags,
    given: Option<VoxelSize>,
) -> Result<(Option<KnownVoxelSize>, String), ImagingError> {
    if let Some(size) = given {
        let said = LOOKS.iter().find_map(|look| look(tags).and_then(edge).ok()?.ok());
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
    for look in LOOKS {
        match look(tags).and_then(edge) {
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

fn ome(tags: &Tags) -> Result<Found, String> {
    let x = tags.ome("PhysicalSizeX").ok_or("OME-XML PhysicalSizeX (absent)")?;
    let size = |axis: &str| {
        let value: f64 = tags.ome(&format!("PhysicalSize{axis}"))?.parse().ok()?;
        let unit = tags.ome(&format!("PhysicalSize{axis}Unit")).unwrap_or("um");
        Some(value * micrometres_per(unit)?).filter(|v| v.is_finite() && *v > 0.0)
    };
    let across = size("X").ok_or("OME-XML PhysicalSizeX (unreadable)")?;
    Ok(Found {
        z: size("Z"),
        xy: Some([across, size("Y").unwrap_or(across)]),
        source: VoxelSizeSource::OmeXml,
        text: format!("OME-XML PhysicalSizeX={}", super::clean(x)),
    })
}

fn imagej(tags: &Tags) -> Result<Found, String> {
    let unit = tags.imagej("unit").ok_or("ImageJ unit and spacing (absent)")?.trim();
    let Some(scale) = micrometres_per(unit) else {
        let unit: String = super::clean(unit).chars().take(20).collect();
        return Err(format!("ImageJ unit and spacing (unit \"{unit}\" is no length)"));
    };
    let positive = |v: &f64| v.is_finite() && *v > 0.0;
    let z = tags.imagej("spacing").and_then(|text| text.trim().parse::<f64>().ok());
    let z = z.map(|spacing| spacing.abs() * scale).filter(positive);
    let across = tags.resolution.map(|r| r.filter(positive).map(|r| scale / r));
    let xy = across[0].map(|x| [x, across[1].unwrap_or(x)]);
    if z.is_none() && xy.is_none() {
        return Err("ImageJ unit and spacing (no number)".to_owned());
    }
    let number = |v: Option<f64>| v.map_or("none".to_owned(), |v| format!("{v:.4}"));
    Ok(Found {
        z,
        xy,
        source: VoxelSizeSource::ImageJ,
        text: format!("ImageJ spacing {} um, pixel {} um", number(z), number(xy.map(|xy| xy[0]))),
    })
}

fn resolution(tags: &Tags) -> Result<Found, String> {
    let [x, y] = tags.resolution;
    let x = x.filter(|v| v.is_finite() && *v > 0.0).ok_or("XResolution (absent)")?;
    let (unit_um, unit) = match tags.unit {
        2 => (25_400.0, "inch"),
        3 => (10_000.0, "cm"),
        _ => return Err(format!("XResolution ({x} without a ResolutionUnit)")),
    };
    let per_inch = x * 25_400.0 / unit_um;
    if DEFAULT_DPI.iter().any(|dpi| (per_inch / dpi - 1.0).abs() < 0.005) {
        return Err(format!("XResolution ({x} per {unit} is a default, not a voxel size)"));
    }
    let y = y.filter(|v| v.is_finite() && *v > 0.0).unwrap_or(x);
    Ok(Found {
        z: None,
        xy: Some([unit_um / x, unit_um / y]),
        source: VoxelSizeSource::ResolutionTags,
        text: format!("XResolution {x} per {unit}"),
    })
}

fn micrometres_per(unit: &str) -> Option<f64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(tags: &Tags) -> f64 {
        voxel_size(tags, None).unwrap().0.unwrap().size.get()
    }

    #[test]
    fn each_place_is_read() {
        let description = "ImageJ=1.54\nimages=8\nspacing=2.4\nunit=\\u00B5m\n".to_owned();
        let tags = Tags { description, resolution: [Some(1.0 / 2.4); 2], unit: 1 };
        assert!((found(&tags) - 2.4).abs() < 1e-9);
        let description =
            "<OME><Pixels SizeZ=\"9\" PhysicalSizeX=\"0.003\" PhysicalSizeXUnit=\"mm\" \
             PhysicalSizeZ=\"3\">"
                .to_owned();
        let tags = Tags { description, ..Tags::default() };
        assert!((found(&tags) - 3.0).abs() < 1e-9);
        let tags = Tags { resolution: [Some(2000.0); 2], unit: 3, ..Tags::default() };
        assert_eq!(found(&tags), 5.0);
    }

    #[test]
    fn screen_resolutions_are_no_voxel_sizes() {
        let tags = Tags { resolution: [Some(96.0); 2], unit: 2, ..Tags::default() };
        let (none, looked) = voxel_size(&tags, None).unwrap();
        assert!(none.is_none());
        assert!(looked.contains("OME-XML") && looked.contains("ImageJ"), "{looked}");
        assert!(looked.contains("default"), "{looked}");
    }

    #[test]
    fn bricks_are_refused_unless_the_edge_is_given() {
        let description = "ImageJ=1.54\nspacing=5\nunit=um\n".to_owned();
        let tags = Tags { description, resolution: [Some(0.5); 2], unit: 1 };
        assert!(matches!(voxel_size(&tags, None), Err(ImagingError::NotCubic { .. })));
        let given = VoxelSize::micrometres(2.0).unwrap();
        assert_eq!(voxel_size(&tags, Some(given)).unwrap().0.unwrap().size, given);
    }
}
