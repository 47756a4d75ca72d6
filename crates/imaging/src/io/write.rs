//! Volumes → multi-page TIFF files that ImageJ and the reader here take the voxel size from.

use super::shown;
use crate::ImagingError;
use microdiff_domain::{Volume, VoxelSize};
use std::io::{BufWriter, Seek, Write};
use std::path::Path;
use tiff::encoder::colortype::{ColorType, Gray8, Gray16};
use tiff::encoder::{
    Compression, DeflateLevel, Predictor, Rational, TiffEncoder, TiffKind, TiffKindBig,
    TiffKindStandard, TiffValue,
};
use tiff::tags::{ResolutionUnit, Tag};

/// Above this many bytes of voxels, offsets of 64 bits are used.
const BIG_TIFF_BYTES: u64 = 3 << 30;

/// Writes 16-bit voxels, deflate-compressed. The file appears under its name only when complete.
pub fn write_tiff_u16(
    path: &Path,
    volume: &Volume<u16>,
    voxel_size: Option<VoxelSize>,
) -> Result<(), ImagingError> {
    let pages = |z: usize| volume.page(z);
    write::<Gray16, u16>(path, (volume.shape(), 2), pages, voxel_size)
}

/// Writes 8-bit voxels, deflate-compressed. The file appears under its name only when complete.
pub fn write_tiff_u8(
    path: &Path,
    volume: &Volume<u8>,
    voxel_size: Option<VoxelSize>,
) -> Result<(), ImagingError> {
    let pages = |z: usize| volume.page(z);
    write::<Gray8, u8>(path, (volume.shape(), 1), pages, voxel_size)
}

fn write<'a, C: ColorType<Inner = T>, T: 'a>(
    path: &Path,
    (shape, bytes): ([usize; 3], u64),
    pages: impl Fn(usize) -> &'a [T],
    voxel_size: Option<VoxelSize>,
) -> Result<(), ImagingError>
where
    [T]: TiffValue,
{
    let failed = |reason: String| ImagingError::Write { path: shown(path), reason };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tmp-").suffix(".tif");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Not the private mode of a temporary file: what the user's umask leaves.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(|e| failed(e.to_string()))?;
    let buffer = BufWriter::with_capacity(1 << 18, file.as_file_mut());
    let voxels: u64 = shape.iter().map(|&n| n as u64).product();
    let written = if voxels * bytes < BIG_TIFF_BYTES {
        TiffEncoder::new(buffer)
            .and_then(|e| encode::<_, TiffKindStandard, C, T>(e, shape, pages, voxel_size))
    } else {
        TiffEncoder::new_big(buffer)
            .and_then(|e| encode::<_, TiffKindBig, C, T>(e, shape, pages, voxel_size))
    };
    written.map_err(|e| failed(super::clean(&e.to_string())))?;
    file.persist(path).map_err(|e| failed(e.error.to_string()))?;
    Ok(())
}

fn encode<'a, W: Write + Seek, K: TiffKind, C: ColorType<Inner = T>, T: 'a>(
    encoder: TiffEncoder<W, K>,
    [nz, ny, nx]: [usize; 3],
    pages: impl Fn(usize) -> &'a [T],
    voxel_size: Option<VoxelSize>,
) -> tiff::TiffResult<()>
where
    [T]: TiffValue,
{
    let mut encoder = encoder
        .with_compression(Compression::Deflate(DeflateLevel::Balanced))
        .with_predictor(Predictor::Horizontal);
    for z in 0..nz {
        let mut image = encoder.new_image::<C>(u32::try_from(nx)?, u32::try_from(ny)?)?;
        if let Some(size) = voxel_size {
            // In ImageJ the unit is in the description, and the tag says none. Exact to 10⁻⁶ µm.
            let d = (size.get() * 1e6).round() as u32;
            image.resolution(ResolutionUnit::None, Rational { n: 1_000_000, d });
        }
        if z == 0 {
            let text = description(nz, voxel_size);
            image.encoder().write_tag(Tag::ImageDescription, text.as_str())?;
        }
        image.write_data(pages(z))?;
    }
    Ok(())
}

fn description(slices: usize, voxel_size: Option<VoxelSize>) -> String {
    let mut text = format!("ImageJ=1.54f\nimages={slices}\nslices={slices}\nloop=false\n");
    if let Some(size) = voxel_size {
        text.push_str(&format!("unit=um\nspacing={}\n", size.get()));
    }
    text
}
