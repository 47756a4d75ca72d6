//! Damaged and hostile input ends in one clear line: no panic, no hang, no dropped page.

use crate::files::{SHAPE, values, write_pages};
use microdiff_domain::{Volume, VoxelSize};
use microdiff_imaging::io::{Limits, ReadOptions, read_scan};
use microdiff_imaging::{AnalysisOptions, ErrorKind, ImagingError, Scan, Voxels, analyze};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, colortype};

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("scan.tif")
    }

    fn with(bytes: &[u8]) -> Self {
        let bench = Self::new();
        std::fs::write(bench.path(), bytes).unwrap();
        bench
    }

    fn refusal(&self) -> ImagingError {
        refusal(&self.path())
    }
}

fn refusal(path: &Path) -> ImagingError {
    let error = read_scan(path, &ReadOptions::default()).unwrap_err();
    let text = error.to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert_eq!(error.kind(), ErrorKind::Data);
    error
}

/// A little-endian file of one directory with no more than the given entries, all of type LONG.
pub fn header(entries: &[(u16, u32)], next: u32) -> Vec<u8> {
    let mut bytes = b"II\x2a\x00\x08\x00\x00\x00".to_vec();
    bytes.extend((entries.len() as u16).to_le_bytes());
    for &(tag, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(4u16.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(next.to_le_bytes());
    bytes
}

pub fn page(width: u32, height: u32, next: u32) -> Vec<u8> {
    let entries = [
        (256, width),
        (257, height),
        (258, 16),
        (259, 1),
        (262, 1),
        (273, 200),
        (277, 1),
        (278, height),
        (279, width.wrapping_mul(height).wrapping_mul(2)),
    ];
    let mut bytes = header(&entries, next);
    bytes.resize(522, 7);
    bytes
}

#[test]
fn missing_empty_and_foreign_files_are_told_apart() {
    assert_eq!(Bench::new().refusal().code(), "scan_unreadable");
    assert_eq!(Bench::with(b"").refusal().code(), "scan_empty");
    for foreign in [b"hello, this is text".as_slice(), b"II", b"\x89PNG\r\n\x1a\n0000"] {
        let error = Bench::with(foreign).refusal();
        assert!(["scan_not_tiff", "scan_damaged"].contains(&error.code()), "{error}");
    }
    assert_eq!(refusal(Bench::new().0.path()).code(), "scan_slices_unusable");
}

#[test]
fn every_truncation_is_an_error() {
    let whole = Bench::new();
    let deflate = Compression::Deflate(DeflateLevel::Fast);
    write_pages::<colortype::Gray16>(&whole.path(), SHAPE, &values(1), (deflate, None));
    let bytes = std::fs::read(whole.path()).unwrap();
    for keep in (1..bytes.len()).step_by(bytes.len() / 40) {
        Bench::with(&bytes[..keep]).refusal();
    }
}

#[test]
fn pages_that_differ_are_named() {
    let bench = Bench::new();
    let mut encoder = TiffEncoder::new(std::fs::File::create(bench.path()).unwrap()).unwrap();
    encoder.write_image::<colortype::Gray16>(10, 10, &[5; 100]).unwrap();
    encoder.write_image::<colortype::Gray16>(10, 9, &[5; 90]).unwrap();
    drop(encoder);
    let error = bench.refusal();
    assert_eq!(error.code(), "scan_mixed_pages");
    assert!(error.to_string().ends_with("page 2 is 10 x 9 u16, page 1 is 10 x 10 u16"), "{error}");
    let mut encoder = TiffEncoder::new(std::fs::File::create(bench.path()).unwrap()).unwrap();
    encoder.write_image::<colortype::Gray16>(10, 10, &[5; 100]).unwrap();
    encoder.write_image::<colortype::Gray8>(10, 10, &[5; 100]).unwrap();
    drop(encoder);
    assert_eq!(bench.refusal().code(), "scan_mixed_pages");
}

#[test]
fn headers_that_lie_take_no_memory() {
    for (width, height) in [(60_000, 60_000), (u32::MAX, u32::MAX), (1 << 20, 1 << 20)] {
        let error = Bench::with(&page(width, height, 0)).refusal();
        assert!(["scan_too_large", "scan_damaged"].contains(&error.code()), "{error}");
    }
    // Within the budget, but far more than the bytes could hold.
    let error = Bench::with(&page(2000, 2000, 0)).refusal();
    assert_eq!(error.code(), "scan_too_large", "{error}");
    assert_eq!(Bench::with(&page(0, 0, 0)).refusal().code(), "scan_damaged");
    // The next directory is this one again.
    assert_eq!(Bench::with(&page(4, 4, 8)).refusal().code(), "scan_damaged");
    // A strip beyond the end of the file.
    let mut beyond = page(4, 4, 0);
    let at = beyond.windows(2).position(|w| w == 273u16.to_le_bytes()).unwrap();
    beyond[at + 8..at + 12].copy_from_slice(&1_000_000u32.to_le_bytes());
    assert_eq!(Bench::with(&beyond).refusal().code(), "scan_damaged");
    // Two billion strip offsets.
    let mut many = page(4, 4, 0);
    many[at + 4..at + 8].copy_from_slice(&(1u32 << 31).to_le_bytes());
    Bench::with(&many).refusal();
}

#[test]
fn huge_tiles_of_a_small_page_are_refused() {
    let entries = [
        (256, 16),
        (257, 16),
        (258, 16),
        (259, 1),
        (262, 1),
        (277, 1),
        (322, 1 << 24),
        (323, 1 << 16),
        (324, 8),
        (325, 100),
    ];
    let mut bytes = header(&entries, 0);
    bytes.resize(1000, 0);
    assert_eq!(Bench::with(&bytes).refusal().code(), "scan_damaged");
}

#[test]
fn a_decompression_bomb_is_called_one() {
    let bench = Bench::new();
    let zeros = vec![0u8; 9 * 4000 * 4000];
    let deflate = Compression::Deflate(DeflateLevel::Best);
    write_pages::<colortype::Gray8>(&bench.path(), [9, 4000, 4000], &zeros, (deflate, None));
    let limits = Limits { expansion: 500, ..Limits::default() };
    let options = ReadOptions { limits, ..ReadOptions::default() };
    let error = read_scan(&bench.path(), &options).unwrap_err();
    assert!(error.to_string().contains("bomb"), "{error}");
    let limits = Limits { decoded_bytes: 1 << 20, ..Limits::default() };
    let options = ReadOptions { limits, ..ReadOptions::default() };
    let error = read_scan(&bench.path(), &options).unwrap_err();
    assert!(error.to_string().contains("at most 1 MiB"), "{error}");
}

#[test]
fn a_stack_that_promises_more_slices_is_refused() {
    let bench = Bench::new();
    for (pages, text) in [(1, "ImageJ=1.53t\nimages=9\n"), (3, "ImageJ=1.53t\nimages=9\n")] {
        let plain = (Compression::Uncompressed, Some(text));
        write_pages::<colortype::Gray16>(&bench.path(), [pages, 10, 11], &values(1), plain);
        let error = bench.refusal();
        assert!(error.to_string().contains("promises 9 slices"), "{error}");
    }
    // Nine channels and nothing else are slices that were not told so; three are colours.
    let text = "ImageJ=1.53t\nimages=9\nchannels=9\n";
    let plain = (Compression::Uncompressed, Some(text));
    write_pages::<colortype::Gray16>(&bench.path(), [9, 10, 11], &values(1), plain);
    assert_eq!(read_scan(&bench.path(), &ReadOptions::default()).unwrap().voxels.shape()[0], 9);
    let text = "ImageJ=1.53t\nimages=3\nchannels=3\n";
    let plain = (Compression::Uncompressed, Some(text));
    write_pages::<colortype::Gray16>(&bench.path(), [3, 10, 11], &values(1), plain);
    assert_eq!(bench.refusal().code(), "scan_unsupported");
    let text = "ImageJ=1.53t\nimages=4\nchannels=2\nslices=2\n";
    let plain = (Compression::Uncompressed, Some(text));
    write_pages::<colortype::Gray16>(&bench.path(), [4, 10, 11], &values(1), plain);
    assert_eq!(bench.refusal().code(), "scan_unsupported");
}

#[test]
fn ome_xml_that_describes_something_else_is_refused() {
    let bench = Bench::new();
    let write = |text: &str| {
        let plain = (Compression::Uncompressed, Some(text));
        write_pages::<colortype::Gray16>(&bench.path(), SHAPE, &values(1), plain);
    };
    write("<OME><Image><Pixels SizeZ=\"12\"/></Image></OME>");
    let error = bench.refusal().to_string();
    assert!(error.ends_with("its OME-XML promises 12 slices, there are 9"), "{error}");
    write("<OME><Image><Pixels SizeZ=\"9\"/></Image><Image><Pixels SizeZ=\"9\"/></Image></OME>");
    assert!(bench.refusal().to_string().contains("describes 2 images"));
    write("<OME><!-- <Pixels SizeZ=\"1\"/> --><Image><Pixels SizeZ=\"9\"/></Image></OME>");
    read_scan(&bench.path(), &ReadOptions::default()).unwrap();
}

#[test]
#[cfg(unix)]
fn a_pipe_is_refused_and_not_waited_for() {
    let bench = Bench::new();
    let made = std::process::Command::new("mkfifo").arg(bench.path()).status().unwrap();
    assert!(made.success());
    assert_eq!(bench.refusal().code(), "scan_unsupported");
    std::fs::rename(bench.path(), bench.0.path().join("slice_1.tif")).unwrap();
    assert_eq!(refusal(bench.0.path()).code(), "scan_unsupported");
}

#[test]
fn colour_is_refused() {
    let bench = Bench::new();
    let mut encoder = TiffEncoder::new(std::fs::File::create(bench.path()).unwrap()).unwrap();
    encoder.write_image::<colortype::RGB8>(4, 4, &[1; 48]).unwrap();
    drop(encoder);
    let error = bench.refusal();
    assert_eq!(error.code(), "scan_unsupported");
    assert!(error.to_string().contains("grey"), "{error}");
}

/// The page of `page` with other values of some tags.
fn page_with(changes: &[(u16, u32)]) -> Vec<u8> {
    let mut bytes = page(4, 4, 0);
    for &(tag, value) in changes {
        let at = (10..).step_by(12).find(|&at| bytes[at..at + 2] == tag.to_le_bytes()).unwrap();
        bytes[at + 8..at + 12].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

#[test]
fn a_palette_is_refused_and_not_read_as_grey() {
    read_scan(&Bench::with(&page_with(&[])).path(), &ReadOptions::default()).unwrap();
    let palette = page_with(&[(258, 8), (262, 3), (279, 16)]);
    let error = Bench::with(&palette).refusal();
    assert_eq!(error.code(), "scan_unsupported");
    assert!(error.to_string().contains("RGBPalette"), "{error}");
}

#[test]
fn more_samples_than_one_are_refused_however_many() {
    for samples in [2, 4, 5, 200, 65_535] {
        let bands = page_with(&[(277, samples), (279, 32 * samples)]);
        let error = Bench::with(&bands).refusal();
        assert_eq!(error.code(), "scan_unsupported", "{samples}: {error}");
        let told = error.to_string();
        assert!(told.contains("one grey value is needed"), "{samples}: {told}");
        assert!(told.contains(&format!("num_samples: {samples}")), "{samples}: {told}");
    }
}

#[test]
fn as_many_pages_as_allowed_and_not_one_more() {
    let bench = Bench::new();
    let read = |path: &Path| {
        let limits = Limits { pages: 9, ..Limits::default() };
        read_scan(path, &ReadOptions { limits, ..ReadOptions::default() })
    };
    let plain = || (Compression::Uncompressed, None);
    let data = [5; 10 * 4 * 3];
    write_pages::<colortype::Gray16>(&bench.path(), [9, 4, 3], &data, plain());
    assert_eq!(read(&bench.path()).unwrap().voxels.shape(), [9, 4, 3]);
    write_pages::<colortype::Gray16>(&bench.path(), [10, 4, 3], &data, plain());
    let error = read(&bench.path()).unwrap_err();
    assert_eq!(error.code(), "scan_too_large");
    assert!(error.to_string().ends_with("10 pages, at most 9 are accepted"), "{error}");
    std::fs::remove_file(bench.path()).unwrap();
    for slice in 0..9 {
        let path = bench.0.path().join(format!("s{slice}.tif"));
        write_pages::<colortype::Gray16>(&path, [1, 4, 3], &data, plain());
    }
    assert_eq!(read(bench.0.path()).unwrap().voxels.shape(), [9, 4, 3]);
    let path = bench.0.path().join("s9.tif");
    write_pages::<colortype::Gray16>(&path, [1, 4, 3], &data, plain());
    let error = read(bench.0.path()).unwrap_err();
    assert_eq!(error.code(), "scan_too_large");
    assert!(error.to_string().ends_with("more than 9 files"), "{error}");
}

#[test]
fn voxels_that_are_no_numbers_are_counted() {
    let bench = Bench::new();
    let mut data: Vec<f32> = values(1).iter().map(|&v| f32::from(v)).collect();
    data[250] = f32::NAN;
    data[251] = f32::INFINITY;
    data[900] = f32::NEG_INFINITY;
    let plain = (Compression::Uncompressed, None);
    write_pages::<colortype::Gray32Float>(&bench.path(), SHAPE, &data, plain);
    let error = bench.refusal();
    assert!(
        error.to_string().ends_with("has 3 voxels that are NaN or infinite, the first on page 3"),
        "{error}"
    );
}

#[test]
fn slices_of_mixed_size_are_named() {
    let bench = Bench::new();
    let plain = || (Compression::Uncompressed, None);
    let path = |name: &str| bench.0.path().join(name);
    write_pages::<colortype::Gray16>(&path("s1.tif"), [1, 10, 11], &values(1), plain());
    write_pages::<colortype::Gray16>(&path("s2.tif"), [1, 10, 10], &values(1), plain());
    let error = refusal(bench.0.path());
    assert!(error.to_string().contains("s2.tif is 10 x 10 u16, s1.tif is 11 x 10 u16"), "{error}");
    write_pages::<colortype::Gray16>(&path("s2.tif"), [2, 10, 11], &values(1), plain());
    assert!(refusal(bench.0.path()).to_string().contains("s2.tif has 2 pages"));
}

#[test]
fn constant_and_tiny_scans_are_refused() {
    let run = |shape: [usize; 3], value: u16| {
        let volume = Volume::new(shape, vec![value; shape.iter().product()]).unwrap();
        let scan = Scan::in_memory(Voxels::U16(volume), None);
        let voxel = VoxelSize::micrometres(5.0).unwrap();
        analyze(&scan, voxel, &AnalysisOptions::default(), &mut ()).unwrap_err()
    };
    assert_eq!(run([8; 3], 700).to_string(), "the scan is constant: every voxel is 700");
    let error = run([7, 9, 9], 700);
    assert_eq!(
        error.to_string(),
        "the scan has 7 x 9 x 9 voxels (z x y x x); each axis needs at least 8"
    );
}

#[test]
fn an_unknown_voxel_size_is_for_the_caller_to_mend() {
    let volume = Volume::new([8; 3], vec![1u8; 512]).unwrap();
    let error = Scan::in_memory(Voxels::U8(volume), None).require_voxel_size().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Usage, "voxel_size_unknown"));
    assert!(error.to_string().contains("--voxel-size UM"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Flipped bytes may or may not matter; they never panic or hang.
    #[test]
    fn flipped_bytes_never_panic(
        flips in prop::collection::vec((0..10_000usize, any::<u8>()), 1..12),
        deflate: bool,
    ) {
        let bench = Bench::new();
        let packed =
            if deflate { Compression::Deflate(DeflateLevel::Fast) } else { Compression::Lzw };
        write_pages::<colortype::Gray16>(
            &bench.path(), [3, 10, 11], &values(1), (packed, Some("ImageJ=1\nimages=3\n")),
        );
        let mut bytes = std::fs::read(bench.path()).unwrap();
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        std::fs::write(bench.path(), &bytes).unwrap();
        let limits = Limits { decoded_bytes: 1 << 24, ..Limits::default() };
        let _ = read_scan(&bench.path(), &ReadOptions { limits, ..ReadOptions::default() });
    }
}
