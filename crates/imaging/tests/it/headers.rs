//! Raw voxels behind a text header give the voxels and the voxel size that were put in.

use crate::files::{SHAPE, values};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use microdiff_domain::{Volume, VoxelSize};
use microdiff_imaging::io::{ReadOptions, read_scan};
use microdiff_imaging::{ErrorKind, ImagingError, Scan, VoxelSizeSource, Voxels};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder to put headers and voxels into.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file of a text and the bytes behind it.
    pub fn put(&self, name: &str, text: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, [text.as_bytes(), bytes].concat()).unwrap();
        path
    }
}

pub fn try_read(path: &Path) -> Result<Scan, ImagingError> {
    read_scan(path, &ReadOptions { data_files: true, ..ReadOptions::default() })
}

pub fn little() -> Vec<u8> {
    values(1).iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn big() -> Vec<u8> {
    values(1).iter().flat_map(|v| v.to_be_bytes()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

pub const NRRD: &str = "NRRD0004\n# made by a test\ntype: unsigned short\ndimension: 3\n\
    sizes: 11 10 9\nendian: little\nencoding: raw\nspacings: 0.0024 0.0024 0.0024\n\
    space units: \"mm\" \"mm\" \"mm\"\nmade:=by a test\n";

pub const META_IMAGE: &str = "ObjectType = Image\nNDims = 3\nBinaryData = True\n\
    BinaryDataByteOrderMSB = False\nCompressedData = False\nElementSpacing = 0.0024 0.0024 0.0024\n\
    DimSize = 11 10 9\nElementType = MET_USHORT\n";

pub const VGI: &str = "{volume1}\r\n[representation]\r\nsize = 11 10 9\r\ndatatype = unsigned integer\r\n\
    [file1]\r\nRegionOfInterestStart = 0 0 0\r\nRegionOfInterestEnd = 10 9 8\r\nFileFormat = raw\r\n\
    Size = 11 10 9\r\nName = part.vol\r\nDatatype = unsigned integer\r\nBitsPerElement = 16\r\n\
    {volumeprimitive12}\r\n[geometry]\r\nresolution = 0.0024 0.0024 0.0024\r\nunit = mm\r\n";

pub const PCR: &str = "[ImageData]\nFormat=99\n[VolumeData]\nVolume_SizeX=11\nVolume_SizeY=10\n\
    Volume_SizeZ=9\nFormat=5\nVoxelSizeRec=0.0024\n";

#[track_caller]
fn check(path: &Path, source: VoxelSizeSource) {
    let scan = try_read(path).unwrap();
    assert_eq!(scan.voxels, Voxels::U16(Volume::new(SHAPE, values(1)).unwrap()));
    assert_eq!(scan.source_type, "u16");
    let known = scan.voxel_size.unwrap();
    assert!((known.size.get() - 2.4).abs() < 1e-9, "{known:?}");
    assert!(known.text.contains("0.0024"), "{known:?}");
    assert_eq!(known.source, source);
}

#[test]
fn nrrd_is_read_attached_and_detached_plain_and_packed() {
    let folder = Folder::new();
    let source = || VoxelSizeSource::Nrrd;
    check(&folder.put("a.nrrd", &format!("{NRRD}\n"), &little()), source());
    let packed = NRRD.replace("raw", "gzip");
    check(&folder.put("b.nrrd", &format!("{packed}\n"), &gzip(&little())), source());
    let turned = NRRD.replace("little", "big");
    folder.put("voxels.raw", "", &big());
    let detached = format!("{turned}data file: voxels.raw\n");
    check(&folder.put("c.nhdr", &detached, b""), source());
    // Voxels behind something else: by a count of bytes, and as the end of the file.
    folder.put("behind.raw", "twelve bytes", &little());
    for skip in ["12", "-1"] {
        let behind = format!("{NRRD}data file: ./behind.raw\nbyte skip: {skip}\n\n");
        check(&folder.put("d.nhdr", &behind, b""), source());
    }
    let directions = "space directions: (0,0.0024,0) (0,0,0.0024) (-0.0024,0,0)";
    let turned = NRRD.replace("spacings: 0.0024 0.0024 0.0024", directions);
    check(&folder.put("e.nrrd", &format!("{turned}\n"), &little()), source());
}

#[test]
fn meta_image_is_read_attached_and_detached_plain_and_packed() {
    let folder = Folder::new();
    let source = || VoxelSizeSource::MetaImage;
    let local = format!("{META_IMAGE}ElementDataFile = LOCAL\n");
    check(&folder.put("a.mha", &local, &little()), source());
    // Known by its first words, whatever its name.
    check(&folder.put("a", &local, &little()), source());
    let packed = local.replace("CompressedData = False", "CompressedData = True");
    check(&folder.put("b.mha", &packed, &zlib(&little())), source());
    let micro = local.replace("0.0024", "0.0024e3").replace("NDims", "DistanceUnits = um\nNDims");
    let scan = try_read(&folder.put("c.mha", &micro, &little())).unwrap();
    assert!((scan.voxel_size.unwrap().size.get() - 2.4).abs() < 1e-9);
    folder.put("voxels.raw", "", &big());
    let detached = META_IMAGE.replace("MSB = False", "MSB = True");
    let detached = format!("{detached}ElementDataFile = voxels.raw\n");
    check(&folder.put("d.mhd", &detached, b""), source());
}

#[test]
fn volumes_of_tomography_systems_are_read_by_header_or_by_voxels() {
    let folder = Folder::new();
    let voxels = folder.put("part.vol", "", &little());
    let header = folder.put("part.pcr", PCR, b"");
    check(&header, VoxelSizeSource::Pcr);
    check(&voxels, VoxelSizeSource::Pcr);
    let by_header = try_read(&header).unwrap().sha256;
    assert_eq!(try_read(&voxels).unwrap().sha256, by_header);
    folder.put("part.pcr", &format!("{PCR}\n"), b"");
    assert_ne!(try_read(&header).unwrap().sha256, by_header);
    check(&folder.put("part.vgi", VGI, b""), VoxelSizeSource::Vgi);
    check(&voxels, VoxelSizeSource::Vgi);
    folder.put("part.vol", "sixteen bytes ..", &little());
    let skip = VGI.replace("FileFormat", "SkipHeader = 16\r\nFileFormat");
    check(&folder.put("part.vgi", &skip, b""), VoxelSizeSource::Vgi);
}

#[test]
fn every_type_of_voxel_is_read() {
    let folder = Folder::new();
    let read = |name: &str, bytes: Vec<u8>| {
        let text = NRRD.replace("unsigned short", name);
        try_read(&folder.put("a.nrrd", &format!("{text}\n"), &bytes)).unwrap()
    };
    let all: Vec<i32> = values(1).iter().map(|&v| i32::from(v) - 30_000).collect();
    let kept = |scan: &Scan| match &scan.voxels {
        Voxels::U8(volume) => volume.data().iter().map(|&v| f64::from(v)).collect::<Vec<f64>>(),
        Voxels::U16(volume) => volume.data().iter().map(|&v| f64::from(v)).collect(),
    };
    macro_rules! check {
        ($name:literal, $kind:ident, $divide:literal) => {{
            let put: Vec<$kind> = all.iter().map(|&v| (v / $divide) as $kind).collect();
            let scan = read($name, put.iter().flat_map(|v| v.to_le_bytes()).collect());
            assert_eq!(scan.source_type, stringify!($kind));
            for (kept, put) in kept(&scan).iter().zip(&put) {
                let back = scan.grey_map.offset + scan.grey_map.scale * kept;
                assert!((back - *put as f64).abs() <= scan.grey_map.scale, "{back} {put}");
            }
        }};
    }
    check!("int8", i8, 300);
    check!("short", i16, 2);
    check!("int", i32, 1);
    check!("longlong", i64, 1);
    check!("float", f32, 7);
    check!("double", f64, 1);
    let positive: Vec<u8> = values(1).iter().flat_map(|v| u32::from(*v).to_le_bytes()).collect();
    assert_eq!(read("uint32_t", positive).source_type, "u32");
}

#[test]
fn a_voxel_size_is_known_with_its_unit_or_not_at_all() {
    let folder = Folder::new();
    let looked = |name: &str, text: &str, bytes: &[u8]| {
        let scan = try_read(&folder.put(name, text, bytes)).unwrap();
        assert_eq!(scan.voxel_size, None);
        let error = scan.require_voxel_size().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        error.to_string()
    };
    let bare = NRRD.replace("space units: \"mm\" \"mm\" \"mm\"\n", "");
    assert!(looked("a.nrrd", &format!("{bare}\n"), &little()).contains("without units"));
    let parsec = NRRD.replace("\"mm\"", "\"pc\"");
    assert!(looked("b.nrrd", &format!("{parsec}\n"), &little()).contains("no length"));
    let vast = NRRD.replace("0.0024", "2400");
    assert!(looked("c.nrrd", &format!("{vast}\n"), &little()).contains("not a voxel size"));
    let one = META_IMAGE.replace("0.0024", "1");
    let one = format!("{one}ElementDataFile = LOCAL\n");
    assert!(looked("d.mha", &one, &little()).contains("default"));
    folder.put("part.vol", "", &little());
    assert!(looked("part.vgi", &VGI.replace("unit = mm", ""), b"").contains("without a unit"));
    // Bricks are refused, unless the edge is given.
    let bricks = NRRD.replace("0.0024 0.0024 0.0024", "0.0024 0.0024 0.0048");
    let bricks = folder.put("e.nrrd", &format!("{bricks}\n"), &little());
    assert_eq!(try_read(&bricks).unwrap_err().code(), "voxels_not_cubic");
    let size = VoxelSize::micrometres(3.0).unwrap();
    let options = ReadOptions { voxel_size: Some(size), ..ReadOptions::default() };
    let known = read_scan(&bricks, &options).unwrap().voxel_size.unwrap();
    assert_eq!((known.size, known.source), (size, VoxelSizeSource::Option));
    let fine = folder.put("f.nrrd", &format!("{NRRD}\n"), &little());
    let known = read_scan(&fine, &options).unwrap().voxel_size.unwrap();
    assert!(known.text.contains("although the file says 2.4"), "{}", known.text);
}
