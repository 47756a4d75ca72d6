use microdiff_domain::{Volume, VoxelSize, hex};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Voxels as kept in memory: 8 and 16 bit as they are, all other types rescaled to 16 bit.
#[derive(Debug, Clone, PartialEq)]
pub enum Voxels {
    /// 8-bit grey.
    U8(Volume<u8>),
    /// 16-bit grey.
    U16(Volume<u16>),
}

impl Voxels {
    /// Number of voxels along (z, y, x).
    pub fn shape(&self) -> [usize; 3] {
        match self {
            Self::U8(volume) => volume.shape(),
            Self::U16(volume) => volume.shape(),
        }
    }
}

impl From<Volume<u8>> for Voxels {
    fn from(volume: Volume<u8>) -> Self {
        Self::U8(volume)
    }
}

impl From<Volume<u16>> for Voxels {
    fn from(volume: Volume<u16>) -> Self {
        Self::U16(volume)
    }
}

/// How stored grey levels relate to the values of the source: source = offset + scale · stored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GreyMap {
    /// Source value of stored level 0.
    pub offset: f64,
    /// Source difference of one stored level.
    pub scale: f64,
}

impl GreyMap {
    /// Stored as in the source.
    pub const IDENTITY: GreyMap = GreyMap { offset: 0.0, scale: 1.0 };
}

/// Where the voxel size came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VoxelSizeSource {
    /// Given by the caller.
    Option,
    /// `PhysicalSizeX` of OME-XML.
    OmeXml,
    /// ImageJ's description and resolution tag.
    ImageJ,
    /// The TIFF tags XResolution and ResolutionUnit.
    ResolutionTags,
    /// Spacings or space directions of an NRRD header, with their units.
    Nrrd,
    /// `ElementSpacing` of a MetaImage header.
    MetaImage,
    /// Resolution and unit of a `.vgi` file.
    Vgi,
    /// `VoxelSizeRec` of a `.pcr` file.
    Pcr,
}

/// A voxel size with its origin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KnownVoxelSize {
    /// Edge of a voxel.
    #[serde(rename = "voxel_size_um")]
    pub size: VoxelSize,
    /// Where it came from.
    pub source: VoxelSizeSource,
    /// The origin in words, as in `ImageJ spacing=2.4 unit=micron`.
    pub text: String,
}

/// A loaded scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// Grey values.
    pub voxels: Voxels,
    /// How they relate to the source's values.
    pub grey_map: GreyMap,
    /// Type of the source's voxels, as in `u16`.
    pub source_type: &'static str,
    /// Voxel size, if known.
    pub voxel_size: Option<KnownVoxelSize>,
    /// Where the voxel size was looked for in vain, for the error that asks for it.
    pub voxel_size_looked: String,
    /// SHA-256 of the file in hexadecimal; of names and contents in order for a folder; of shape
    /// and voxels for a scan made in memory. Empty if it was not asked for.
    pub sha256: String,
}

impl Scan {
    /// A scan that never was a file.
    pub fn in_memory(voxels: Voxels, voxel_size: Option<VoxelSize>) -> Self {
        let mut digest = Sha256::new();
        for n in voxels.shape() {
            digest.update((n as u64).to_le_bytes());
        }
        let source_type = match &voxels {
            Voxels::U8(volume) => {
                digest.update(volume.data());
                "u8"
            }
            Voxels::U16(volume) => {
                let mut bytes = Vec::with_capacity(8192);
                for chunk in volume.data().chunks(4096) {
                    bytes.clear();
                    bytes.extend(chunk.iter().flat_map(|v| v.to_le_bytes()));
                    digest.update(&bytes);
                }
                "u16"
            }
        };
        let voxel_size = voxel_size.map(|size| KnownVoxelSize {
            size,
            source: VoxelSizeSource::Option,
            text: "given".to_owned(),
        });
        Self {
            voxels,
            grey_map: GreyMap::IDENTITY,
            source_type,
            voxel_size,
            voxel_size_looked: "the scan was made in memory without one".to_owned(),
            sha256: hex(&digest.finalize()),
        }
    }

    /// The voxel size, or the error that says where it was looked for and how to give it.
    pub fn require_voxel_size(&self) -> Result<VoxelSize, crate::ImagingError> {
        self.voxel_size.as_ref().map(|known| known.size).ok_or_else(|| {
            crate::ImagingError::UnknownVoxelSize { looked: self.voxel_size_looked.clone() }
        })
    }
}
