//! The design question without a scan.

use crate::binary::{fixture, microdiff, refuse, succeed, succeed_json, text};
use serde_json::Value;
use std::path::Path;

const STEEL: [&str; 5] = ["design", "--alloy", "316L", "--machine", "EOS-M290"];
const HIGH: &str = "relative_density>=99.8,elongation>=10";
const MODEST: &str = "relative_density>=93,elongation>=10,p_keyhole<=0.1,p_balling<=0.2";

fn steel<'a>(target: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&STEEL[..], &["--target", target], more].concat()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("not a number: {value}"))
}

fn golden(name: &str, found: &str) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, found).expect("the golden is written");
    }
    let expected = std::fs::read_to_string(&golden).expect("the golden is there");
    assert_eq!(found, expected, "{name} changed; UPDATE_GOLDEN=1 if on purpose");
}

/// Every name in a document with the kind of its value; of a list, that of its first item.
fn shape(value: &Value, at: &str, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                shape(value, &format!("{at}.{name}"), lines);
            }
        }
        Value::Array(items) => match items.first() {
            Some(first) => shape(first, &format!("{at}[]"), lines),
            None => lines.push(format!("{at}: empty list")),
        },
        Value::Null => lines.push(format!("{at}: null")),
        Value::Bool(_) => lines.push(format!("{at}: true or false")),
        Value::Number(_) => lines.push(format!("{at}: number")),
        Value::String(_) => lines.push(format!("{at}: text")),
    }
}

#[test]
fn the_report_matches_its_golden_and_fits_a_terminal() {
    let report = succeed(&steel(HIGH, &["--top", "3"]));
    for line in report.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    golden("target-high.txt", &report);
}

#[test]
fn the_document_has_the_promised_shape() {
    let document = succeed_json(&steel(MODEST, &["--json", "--known", "layer_thickness=40"]));
    assert_eq!(document["schema"], "microdiff.target/1");
    let mut lines = Vec::new();
    shape(&document, "", &mut lines);
    golden("target-shape.txt", &(lines.join("\n") + "\n"));
    assert_eq!(
        (&document["outcome"], &document["calibrated"]),
        (&Value::from("reached"), &Value::from(false))
    );
    assert!(document["method"].as_str().expect("text").contains("not a posterior"));
    assert_eq!(document["request"]["known"]["layer_thickness_um"], 40.0);
}

#[test]
fn what_is_printed_of_a_setting_is_what_predict_says_of_it() {
    let document = succeed_json(&steel(MODEST, &["--json", "--top", "3", "--seed", "4"]));
    let candidates = document["candidates"].as_array().expect("a list");
    assert_eq!(candidates.len(), 3);
    for candidate in candidates {
        assert!(number(&candidate["probability"]) >= 0.9, "{candidate}");
        let of = |name: &str| candidate["parameters"][name].to_string();
        let [power, speed, layer, hatch] =
            ["laser_power_w", "scan_speed_mm_s", "layer_thickness_um", "hatch_spacing_um"].map(of);
        let again = succeed_json(&[
            "predict",
            "--alloy",
            "316L",
            "--machine",
            "EOS-M290",
            "--laser-power",
            &power,
            "--scan-speed",
            &speed,
            "--layer-thickness",
            &layer,
            "--hatch-spacing",
            &hatch,
            "--seed",
            "4",
            "--json",
        ]);
        assert_eq!(again["prediction"], candidate["prediction"]);
        assert!(number(&again["prediction"]["p_keyhole"]) <= 0.1);
        assert!(number(&again["prediction"]["p_balling"]) <= 0.2);
    }
}

#[test]
fn a_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let ask = |threads: &str, seed: &str| {
        let args = steel(MODEST, &["--json", "--seed", seed]);
        let output = microdiff()
            .env("RAYON_NUM_THREADS", threads)
            .args(args)
            .output()
            .expect("the binary starts");
        String::from_utf8(output.stdout).expect("text")
    };
    let answer = ask("1", "5");
    assert!(answer == ask("3", "5") && answer.contains("\"candidates\""));
    assert_ne!(answer, ask("2", "6"));
}

#[test]
fn what_cannot_be_had_says_what_binds_and_what_comes_closest() {
    let report = succeed(&steel("relative_density>=99,elongation>=95", &[]));
    assert!(report.contains("OUT OF REACH"), "{report}");
    let line = report.lines().find(|line| line.contains("binds")).expect("a bound binds");
    assert!(line.contains("elongation >= 95 %"), "{report}");
    assert!(report.contains("Closest    ") && !report.contains("alone:"), "{report}");
    let document = succeed_json(&steel("relative_density>=99,elongation>=95", &["--json"]));
    assert_eq!(document["outcome"], "out_of_reach");
    assert_eq!(document["candidates"], Value::Array(Vec::new()));
    assert!(number(&document["best"]["parameters"]["laser_power_w"]) > 0.0);
    let bounds = &document["bounds"];
    assert_eq!(
        (&bounds[0]["binds"], &bounds[1]["binds"]),
        (&Value::from(false), &Value::from(true))
    );
}

#[test]
fn a_defect_nobody_asked_about_is_told_and_can_be_ruled_out() {
    let deep = "depth>=200";
    let report = succeed(&steel(deep, &["--top", "1"]));
    let told = "Setting 1: keyhole pores are likelier than not; p_keyhole<=0.5 in the target";
    assert!(report.contains(told), "{report}");
    let asked = format!("{deep},p_keyhole<=0.5");
    assert!(!succeed(&steel(&asked, &[])).contains("keyhole pores are likelier"));
}

#[test]
fn other_processes_are_marked_and_come_from_their_machine() {
    let beam = ["design", "--alloy", "Ti64", "--machine", "Arcam-Q20", "--target"];
    let asked = [&beam[..], &["relative_density>=90"]].concat();
    let report = succeed(&asked);
    assert!(report.contains("UNVALIDATED") && report.contains(", ebm, Arcam-Q20"), "{report}");
    assert!(!report.contains("law was fitted"), "{report}");
    let document = succeed_json(&[&asked[..], &["--json"]].concat());
    assert_eq!(document["validity"], "unvalidated");
    assert!(document["notes"].to_string().contains("Balling is not predicted"), "{document}");
    let line = refuse(&[&beam[..], &["relative_density>=90,p_balling<=0.3"]].concat(), 2);
    assert!(line.contains("p_balling: it is not predicted for ebm"), "{line}");
    assert_eq!(document["fitted_tracks"], Value::Null);
    assert_eq!(document["best"]["evidence"]["support"], "unvalidated");
    let line = refuse(&[&asked[..], &["--process", "lpbf"]].concat(), 2);
    assert!(line.contains("Arcam-Q20 runs ebm, not lpbf"), "{line}");
    let aluminium = ["design", "--alloy", "AlSi10Mg", "--target", "relative_density>=90"];
    let report = succeed(&aluminium);
    assert!(report.contains("UNVALIDATED") && report.contains("0 of them of AlSi10Mg"), "{report}");
}

#[test]
fn bad_targets_are_refused_in_one_line_that_helps() {
    for (target, told) in [
        ("relative_densty>=99", "known: width, depth, relative_density"),
        ("relative_density>=NaN", "outside 40 to 100 %"),
        ("relative_density>=inf", "outside 40 to 100 %"),
        ("elongation>=-3", "outside 0 to 100 %"),
        ("relative_density>=0.998", "outside 40 to 100 %"),
        ("relative_density=99", "name>=value"),
        ("elongation>=", "is no number"),
        ("", "empty"),
        ("yield>=500,yield<=400", "at least 500 and at most 400"),
    ] {
        let line = refuse(&steel(target, &[]), 2);
        assert!(line.contains(told), "{target}: {line}");
    }
    let line = refuse(&steel(HIGH, &["--known", "layer_thickness=300"]), 2);
    assert!(line.contains("layer_thickness 300 um is outside"), "{line}");
    let line = refuse(&steel(HIGH, &["--spot", "140"]), 2);
    assert!(line.contains("a spot of 140 um"), "{line}");
    assert!(refuse(&steel(HIGH, &["--top", "0"]), 2).contains("outside 1 to 50"));
    assert!(refuse(&steel(HIGH, &["--map", "map.pdf"]), 2).contains("neither .svg nor .png"));
    assert!(refuse(&["design", "--target", HIGH], 2).contains("--alloy"));
}

#[test]
fn a_target_stands_by_itself() {
    let scan = fixture();
    for with in [
        &[text(&scan)][..],
        &["--model", "somewhere"],
        &["--observation", "seen.csv", "--model", "somewhere", "--output", "draws.csv"],
        &["--draws", "draws.csv"],
        &["--samples", "300"],
    ] {
        assert!(refuse(&steel(HIGH, with), 2).contains("cannot be used with"));
    }
    for only in [["--map", "map.svg"], ["--top", "3"]] {
        let line = refuse(&[&["design", text(&scan), "--alloy", "316L"], &only[..]].concat(), 2);
        assert!(line.contains(only[0]) && line.contains("cannot be used with"), "{line}");
    }
}

#[test]
fn the_map_shows_the_settings_and_where_the_target_is_kept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let map = directory.path().join("map.svg");
    succeed(&steel(MODEST, &["--map", text(&map), "--top", "4"]));
    let svg = std::fs::read_to_string(&map).expect("written");
    for part in [
        "Process map of 316L, lpbf, EOS-M290",
        "not a posterior, not calibrated",
        "every bound is kept",
        "probability 0.90",
        "setting, by rank",
        ">4</text>",
    ] {
        assert!(svg.contains(part), "{part}");
    }
    assert!(!svg.contains("posterior of the scan"));
}
