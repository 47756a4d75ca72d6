//! Where a TIFF file says how large a voxel is.

use super::ome::{attribute, pixels};
use super::spacing::{Found, Look, micrometres_per};
use crate::VoxelSizeSource;
use std::borrow::Cow;

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

    /// The value of an attribute of the volume in OME-XML.
    pub(super) fn ome(&self, name: &str) -> Option<Cow<'_, str>> {
        attribute(pixels(&self.description).next()?, name)
    }

    /// Why `count` slices are not the volume that OME-XML describes, if they are not: the other
    /// slices may be in other files, or lost.
    pub(super) fn ome_contradicts(&self, count: usize) -> Option<String> {
        let volumes = pixels(&self.description).count();
        if volumes > 1 {
            return Some(format!("its OME-XML describes {volumes} images; give one volume"));
        }
        let promised: u64 = self.ome("SizeZ")?.trim().parse().ok()?;
        (promised != count as u64)
            .then(|| format!("its OME-XML promises {promised} slices, there are {count}"))
    }
}

/// What stands in each place where a voxel size may be, the most telling first.
pub(super) fn looks(tags: &Tags) -> Vec<Look> {
    vec![ome(tags), imagej(tags), resolution(tags)]
}

fn ome(tags: &Tags) -> Look {
    let x = tags.ome("PhysicalSizeX").ok_or("OME-XML PhysicalSizeX (absent)")?;
    let size = |axis: &str| {
        let value: f64 = tags.ome(&format!("PhysicalSize{axis}"))?.trim().parse().ok()?;
        let unit = tags.ome(&format!("PhysicalSize{axis}Unit"));
        let scale = micrometres_per(unit.as_deref().unwrap_or("um"))?;
        Some(value * scale).filter(|v| v.is_finite() && *v > 0.0)
    };
    let shown = super::excerpt(&x, 40);
    let across = size("X").ok_or("OME-XML PhysicalSizeX (unreadable)")?;
    Ok(Found {
        z: size("Z"),
        xy: Some([across, size("Y").unwrap_or(across)]),
        source: VoxelSizeSource::OmeXml,
        text: format!("OME-XML PhysicalSizeX={shown}"),
    })
}

fn imagej(tags: &Tags) -> Look {
    let unit = tags.imagej("unit").ok_or("ImageJ unit and spacing (absent)")?.trim();
    let Some(scale) = micrometres_per(unit) else {
        let unit = super::excerpt(unit, 20);
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

fn resolution(tags: &Tags) -> Look {
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

#[cfg(test)]
mod tests {
    use super::super::spacing::voxel_size;
    use super::*;
    use crate::ImagingError;
    use microdiff_domain::VoxelSize;

    fn found(tags: &Tags) -> f64 {
        voxel_size(looks(tags), None).unwrap().0.unwrap().size.get()
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
        let (none, looked) = voxel_size(looks(&tags), None).unwrap();
        assert!(none.is_none());
        assert!(looked.contains("OME-XML") && looked.contains("ImageJ"), "{looked}");
        assert!(looked.contains("default"), "{looked}");
    }

    #[test]
    fn bricks_are_refused_unless_the_edge_is_given() {
        let description = "ImageJ=1.54\nspacing=5\nunit=um\n".to_owned();
        let tags = Tags { description, resolution: [Some(0.5); 2], unit: 1 };
        assert!(matches!(voxel_size(looks(&tags), None), Err(ImagingError::NotCubic { .. })));
        let given = VoxelSize::micrometres(2.0).unwrap();
        assert_eq!(voxel_size(looks(&tags), Some(given)).unwrap().0.unwrap().size, given);
    }
}
