use crate::binary::{microdiff, refuse, simulate, text};
use std::path::Path;

const LACK_OF_FUSION: [&str; 12] = [
    "--power", "120", "--speed", "1800", "--hatch", "160", "--layer", "60", "--shape", "40,48,56",
    "--seed", "7",
];

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("the simulator wrote the file")
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut outputs = Vec::new();
    for threads in ["1", "2", "3"] {
        let path = directory.path().join(format!("part-{threads}.tif"));
        let mut args = vec!["simulate", "--alloy", "Ti-6Al-4V", "--voxel-size", "5"];
        args.extend(LACK_OF_FUSION);
        args.extend(["-o", text(&path)]);
        let status =
            microdiff().env("RAYON_NUM_THREADS", threads).args(&args).status().expect("it starts");
        assert!(status.success());
        outputs.push((bytes(&path), bytes(&path.with_extension("labels.tif"))));
    }
    assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn ground_truth_stands_beside_the_scan() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("part.tif");
    simulate(&path, &LACK_OF_FUSION);
    let truth: serde_json::Value =
        serde_json::from_slice(&bytes(&path.with_extension("truth.json"))).expect("JSON");
    assert_eq!(truth["schema"], "microdiff.truth/1");
    assert_eq!(truth["parameters"]["laser_power_w"], 120.0);
    assert_eq!(truth["parameters"]["hatch_spacing_um"], 160.0);
    assert_eq!(truth["defect_class"], "lack_of_fusion");
    assert!(truth["porosity"].as_f64().expect("a number") > 0.001);
}

#[test]
fn impossible_settings_are_refused_with_range_and_unit() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("part.tif");
    let output = microdiff()
        .args(["simulate", "--alloy", "Ti-6Al-4V", "--power", "9999", "--speed", "1200"])
        .args(["--hatch", "140", "--layer", "30", "--voxel-size", "5", "-o", text(&path)])
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("10 to 3000 W"), "{stderr}");
    assert!(!path.exists());
}

#[test]
fn a_directory_is_no_output_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut args = vec!["simulate", "--alloy", "Ti-6Al-4V", "--voxel-size", "5"];
    args.extend(LACK_OF_FUSION);
    let place = directory.path().join("folder");
    std::fs::create_dir(&place).expect("created");
    args.extend(["-o", text(&place)]);
    assert!(refuse(&args, 2).contains("not a file"));
    assert_eq!(std::fs::read_dir(directory.path()).expect("readable").count(), 1);
}

#[test]
fn nothing_is_left_where_the_output_cannot_be_written() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("missing/part.tif");
    let mut args = vec!["simulate", "--alloy", "Ti-6Al-4V", "--voxel-size", "5"];
    args.extend(LACK_OF_FUSION);
    args.extend(["-o", text(&path)]);
    let line = refuse(&args, 2);
    assert!(line.contains("cannot write"), "{line}");
    assert_eq!(std::fs::read_dir(directory.path()).expect("readable").count(), 0);
}
