//! Headers that lie end in one clear line, in bounded memory and without reading what is not theirs.

use crate::headers::{Folder, META_IMAGE, NRRD, PCR, VGI, little, try_read};
use crate::peak::read_alone;
use crate::thirteen::{REFUSAL_BYTES, zeros};
use microdiff_imaging::io::{ReadOptions, read_scan};
use proptest::prelude::*;
use std::path::Path;

fn refusal(path: &Path) -> (String, &'static str) {
    let error = try_read(path).unwrap_err();
    let text = error.to_string();
    assert!(!text.chars().any(char::is_control) && text.len() < 1000, "{text:?}");
    (text, error.code())
}

#[test]
fn sizes_that_do_not_match_the_voxels_are_refused() {
    let folder = Folder::new();
    let local = format!("{META_IMAGE}ElementDataFile = LOCAL\n");
    let headers = [("a.nrrd", format!("{NRRD}\n")), ("a.mha", local), ("a.vgi", VGI.to_owned())];
    for (name, text) in headers.into_iter().chain([("part.pcr", PCR.to_owned())]) {
        for keep in [0, 1, 1979, 1981] {
            let mut bytes = little();
            bytes.resize(keep, 0);
            folder.put("part.vol", "", &bytes);
            let own = if name.starts_with("a.") && !name.ends_with("vgi") { bytes } else { vec![] };
            let (text, code) = refusal(&folder.put(name, &text, &own));
            assert!(["scan_damaged", "scan_empty"].contains(&code), "{text}");
            assert!(text.contains("11 x 10 x 9 voxels of u16, 1980 bytes"), "{text}");
        }
    }
}

#[test]
fn data_files_outside_the_folder_are_not_read() {
    let folder = Folder::new();
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(elsewhere.path(), little()).unwrap();
    let absolute = elsewhere.path().to_str().unwrap();
    let names =
        ["../../etc/passwd", "a/../../b", absolute, "C:\\scans\\part.vol", "..\\part.vol", ".."];
    for name in names {
        let (text, _) = refusal(&folder.put("a.nhdr", &format!("{NRRD}data file: {name}\n"), b""));
        assert!(text.contains("not in the same folder"), "{text}");
        let header = format!("{META_IMAGE}ElementDataFile = {name}\n");
        let (text, _) = refusal(&folder.put("a.mhd", &header, b""));
        assert!(text.contains("not in the same folder"), "{text}");
        let (text, _) = refusal(&folder.put("a.vgi", &VGI.replace("part.vol", name), b""));
        assert!(text.contains("not in the same folder"), "{text}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(elsewhere.path(), folder.path("link.raw")).unwrap();
        let header = format!("{NRRD}data file: link.raw\n");
        assert!(refusal(&folder.put("a.nhdr", &header, b"")).0.contains("not in the same folder"));
    }
    let (text, code) = refusal(&folder.put("a.nhdr", &format!("{NRRD}data file: gone.raw\n"), b""));
    assert_eq!(code, "scan_unreadable", "{text}");
}

/// An upload is one file: its header must not reach for the uploads of others.
#[test]
fn a_file_from_a_stranger_reaches_for_no_other() {
    let folder = Folder::new();
    let voxels = folder.put("part.vol", "", &little());
    let header = folder.put("a.nhdr", &format!("{NRRD}data file: part.vol\n"), b"");
    let pcr = folder.put("part.pcr", PCR, b"");
    try_read(&header).unwrap();
    for path in [&header, &pcr, &voxels] {
        let error = read_scan(path, &ReadOptions::default()).unwrap_err();
        assert_eq!(error.code(), "scan_unsupported", "{error}");
    }
    let whole = folder.put("a.nrrd", &format!("{NRRD}\n"), &little());
    read_scan(&whole, &ReadOptions::default()).unwrap();
}

#[test]
fn huge_claims_bombs_and_endless_headers_take_no_memory() {
    let folder = Folder::new();
    let huge = "4294967295 4294967295 4294967295";
    let packed = NRRD.replace("raw", "gzip");
    let bomb = packed.replace("11 10 9", "32768 16384 1").replace("little", "big");
    let small = packed.replace("11 10 9", "64 64 9");
    let deflated = META_IMAGE.replace("CompressedData = False", "CompressedData = True");
    let bytes = gzip_header(&zeros(1024));
    let meta = format!("{deflated}ElementDataFile = LOCAL\n").replace("11 10 9", "32768 16384 1");
    let files = [
        folder.put("huge.nrrd", &format!("{}\n", NRRD.replace("11 10 9", huge)), &little()),
        folder.put("hugegz.nrrd", &format!("{}\n", packed.replace("11 10 9", huge)), &bytes),
        folder.put("bomb.nrrd", &format!("{bomb}\n"), &bytes),
        folder.put("bomb.mha", &meta, &zeros(1024)),
        // The header is modest; what is packed behind it is not.
        folder.put("small.nrrd", &format!("{small}\n"), &bytes),
        folder.put("endless.nrrd", "NRRD0004\n", &vec![b'a'; 5 << 20]),
        folder.put("lines.vgi", "", &vec![b'\n'; 5 << 20]),
        folder.put("huge.pcr", &PCR.replace("=11", "=4294967295"), b""),
    ];
    folder.put("huge.vol", "", &little());
    for file in files {
        let read = read_alone(&file);
        let codes = ["scan_damaged", "scan_too_large"];
        assert!(codes.contains(&read.outcome.as_str()), "{}: {}", file.display(), read.outcome);
        assert!(read.peak < REFUSAL_BYTES, "{}: {} bytes", file.display(), read.peak);
    }
}

/// A gzip file of a zlib stream: another frame around the same blocks.
fn gzip_header(zlib: &[u8]) -> Vec<u8> {
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], &zlib[2..]].concat()
}

#[test]
fn what_is_not_one_grey_volume_is_refused() {
    let folder = Folder::new();
    folder.put("part.vol", "", &little());
    let cases = [
        ("a.nrrd", NRRD.replace("dimension: 3", "dimension: 4"), "dimension"),
        ("a.nrrd", format!("{NRRD}kinds: RGB-color domain domain\n"), "kinds"),
        ("a.nrrd", NRRD.replace("raw", "text"), "encoding"),
        ("a.nrrd", NRRD.replace("endian: little\n", ""), "endian"),
        ("a.nrrd", format!("{NRRD}data file: LIST\n"), "data file"),
        ("a.nrrd", format!("{NRRD}sizes: 1 2 3\n"), "twice"),
        ("a.nrrd", format!("{NRRD}{0}: 1\n{0}: 1\n", "n".repeat(9000)), "twice"),
        ("a.nrrd", NRRD.replace("unsigned short", &"u".repeat(9000)), "type"),
        ("a.nrrd", NRRD.replace("11 10 9", "11 10"), "three counts"),
        ("a.nrrd", NRRD.replace("11 10 9", "0 10 9"), "three counts"),
        ("a.mhd", format!("{META_IMAGE}ElementDataFile = s%03d.raw 1 9 1\n"), "ElementDataFile"),
        ("a.mhd", META_IMAGE.replace("MET_USHORT", "MET_LONG"), "ElementType"),
        ("a.mhd", format!("{META_IMAGE}ElementNumberOfChannels = 3\n"), "channels"),
        ("a.mhd", META_IMAGE.to_owned(), "elementdatafile"),
        ("a.vgi", format!("{VGI}[file2]\r\n"), "several files"),
        ("a.vgi", VGI.replace("10 9 8", "10 9 7"), "region of interest"),
        ("a.vgi", VGI.replace("FileFormat = raw", "FileFormat = zip"), "fileformat"),
        ("part.pcr", PCR.replace("Format=5", "Format=7"), "Format"),
        ("part.pcr", "[Other]\n".to_owned(), "VolumeData"),
        ("lonely.vol", "voxels".to_owned(), "give the header"),
    ];
    for (name, text, wanted) in cases {
        let text = if name == "a.nrrd" { format!("{text}\n") } else { text };
        let (told, code) = refusal(&folder.put(name, &text, b""));
        assert!(["scan_damaged", "scan_unsupported"].contains(&code), "{told}");
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Flipped bytes may or may not matter; they never panic or hang.
    #[test]
    fn flipped_bytes_never_panic(
        flips in prop::collection::vec((0..400usize, any::<u8>()), 1..8),
        which in 0..4usize,
    ) {
        let folder = Folder::new();
        folder.put("part.vol", "", &little());
        let local = format!("{META_IMAGE}ElementDataFile = LOCAL\n");
        let nrrd = format!("{NRRD}\n");
        let (name, text) =
            [("a.nrrd", nrrd.as_str()), ("a.mha", &local), ("part.vgi", VGI), ("part.pcr", PCR)][which];
        let mut bytes = [text.as_bytes(), &little()].concat();
        for (at, value) in flips {
            let at = at % text.len();
            bytes[at] = value;
        }
        let _ = try_read(&folder.put(name, "", &bytes));
    }
}
