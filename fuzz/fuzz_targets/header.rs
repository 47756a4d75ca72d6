//! Any text as a header of raw voxels, attached or beside them, and a good one with some of its
//! bytes changed: a scan or an error of one line, and no other file is touched.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microdiff_imaging::io::{Limits, ReadOptions, read_scan};
use std::sync::LazyLock;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

const GOOD: [(&str, &str); 6] = [
    (
        "a.nrrd",
        "NRRD0004\ntype: uint16\ndimension: 3\nsizes: 4 3 2\nendian: big\nencoding: raw\n\
         space directions: (0.002,0,0) (0,0.002,0) (0,0,0.002)\nspace units: \"mm\" \"mm\" \"mm\"\n\n",
    ),
    (
        "a.nhdr",
        "NRRD0004\ntype: float\ndimension: 3\nsizes: 3 2 2\nendian: little\nencoding: gzip\n\
         spacings: 2 2 2\nunits: \"um\" \"um\" \"um\"\ndata file: part.vol\nbyte skip: 0\n",
    ),
    (
        "a.mha",
        "ObjectType = Image\nNDims = 3\nElementSpacing = 0.002 0.002 0.002\nDimSize = 4 3 2\n\
         CompressedData = True\nElementType = MET_SHORT\nElementDataFile = LOCAL\n",
    ),
    (
        "a.mhd",
        "NDims = 3\nDimSize = 4 3 2\nHeaderSize = -1\nElementByteOrderMSB = True\n\
         ElementType = MET_UCHAR\nElementDataFile = part.vol\n",
    ),
    (
        "part.vgi",
        "{volume1}\n[file1]\nRegionOfInterestStart = 0 0 0\nSize = 4 3 2\nName = part.vol\n\
         Datatype = unsigned integer\nBitsPerElement = 16\nSkipHeader = 0\n[geometry]\n\
         resolution = 0.002 0.002 0.002\nunit = mm\n",
    ),
    (
        "part.pcr",
        "[VolumeData]\nVolume_SizeX=4\nVolume_SizeY=3\nVolume_SizeZ=2\nFormat=5\n\
         VoxelSizeRec=0.002\n",
    ),
];

fuzz_target!(|input: (u8, Vec<(u16, u8)>, &[u8], &[u8])| {
    let (which, changes, text, voxels) = input;
    let (name, good) = GOOD[usize::from(which) % GOOD.len()];
    let mut header = if text.is_empty() { good.as_bytes().to_vec() } else { text.to_vec() };
    for (at, value) in changes {
        let at = usize::from(at) % header.len();
        header[at] = value;
    }
    header.extend(voxels);
    let path = FOLDER.path().join(name);
    std::fs::write(&path, &header).expect("written");
    std::fs::write(FOLDER.path().join("part.vol"), voxels).expect("written");
    let limits = Limits { decoded_bytes: 16 << 20, ..Limits::default() };
    let options = ReadOptions { limits, data_files: true, ..ReadOptions::default() };
    for path in [&path, &FOLDER.path().join("part.vol")] {
        if let Err(error) = read_scan(path, &options) {
            let text = error.to_string();
            assert!(!text.chars().any(char::is_control), "{text:?}");
            assert!(text.len() < 2000, "{} bytes", text.len());
        }
    }
    std::fs::remove_file(&path).expect("removed");
});
