//! Pages in strips, however packed, give the values that were put in; so do those that only look
//! as if they were plain.

use crate::files::read;
use microdiff_domain::Volume;
use microdiff_imaging::Voxels;
use std::path::Path;

const HEIGHT: usize = 21;
const WIDTH: usize = 50;
/// The last strip of a page is shorter.
const ROWS: usize = 8;

/// How the strips of a file are written.
#[derive(Debug, Clone, Copy)]
struct Layout {
    compression: u32,
    differences: bool,
    big_endian: bool,
    /// MinIsWhite, which turns all values round.
    white: bool,
    /// Rows that the last strip holds beyond the page.
    surplus: usize,
}

impl Layout {
    fn u32(self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u16(self, value: u16) -> [u8; 2] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn strip(self, rows: &[u16]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for row in rows.chunks(WIDTH) {
            let mut before = 0;
            for &value in row {
                bytes.extend(self.u16(value.wrapping_sub(before)));
                before = if self.differences { value } else { 0 };
            }
        }
        match self.compression {
            8 => {
                let mut packed = Vec::with_capacity(2 * bytes.len() + 64);
                flate2::Compress::new(flate2::Compression::fast(), true)
                    .compress_vec(&bytes, &mut packed, flate2::FlushCompress::Finish)
                    .unwrap();
                packed
            }
            50_000 => zstd::bulk::compress(&bytes, 3).unwrap(),
            _ => bytes,
        }
    }

    /// A file of two pages.
    fn file(self, values: &[u16]) -> Vec<u8> {
        let mut bytes = if self.big_endian { b"MM".to_vec() } else { b"II".to_vec() };
        bytes.extend(self.u16(42));
        let mut link = bytes.len();
        bytes.extend([0; 4]);
        for page in values.chunks(HEIGHT * WIDTH) {
            let mut padded = page.to_vec();
            padded.resize((HEIGHT + self.surplus) * WIDTH, 9);
            let cuts = [0, ROWS, 2 * ROWS, HEIGHT + self.surplus];
            let places: Vec<[u32; 2]> = cuts
                .windows(2)
                .map(|cut| {
                    let strip = self.strip(&padded[cut[0] * WIDTH..cut[1] * WIDTH]);
                    let place = [bytes.len() as u32, strip.len() as u32];
                    bytes.extend(strip);
                    place
                })
                .collect();
            let lists = [0, 1].map(|which| {
                let at = bytes.len() as u32;
                places.iter().for_each(|place| bytes.extend(self.u32(place[which])));
                at
            });
            let here = self.u32(bytes.len() as u32);
            bytes[link..link + 4].copy_from_slice(&here);
            self.directory(&mut bytes, lists, places.len() as u32);
            link = bytes.len() - 4;
        }
        bytes
    }

    fn directory(self, bytes: &mut Vec<u8>, [offsets, lengths]: [u32; 2], strips: u32) {
        let entries = [
            (256, 1, WIDTH as u32),
            (257, 1, HEIGHT as u32),
            (258, 1, 16),
            (259, 1, self.compression),
            (262, 1, u32::from(!self.white)),
            (273, strips, offsets),
            (277, 1, 1),
            (278, 1, ROWS as u32),
            (279, strips, lengths),
            (317, 1, 1 + u32::from(self.differences)),
        ];
        bytes.extend(self.u16(entries.len() as u16));
        for (tag, count, value) in entries {
            bytes.extend(self.u16(tag));
            bytes.extend(self.u16(4));
            bytes.extend(self.u32(count));
            bytes.extend(self.u32(value));
        }
        bytes.extend([0; 4]);
    }
}

fn values() -> Vec<u16> {
    (0..2 * HEIGHT * WIDTH).map(|i| (i * i * 31 + i * 7919) as u16).collect()
}

fn voxels(path: &Path, bytes: &[u8]) -> Voxels {
    std::fs::write(path, bytes).unwrap();
    read(path).voxels
}

#[test]
fn every_packing_gives_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.tif");
    for compression in [1, 8, 50_000] {
        for choice in 0..16 {
            let layout = Layout {
                compression,
                // The standard knows differences only where something is packed.
                differences: choice & 1 == 1 && compression != 1,
                big_endian: choice & 2 == 2,
                white: choice & 4 == 4,
                surplus: 3 * usize::from(choice & 8 == 8),
            };
            let mut wanted = values();
            let found = voxels(&path, &layout.file(&wanted));
            if layout.white {
                wanted.iter_mut().for_each(|value| *value = u16::MAX - *value);
            }
            let wanted = Volume::new([2, HEIGHT, WIDTH], wanted).unwrap();
            assert_eq!(found, Voxels::U16(wanted), "{layout:?}");
        }
    }
}
