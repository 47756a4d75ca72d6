use crate::binary::{fixture, microdiff, succeed, succeed_json, text};
use serde_json::Value;

const PARAMETERS: [&str; 5] = [
    "laser_power_w",
    "scan_speed_mm_s",
    "layer_thickness_um",
    "hatch_spacing_um",
    "bed_temperature_c",
];

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("not a number: {value}"))
}

/// The document without what differs between two runs of the same question.
fn without_timings(mut document: Value) -> Value {
    document["timings_ms"] = Value::Null;
    document
}

#[test]
fn the_document_is_complete_and_ordered() {
    let scan = fixture();
    let document = succeed_json(&[
        "design",
        text(&scan),
        "--alloy",
        "Ti-6Al-4V",
        "--samples",
        "512",
        "--json",
    ]);
    assert_eq!(document["schema"], "microdiff.design/1");
    assert_eq!(document["scan"]["sha256"].as_str().expect("text").len(), 64);
    assert_eq!(document["scan"]["shape"].as_array().expect("a list").len(), 3);
    assert!(number(&document["scan"]["voxel_size_um"]) > 0.0);
    assert!(number(&document["analysis"]["porosity"]) > 0.0);
    for parameter in PARAMETERS {
        let marginal = &document["posterior"][parameter];
        let levels = ["p05", "p25", "median", "p75", "p95"].map(|level| number(&marginal[level]));
        assert!(levels.windows(2).all(|pair| pair[0] <= pair[1]), "{parameter}: {levels:?}");
    }
    let defects = ["dense", "lack_of_fusion", "keyhole", "balling"]
        .map(|class| number(&document["defects"][class]));
    assert!((defects.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{defects:?}");
    assert!(defects[1] > 0.5, "the bundled scan lacks fusion: {defects:?}");
    assert!(document["out_of_distribution"]["flagged"].is_boolean());
    assert_eq!(document["model"]["digest"].as_str().expect("text").len(), 64);
    assert!(number(&document["timings_ms"]["sample"]) > 0.0);
    assert_eq!(document["seed"], 0);
    assert!(document["basis"].as_str().expect("text").contains("simulator"));
}

#[test]
fn the_same_question_gives_the_same_answer_on_any_number_of_threads() {
    let scan = fixture();
    let ask = |threads: &str, seed: &str| {
        let output = microdiff()
            .env("RAYON_NUM_THREADS", threads)
            .args(["design", text(&scan), "--alloy", "Ti-6Al-4V", "--samples", "300"])
            .args(["--seed", seed, "--json"])
            .output()
            .expect("it starts");
        without_timings(serde_json::from_slice(&output.stdout).expect("JSON"))
    };
    let answer = ask("1", "5");
    assert_eq!(answer, ask("2", "5"));
    assert_ne!(answer["posterior"], ask("2", "6")["posterior"]);
}

#[test]
fn known_parameters_are_returned_as_given() {
    let scan = fixture();
    let document = succeed_json(&[
        "design",
        text(&scan),
        "--alloy",
        "Ti-6Al-4V",
        "--known",
        "layer_thickness=60,hatch_spacing=150",
        "--samples",
        "256",
        "--json",
    ]);
    for (parameter, value) in [("layer_thickness_um", 60.0), ("hatch_spacing_um", 150.0)] {
        let marginal = &document["posterior"][parameter];
        assert_eq!((number(&marginal["p05"]), number(&marginal["p95"])), (value, value));
        assert_eq!(number(&document["request"]["known"][parameter]), value);
    }
}

#[test]
fn draws_are_written_with_their_units_and_inside_the_prior() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let draws = directory.path().join("draws.csv");
    let scan = fixture();
    succeed(&[
        "design",
        text(&scan),
        "--alloy",
        "Ti-6Al-4V",
        "--samples",
        "200",
        "--draws",
        text(&draws),
    ]);
    let csv = std::fs::read_to_string(&draws).expect("the draws are there");
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some(PARAMETERS.join(",").as_str()));
    let power: Vec<f64> =
        lines.map(|line| line.split(',').next().expect("a field").parse().expect("W")).collect();
    assert_eq!(power.len(), 200);
    assert!(power.iter().all(|power| (60.0..=400.0).contains(power)));
}

#[test]
fn a_link_is_followed_not_replaced() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let target = directory.path().join("target.csv");
    std::fs::write(&target, "old").expect("written");
    let link = directory.path().join("link.csv");
    std::os::unix::fs::symlink(&target, &link).expect("linked");
    let scan = fixture();
    succeed(&["design", text(&scan), "--alloy", "316L", "--samples", "16", "--draws", text(&link)]);
    assert!(link.is_symlink());
    assert!(std::fs::read_to_string(&target).expect("readable").starts_with("laser_power_w"));
}

#[test]
fn a_voxel_size_against_the_file_is_said_to_be() {
    let scan = fixture();
    let asked = ["analyze", text(&scan), "--voxel-size", "2"];
    assert!(succeed(&asked).contains("given: 2 um, although the file says 6 um"));
}

/// Solid metal and scanner noise, nothing else.
fn dense_scan(path: &std::path::Path) {
    let file = std::fs::File::create(path).expect("created");
    let mut encoder = tiff::encoder::TiffEncoder::new(file).expect("a TIFF");
    let mut state = 1u64;
    let mut noise = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1u32 << 31) - 0.5
    };
    for _ in 0..80 {
        let grey: Vec<u16> = (0..6400)
            .map(|_| (40_000.0 + 4_000.0 * (noise() + noise() + noise())) as u16)
            .collect();
        encoder.write_image::<tiff::encoder::colortype::Gray16>(80, 80, &grey).expect("a page");
    }
}

#[test]
fn a_dense_clean_scan_returns_the_prior_and_says_so() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("dense.tif");
    dense_scan(&path);
    let document = succeed_json(&[
        "design",
        text(&path),
        "--alloy",
        "Ti-6Al-4V",
        "--voxel-size",
        "5",
        "--samples",
        "2048",
        "--json",
    ]);
    assert_eq!(number(&document["analysis"]["porosity"]), 0.0);
    assert!(number(&document["defects"]["dense"]) > 0.95, "{}", document["defects"]);
    // Only settings that make pores are ruled out: fast ones, that lack fusion, above all.
    for (parameter, least) in [
        ("laser_power_w", 0.8),
        ("scan_speed_mm_s", 0.5),
        ("layer_thickness_um", 0.6),
        ("hatch_spacing_um", 0.8),
        ("bed_temperature_c", 0.95),
    ] {
        let width = |of: &str| {
            number(&document[of][parameter]["p95"]) - number(&document[of][parameter]["p05"])
        };
        let share = width("posterior") / width("prior");
        assert!((least..1.1).contains(&share), "{parameter} has {share} of the prior's width");
    }
    let notes = document["notes"].to_string();
    assert!(notes.contains("The posterior is the prior"), "{notes}");
}

#[test]
fn the_report_shows_each_marginal_against_its_prior() {
    let scan = fixture();
    let report = succeed(&["design", text(&scan), "--alloy", "Ti-6Al-4V", "--samples", "256"]);
    assert_eq!(report.matches("  scan  |").count(), 5, "{report}");
    assert_eq!(report.matches("  prior |").count(), 5, "{report}");
    assert!(report.contains("Out of distribution"), "{report}");
    assert!(report.contains("simulator"), "{report}");
}
