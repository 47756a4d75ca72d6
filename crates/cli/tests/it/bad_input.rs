//! Each bad input gives one line on stderr, the right exit code and no output file.

use crate::binary::{fixture, refuse, text};
use std::path::{Path, PathBuf};
use tiff::encoder::{TiffEncoder, colortype};

struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).expect("the file is written");
        path
    }

    /// A TIFF with one page per side length, whose grey values come from `value(page, voxel)`.
    fn tiff(&self, sides: &[u32], value: impl Fn(usize, usize) -> f32) -> PathBuf {
        let path = self.directory.path().join("made.tif");
        let mut encoder =
            TiffEncoder::new(std::fs::File::create(&path).expect("created")).expect("a TIFF");
        for (page, &side) in sides.iter().enumerate() {
            let grey: Vec<f32> = (0..(side * side) as usize).map(|i| value(page, i)).collect();
            encoder.write_image::<colortype::Gray32Float>(side, side, &grey).expect("a page");
        }
        path
    }
}

fn refuse_scan(scan: &Path, code: i32) -> String {
    let draws = scan.with_extension("draws.csv");
    let refused = refuse(
        &[
            "design",
            text(scan),
            "--alloy",
            "Ti-6Al-4V",
            "--voxel-size",
            "5",
            "--draws",
            text(&draws),
        ],
        code,
    );
    assert!(!draws.exists(), "a refused scan left draws behind");
    let analyzed = refuse(&["analyze", text(scan), "--voxel-size", "5"], code);
    assert_eq!(refused, analyzed);
    refused
}

#[test]
fn a_scan_that_is_no_scan() {
    let bench = Bench::new();
    let missing = bench.directory.path().join("nowhere.tif");
    assert!(refuse_scan(&missing, 3).contains("nowhere.tif"));
    refuse_scan(&bench.file("empty.tif", b""), 3);
    refuse_scan(&bench.file("text.tif", b"These are not the voxels you are looking for."), 3);
    let folder = bench.directory.path().join("folder");
    std::fs::create_dir(&folder).expect("created");
    refuse_scan(&folder, 3);
}

#[test]
fn a_truncated_scan() {
    let bench = Bench::new();
    let whole = std::fs::read(fixture()).expect("the fixture is there");
    for share in [1, 10, 50, 95] {
        let part = bench.file("part.tif", &whole[..whole.len() * share / 100]);
        refuse_scan(&part, 3);
    }
}

#[test]
fn a_header_that_claims_the_impossible() {
    // Little-endian TIFF, one directory: 60000 x 60000 of 16 bit in one strip that is not there.
    let mut tiff = b"II*\0\x08\0\0\0\x08\0".to_vec();
    let entries: [(u16, u16, u32, u32); 8] = [
        (256, 4, 1, 60_000),
        (257, 4, 1, 60_000),
        (258, 3, 1, 16),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (278, 4, 1, 60_000),
        (279, 4, 1, 400),
    ];
    for (tag, kind, count, value) in entries {
        tiff.extend(tag.to_le_bytes());
        tiff.extend(kind.to_le_bytes());
        tiff.extend(count.to_le_bytes());
        tiff.extend(value.to_le_bytes());
    }
    tiff.extend([0; 404]);
    refuse_scan(&Bench::new().file("absurd.tif", &tiff), 3);
}

#[test]
fn pages_that_do_not_fit_together() {
    let bench = Bench::new();
    let mixed = bench.tiff(&[16, 16, 24, 16, 16, 16, 16, 16, 16, 16], |_, i| (i % 7) as f32);
    refuse_scan(&mixed, 3);
}

#[test]
fn voxels_that_are_no_numbers() {
    let bench = Bench::new();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let value = |page, i| if page == 3 && i == 5 { bad } else { ((i * 31) % 17) as f32 };
        let line = refuse_scan(&bench.tiff(&[16; 12], value), 3);
        assert!(line.contains('1'), "the count is told: {line}");
    }
}

#[test]
fn a_volume_without_contrast() {
    let line = refuse_scan(&Bench::new().tiff(&[16; 12], |_, _| 100.0), 3);
    assert!(line.contains("constant"), "{line}");
}

#[test]
fn an_unknown_voxel_size_says_where_it_was_looked_for_and_how_to_give_it() {
    let bench = Bench::new();
    let scan = bench.tiff(&[16; 12], |page, i| ((i * 31 + page) % 17) as f32);
    let line = refuse(&["analyze", text(&scan)], 2);
    assert!(line.contains("--voxel-size"), "{line}");
    assert!(line.contains("XResolution"), "{line}");
}

#[test]
fn names_and_numbers_that_are_not_known() {
    let scan = fixture();
    let scan = text(&scan);
    let output = crate::binary::run(&["design", scan, "--alloy", "unobtainium"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("Ti-6Al-4V, 316L, IN718, AlSi10Mg"), "{stderr}");
    let line =
        refuse(&["design", scan, "--alloy", "Ti-6Al-4V", "--known", "hatch_spacing=5000"], 2);
    assert!(line.contains("50 to 200 um"), "{line}");
    let line = refuse(&["design", scan, "--alloy", "Ti-6Al-4V", "--known", "hatch=100"], 2);
    assert!(line.contains("hatch_spacing"), "{line}");
}

#[test]
fn numbers_are_refused_with_what_to_type_and_without_a_row_of_zeros() {
    let predict = ["predict", "--alloy", "316L", "--scan-speed", "900", "--laser-power"];
    let with = |power: &'static str| refuse(&[&predict[..], &[power]].concat(), 2);
    assert!(with("200W").contains("'--laser-power <W>': not a number; give it without a unit"));
    assert!(with("1e308").contains("laser_power 1e308 W is outside 10 to 2000 W"));
    let line = refuse(&["serve", "--listen", "8080"], 2);
    assert!(line.contains("as in 127.0.0.1:8080"), "{line}");
}

#[test]
fn a_time_that_is_none_is_refused_and_not_taken_for_one_without_records() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let export = ["audit", "export", "--dir", text(directory.path())];
    for time in ["yesterday", "31.01.2026", "2026-01-31T10:00:00+01:00", "26", ""] {
        for flag in ["--from", "--to"] {
            let line = refuse(&[&export[..], &[flag, time]].concat(), 2);
            assert!(line.contains("RFC 3339 in UTC or its beginning"), "{time}: {line}");
        }
    }
    for time in ["2026", "2026-01-31", "2026-01-31T10", "2026-01-31T10:00:00.25Z"] {
        crate::binary::succeed(&[&export[..], &["--from", time]].concat());
    }
}

#[test]
fn places_and_files_of_the_wrong_kind_are_refused_with_the_right_one() {
    let bench = Bench::new();
    let table =
        bench.file("in.csv", b"alloy,P_W,v_mm_s,spot_um,t_um,T0_C\n316L,195,1083,100,20,80\n");
    let folder = bench.directory.path().join("folder");
    std::fs::create_dir(&folder).expect("created");
    let output = bench.directory.path().join("out.csv");
    let predict = |table: &Path, output: &Path, code| {
        refuse(&["predict", "--table", text(table), "--output", text(output)], code)
    };
    let line = predict(&table, &output, 3);
    assert!(line.contains("lacks the column h_um; it has alloy, P_W, v_mm_s, spot_um"), "{line}");
    let line = predict(&bench.file("image.csv", &[0x89, b'P', b'N', b'G']), &output, 3);
    assert!(line.contains("no text in UTF-8 (at byte 0)"), "{line}");
    let whole =
        bench.file("whole.csv", b"alloy,P_W,v_mm_s,spot_um,t_um,h_um,T0_C\n316L,195,1083,,,,\n");
    let line = predict(&whole, &folder, 2);
    assert!(line.contains("it is a directory; name a file"), "{line}");
    assert!(!output.exists());

    let scan = fixture();
    let design = ["design", text(&scan), "--alloy", "Ti64", "--model", text(&folder)];
    let line = refuse(&design, 3);
    assert!(
        line.contains("holds no manifest.json; name a folder that `microdiff train`"),
        "{line}"
    );
    let data = bench.directory.path().join("data");
    let line = refuse(&["serve", "--model", text(&folder), "--data-dir", text(&data)], 3);
    assert!(line.contains("holds no manifest.json"), "{line}");

    let map = ["map", "--alloy", "316L", "--layer-thickness", "40", "--hatch-spacing", "100"];
    let figure = bench.directory.path().join("map.svg");
    let line = refuse(&[&map[..], &["-o", text(&figure), "--design", text(&table)]].concat(), 3);
    assert!(line.contains("no answer of `microdiff design --json`"), "{line}");
    let part = bench.directory.path().join("part.png");
    let simulate = ["simulate", "--alloy", "316L", "--power", "200", "--speed", "900", "--hatch"];
    let rest =
        ["90", "--layer", "30", "--voxel-size", "5", "--shape", "16,16,16", "-o", text(&part)];
    let line = refuse(&[&simulate[..], &rest].concat(), 2);
    assert!(line.contains("neither .tif nor .tiff"), "{line}");
    assert!(!part.exists());
}
