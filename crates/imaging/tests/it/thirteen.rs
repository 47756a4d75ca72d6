//! Thirteen files that readers of other languages hang on, run out of memory over, or shorten in
//! silence. Each is made here, read in a process of its own, and ends as it should in bounded memory.

use crate::files::{SHAPE, values, write_pages};
use crate::hostile::{header, page};
use crate::peak::read_alone;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, colortype};

/// What a refusal may take: buffers, and nothing for voxels.
pub const REFUSAL_BYTES: usize = 2 << 20;

/// A zlib stream of so many MiB of zeros, a thousandth as long, without packing them all.
pub fn zeros(mebibytes: usize) -> Vec<u8> {
    let mut packer = flate2::Compress::new(flate2::Compression::best(), true);
    let zeros = vec![0u8; 1 << 20];
    let mut pack = |flush| {
        let mut packed = Vec::with_capacity(1 << 16);
        packer.compress_vec(&zeros, &mut packed, flush).unwrap();
        packed
    };
    // What follows a full flush depends on nothing before it, so one piece serves for all.
    let mut stream = pack(flate2::FlushCompress::Full);
    let piece = pack(flate2::FlushCompress::Full);
    for _ in 1..mebibytes {
        stream.extend(&piece);
    }
    stream
}

/// One deflated page of 8 bit in one strip.
fn deflated(edge: u32, stream: &[u8]) -> Vec<u8> {
    let entries = [
        (256, edge),
        (257, edge),
        (258, 8),
        (259, 8),
        (262, 1),
        (273, 200),
        (277, 1),
        (278, edge),
        (279, stream.len() as u32),
    ];
    let mut bytes = header(&entries, 0);
    bytes.resize(200, 0);
    bytes.extend(stream);
    bytes
}

fn mixed(path: &Path, sizes: bool) {
    let mut encoder = TiffEncoder::new(File::create(path).unwrap()).unwrap();
    encoder.write_image::<colortype::Gray16>(10, 10, &[5; 100]).unwrap();
    if sizes {
        encoder.write_image::<colortype::Gray16>(10, 9, &[5; 90]).unwrap();
    } else {
        encoder.write_image::<colortype::Gray8>(10, 10, &[5; 100]).unwrap();
    }
}

fn not_finite(path: &Path, bad: f32) {
    let mut data: Vec<f32> = values(1).iter().map(|&v| f32::from(v)).collect();
    data[250] = bad;
    let plain = (Compression::Uncompressed, None);
    write_pages::<colortype::Gray32Float>(path, SHAPE, &data, plain);
}

fn changed(mut bytes: Vec<u8>, tag: u16, at: usize, value: u32) -> Vec<u8> {
    let entry = bytes.windows(2).position(|two| two == tag.to_le_bytes()).unwrap();
    bytes[entry + at..entry + at + 4].copy_from_slice(&value.to_le_bytes());
    bytes
}

type Make = fn(&Path);

fn write(path: &Path, bytes: &[u8]) {
    File::create(path).unwrap().write_all(bytes).unwrap();
}

const FILES: [(&str, Make, &str); 13] = [
    ("pages of different size", |path| mixed(path, true), "scan_mixed_pages"),
    ("pages of different type", |path| mixed(path, false), "scan_mixed_pages"),
    ("directories in a loop", |path| write(path, &page(4, 4, 8)), "scan_damaged"),
    ("60000 x 60000 in 522 bytes", |path| write(path, &page(60_000, 60_000, 0)), "scan_too_large"),
    ("a GiB in a MB", |path| write(path, &deflated(32_768, &zeros(1024))), "scan_too_large"),
    (
        "a strip larger than its page",
        |path| write(path, &deflated(64, &zeros(8))),
        "ok [1, 64, 64]",
    ),
    (
        "half a file",
        |path| {
            let deflate = Compression::Deflate(DeflateLevel::Fast);
            write_pages::<colortype::Gray16>(path, SHAPE, &values(1), (deflate, None));
            let bytes = std::fs::read(path).unwrap();
            write(path, &bytes[..bytes.len() / 2]);
        },
        "scan_damaged",
    ),
    (
        "a strip beyond the end",
        |path| write(path, &changed(page(4, 4, 0), 273, 8, 1_000_000)),
        "scan_damaged",
    ),
    ("no pixels", |path| write(path, &page(0, 0, 0)), "scan_damaged"),
    (
        "two billion strips",
        |path| write(path, &changed(page(4, 4, 0), 273, 4, 1 << 31)),
        "scan_too_large",
    ),
    (
        "nine slices promised, three there",
        |path| {
            let plain = (Compression::Uncompressed, Some("ImageJ=1.53t\nimages=9\n"));
            write_pages::<colortype::Gray16>(path, [3, 10, 11], &values(1), plain);
        },
        "scan_damaged",
    ),
    ("a voxel that is no number", |path| not_finite(path, f32::NAN), "scan_not_finite"),
    ("an infinite voxel", |path| not_finite(path, f32::INFINITY), "scan_not_finite"),
];

#[test]
fn each_ends_as_it_should_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.tif");
    for (name, make, wanted) in FILES {
        make(&path);
        let read = read_alone(&path);
        assert_eq!(read.outcome, wanted, "{name}");
        assert!(read.peak < REFUSAL_BYTES, "{name}: {} bytes", read.peak);
    }
}

#[test]
fn a_readable_scan_takes_its_own_size_and_little_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.tif");
    let shape = [96, 160, 160];
    let data: Vec<u16> =
        (0..96 * 160 * 160).map(|i: u32| (i.wrapping_mul(7919) >> 4) as u16).collect();
    for compression in [Compression::Uncompressed, Compression::Deflate(DeflateLevel::Fast)] {
        write_pages::<colortype::Gray16>(&path, shape, &data, (compression, None));
        let read = read_alone(&path);
        assert_eq!(read.outcome, "ok [96, 160, 160]");
        let ratio = read.peak as f64 / (2 * data.len()) as f64;
        assert!(ratio < 1.2, "{ratio} times the volume");
    }
}
