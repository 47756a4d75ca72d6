use crate::binary::{fixture, simulate, succeed, succeed_json, text};

#[test]
fn the_measured_porosity_follows_the_true_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("part.tif");
    simulate(
        &path,
        &[
            "--power", "150", "--speed", "1800", "--hatch", "150", "--layer", "60", "--shape",
            "72,72,72", "--seed", "3",
        ],
    );
    let truth: serde_json::Value = serde_json::from_slice(
        &std::fs::read(path.with_extension("truth.json")).expect("truth beside the scan"),
    )
    .expect("JSON");
    let analysis = succeed_json(&["analyze", text(&path), "--json"]);
    let measured = analysis["porosity"].as_f64().expect("a number");
    let real = truth["porosity"].as_f64().expect("a number");
    assert!((measured / real).ln().abs() < 0.7, "measured {measured}, true {real}");
    assert!(!analysis["pores"].as_array().expect("a list of pores").is_empty());
}

#[test]
fn a_dense_noisy_scan_is_not_porous() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("dense.tif");
    simulate(
        &path,
        &[
            "--power", "280", "--speed", "1200", "--hatch", "80", "--layer", "30", "--shape",
            "64,64,64", "--seed", "11",
        ],
    );
    let analysis = succeed_json(&["analyze", text(&path), "--json"]);
    assert!(analysis["porosity"].as_f64().expect("a number") < 0.003, "{}", analysis["porosity"]);
}

#[test]
fn the_report_names_porosity_and_its_sensitivity() {
    let report = succeed(&["analyze", text(&fixture())]);
    assert!(report.contains("Porosity"), "{report}");
    assert!(report.contains("as the threshold moves"), "{report}");
}
