//! Any bytes as a TIFF file, and a good file with some of its bytes changed: a scan or an error of
//! one line, the same on every reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microdiff_imaging::io::{Limits, ReadOptions, read_scan};
use std::path::PathBuf;
use std::sync::LazyLock;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

/// Two deflated pages of 16 bit with a description, in 300 bytes.
fn good() -> Vec<u8> {
    let text = b"ImageJ=1.54f\nimages=2\nunit=um\nspacing=2.4\n\0";
    // A stored block is deflate as well, and its bytes may be changed one by one.
    let page: Vec<u8> = (0..32).collect();
    let stream = [&[0x78, 1, 1, 32, 0, 223, 255], page.as_slice(), &[0, 0, 0, 0]].concat();
    let mut bytes = b"II\x2a\0".to_vec();
    let (text_at, stream_at) = (8u32, 8 + text.len() as u32);
    let directory = stream_at + stream.len() as u32;
    bytes.extend(directory.to_le_bytes());
    bytes.extend(text);
    bytes.extend(&stream);
    let entries: [(u16, u16, u32, u32); 12] = [
        (256, 3, 1, 4),
        (257, 3, 1, 4),
        (258, 3, 1, 16),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (270, 2, text.len() as u32, text_at),
        (273, 4, 1, stream_at),
        (277, 3, 1, 1),
        (278, 3, 1, 4),
        (279, 4, 1, stream.len() as u32),
        (317, 3, 1, 2),
        (339, 3, 1, 1),
    ];
    for page in 0..2 {
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        let next = if page == 0 { bytes.len() as u32 + 4 } else { 0 };
        bytes.extend(next.to_le_bytes());
    }
    bytes
}

fuzz_target!(|input: (Vec<(u16, u8)>, &[u8])| {
    let (changes, raw) = input;
    let mut bytes = if changes.is_empty() { raw.to_vec() } else { good() };
    for (at, value) in changes {
        let at = usize::from(at) % bytes.len();
        bytes[at] = value;
    }
    let path: PathBuf = FOLDER.path().join("scan.tif");
    std::fs::write(&path, &bytes).expect("written");
    let limits = Limits { decoded_bytes: 16 << 20, ..Limits::default() };
    let options = ReadOptions { limits, ..ReadOptions::default() };
    match (read_scan(&path, &options), read_scan(&path, &options)) {
        (Ok(first), Ok(second)) => assert!(first == second, "two readings differ"),
        (Err(first), Err(second)) => {
            let text = first.to_string();
            assert_eq!(text, second.to_string());
            assert!(!text.chars().any(char::is_control), "{text:?}");
            assert!(text.len() < 2000, "{} bytes", text.len());
        }
        (first, second) => panic!("{:?} {:?}", first.err(), second.err()),
    }
});
