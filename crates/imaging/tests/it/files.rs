//! Readable files give the voxels and the voxel size that were put in.

use microdiff_domain::{Volume, VoxelSize};
use microdiff_imaging::io::{ReadOptions, read_scan, write_tiff_u8, write_tiff_u16};
use microdiff_imaging::{Scan, VoxelSizeSource, Voxels};
use std::fs::File;
use std::path::Path;
use tiff::encoder::colortype::{self, ColorType};
use tiff::encoder::{Compression, DeflateLevel, Predictor, TiffEncoder, TiffValue};
use tiff::tags::Tag;

pub const SHAPE: [usize; 3] = [9, 10, 11];

pub fn read(path: &Path) -> Scan {
    read_scan(path, &ReadOptions::default()).unwrap()
}

pub fn values(seed: usize) -> Vec<u16> {
    (0..SHAPE.iter().product()).map(|i| ((i * 7919 + seed) % 60013) as u16).collect()
}

/// Writes pages of any type, with tags on the first, by a plain encoder.
pub fn write_pages<C: ColorType>(
    path: &Path,
    [pages, height, width]: [usize; 3],
    data: &[C::Inner],
    (compression, description): (Compression, Option<&str>),
) where
    [C::Inner]: TiffValue,
{
    let mut encoder = TiffEncoder::new(File::create(path).unwrap())
        .unwrap()
        .with_compression(compression)
        .with_predictor(Predictor::None);
    for (index, page) in data.chunks(height * width).take(pages).enumerate() {
        let mut image = encoder.new_image::<C>(width as u32, height as u32).unwrap();
        if let Some(text) = description.filter(|_| index == 0) {
            image.encoder().write_tag(Tag::ImageDescription, text).unwrap();
        }
        image.write_data(page).unwrap();
    }
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("part.tif");
    let volume = Volume::new(SHAPE, values(1)).unwrap();
    let size = VoxelSize::micrometres(2.4).unwrap();
    write_tiff_u16(&path, &volume, Some(size)).unwrap();
    let scan = read(&path);
    assert_eq!(scan.voxels, Voxels::U16(volume));
    let known = scan.voxel_size.clone().unwrap();
    assert!((known.size.get() - 2.4).abs() < 1e-6, "{known:?}");
    assert_eq!(known.source, VoxelSizeSource::ImageJ);
    assert_eq!(scan.sha256.len(), 64);
    let options = ReadOptions { unhashed: true, ..ReadOptions::default() };
    let unhashed = read_scan(&path, &options).unwrap();
    assert_eq!((unhashed.voxels, unhashed.sha256.as_str()), (scan.voxels, ""));
    let bytes: Vec<u8> = (0..SHAPE.iter().product()).map(|i: usize| i as u8).collect();
    let volume = Volume::new(SHAPE, bytes).unwrap();
    write_tiff_u8(&path, &volume, None).unwrap();
    let scan = read(&path);
    assert_eq!(scan.voxels, Voxels::U8(volume));
    let error = scan.require_voxel_size().unwrap_err().to_string();
    assert!(error.contains("--voxel-size UM") && error.contains("XResolution"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn an_output_that_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::new(SHAPE, values(1)).unwrap();
    let path = folder.path().join("absent").join("part.tif");
    let error = write_tiff_u16(&path, &volume, None).unwrap_err();
    assert_eq!(error.code(), "output_unwritable");
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    assert!(write_tiff_u16(&taken, &volume, None).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn every_compression_and_type_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.tif");
    let data = values(3);
    let deflate = || Compression::Deflate(DeflateLevel::Fast);
    for compression in
        [Compression::Uncompressed, Compression::Lzw, deflate(), Compression::Packbits]
    {
        write_pages::<colortype::Gray16>(&path, SHAPE, &data, (compression, None));
        assert_eq!(read(&path).voxels, Voxels::U16(Volume::new(SHAPE, data.clone()).unwrap()));
    }
    let signed: Vec<i16> = data.iter().map(|&v| (v ^ 0x8000) as i16).collect();
    write_pages::<colortype::GrayI16>(&path, SHAPE, &signed, (deflate(), None));
    let scan = read(&path);
    assert_eq!(scan.voxels, Voxels::U16(Volume::new(SHAPE, data.clone()).unwrap()));
    assert_eq!((scan.source_type, scan.grey_map.offset), ("i16", -32768.0));
    let floats: Vec<f32> = data.iter().map(|&v| f32::from(v) * 0.25 - 7.0).collect();
    write_pages::<colortype::Gray32Float>(&path, SHAPE, &floats, (deflate(), None));
    let scan = read(&path);
    let Voxels::U16(stored) = &scan.voxels else { panic!("floats are kept as u16") };
    for (stored, float) in stored.data().iter().zip(&floats) {
        let back = scan.grey_map.offset + scan.grey_map.scale * f64::from(*stored);
        assert!((back - f64::from(*float)).abs() <= scan.grey_map.scale);
    }
    let wide: Vec<u32> = data.iter().map(|&v| u32::from(v) * 1000).collect();
    write_pages::<colortype::Gray32>(&path, SHAPE, &wide, (deflate(), None));
    assert_eq!(read(&path).source_type, "u32");
}

#[test]
fn big_tiff_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.tif");
    let data = values(5);
    let mut encoder = TiffEncoder::new_big(File::create(&path).unwrap()).unwrap();
    for page in data.chunks(110) {
        encoder.write_image::<colortype::Gray16>(11, 10, page).unwrap();
    }
    drop(encoder);
    assert_eq!(read(&path).voxels, Voxels::U16(Volume::new(SHAPE, data).unwrap()));
}

#[test]
fn an_imagej_stack_with_one_directory_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stack.tif");
    let data = values(2);
    let text = "ImageJ=1.53t\nimages=9\nslices=9\nunit=micron\nspacing=3.5\n";
    // One directory for a page; the other slices follow its strip, which the encoder writes last
    // but for the directory itself: so write the directory first by hand.
    let mut bytes = b"II\x2a\x00".to_vec();
    let entries: [(u16, u16, u32, u32); 9] = [
        (256, 3, 1, 11),
        (257, 3, 1, 10),
        (258, 3, 1, 16),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (270, 2, text.len() as u32 + 1, 8),
        (273, 4, 1, 8 + 128 + 256),
        (278, 3, 1, 10),
        (279, 4, 1, 220),
    ];
    bytes.extend((8u32 + 128).to_le_bytes());
    let mut padded = text.as_bytes().to_vec();
    padded.resize(128, 0);
    bytes.extend(padded);
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.resize(8 + 128 + 256, 0);
    bytes.extend(data.iter().flat_map(|v| v.to_le_bytes()));
    std::fs::write(&path, &bytes).unwrap();
    let scan = read(&path);
    assert_eq!(scan.voxels, Voxels::U16(Volume::new(SHAPE, data).unwrap()));
    assert_eq!(scan.voxel_size.unwrap().size.get(), 3.5);
    bytes.truncate(bytes.len() - 1);
    std::fs::write(&path, &bytes).unwrap();
    let error = read_scan(&path, &ReadOptions::default()).unwrap_err();
    assert_eq!(error.code(), "scan_damaged", "{error}");
}

#[test]
fn white_is_zero_is_turned_around() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.tif");
    let data = values(4);
    write_pages::<colortype::Gray16>(&path, SHAPE, &data, (Compression::Uncompressed, None));
    // PhotometricInterpretation 1 becomes 0 in every directory.
    let mut bytes = std::fs::read(&path).unwrap();
    let entry = [[6u8, 1, 3, 0, 1, 0, 0, 0].as_slice(), &[1, 0]].concat();
    for at in 0..bytes.len() - 10 {
        if bytes[at..at + 10] == entry[..] {
            bytes[at + 8] = 0;
        }
    }
    std::fs::write(&path, &bytes).unwrap();
    let turned = data.iter().map(|v| u16::MAX - v).collect();
    assert_eq!(read(&path).voxels, Voxels::U16(Volume::new(SHAPE, turned).unwrap()));
}

#[test]
fn a_folder_of_slices_is_read_in_the_order_of_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let data = values(6);
    for (index, page) in data.chunks(110).enumerate() {
        let path = folder.path().join(format!("part_{}.tif", index + 4));
        write_pages::<colortype::Gray16>(&path, [1, 10, 11], page, (Compression::Lzw, None));
    }
    std::fs::write(folder.path().join("notes.txt"), "not a slice").unwrap();
    let scan = read(folder.path());
    assert_eq!(scan.voxels, Voxels::U16(Volume::new(SHAPE, data).unwrap()));
    std::fs::remove_file(folder.path().join("part_7.tif")).unwrap();
    let error = read_scan(folder.path(), &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("slice 7 is missing"), "{error}");
}
