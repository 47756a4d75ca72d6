//! A design is served, found in the flight recorder and done again.

use crate::binary::{fixture, microdiff, refuse, succeed, text};
use crate::serve::data_dir;
use crate::service::Service;
use serde_json::Value;
use std::path::{Path, PathBuf};

const FIELDS: [(&str, &str); 6] = [
    ("alloy", "Ti-6Al-4V"),
    ("samples", "200"),
    ("steps", "12"),
    ("seed", "18446744073709551615"),
    ("known", "layer_thickness=60"),
    ("spot_um", "85"),
];

fn id(record: &Value) -> &str {
    record["id"].as_str().expect("an id")
}

fn flights(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data).expect("the data directory is there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let named = |path: &PathBuf| text(path).contains("/flight-");
    paths.filter(named).collect()
}

#[test]
fn a_served_design_is_reproduced_to_the_last_bit() {
    let data = data_dir();
    let config = data.path().join("config.toml");
    std::fs::write(&config, "[jobs]\nkeep_scans = true\n").expect("written");
    let mut service = Service::start(data.path(), &["--config", text(&config)]);
    let served = service.design("/v1/designs?wait=100", "x-request-id: asked-1\r\n", &FIELDS);
    assert_eq!(served.status, 200, "{}", served.body);
    let served = served.json();
    let record = service.get("admin", "/flight/asked-1").json();
    assert_eq!(record["id"], served["id"]);
    let draws = served["draws_sha256"].as_str().expect("a digest");
    assert_eq!(record["details"]["draws_sha256"], draws);

    // From the running service, on another number of threads, with the scan it kept.
    let admin = format!("http://{}", service.ready["admin"].as_str().expect("an address"));
    let output = microdiff()
        .env("RAYON_NUM_THREADS", "1")
        .args(["replay", id(&record), "--admin", &admin, "--data-dir", text(data.path())])
        .output()
        .expect("it starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("matched") && told.matches(draws).count() == 2, "{told}");
    let scan = fixture();
    let replay =
        |id: &str, code| refuse(&["replay", id, "--admin", &admin, "--scan", text(&scan)], code);
    assert!(replay("nobody", 3).contains("404"));
    assert!(replay("../loglevel", 2).contains("letters"));

    // From the file that the service leaves when it stops.
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
    let [file] = &flights(data.path())[..] else { panic!("one file is written") };
    let told = succeed(&["replay", "asked-1", "--file", text(file), "--scan", text(&scan)]);
    assert!(told.contains("matched"), "{told}");
    tampered(file, id(&record), &scan);
}

/// A record that says something else than what happened is found out, whatever it is.
fn tampered(file: &Path, id: &str, scan: &Path) {
    let content = std::fs::read_to_string(file).expect("readable");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("flight.json");
    let replay = |from: &str, to: &str| {
        assert!(content.contains(from), "{from} is not in {content}");
        std::fs::write(&path, content.replace(from, to)).expect("written");
        refuse(&["replay", id, "--file", text(&path), "--scan", text(scan)], 3)
    };
    let line = replay("\"seed\": 18446744073709551615", "\"seed\": 5");
    assert!(line.contains("digests of the draws differ: recorded"), "{line}");
    let record: Value = serde_json::from_str(&content).expect("JSON");
    let details = &record["records"][0]["details"];
    for digest in ["scan_sha256", "model_digest"] {
        let recorded = details[digest].as_str().expect("a digest");
        let line = replay(recorded, &"0".repeat(64));
        assert!(line.contains("differ: recorded 0") && line.contains(&"0".repeat(64)), "{line}");
    }
    let line = replay("\"details\": {", "\"details\": null, \"other\": {");
    assert!(line.contains("not of a design"), "{line}");
}

#[test]
fn a_refused_scan_is_refused_again_for_the_same_reason() {
    let data = data_dir();
    let service = Service::start(data.path(), &[]);
    let fields = [("alloy", "316L"), ("voxel_size_um", "5")];
    let bad = b"no scan at all";
    let answer = service.post_scan("/v1/designs?wait=100", "", bad, &fields);
    assert_eq!(answer.status, 422, "{}", answer.body);
    let list = service.get("admin", "/flight?class=refused").json();
    let record = &list["records"][0];
    assert_eq!(record["status"], "failed");
    let scan = data.path().join("scan.tif");
    std::fs::write(&scan, bad).expect("written");
    let admin = format!("http://{}", service.ready["admin"].as_str().expect("an address"));
    let args = ["replay", id(record), "--admin", &admin, "--scan", text(&scan)];
    let told = succeed(&args);
    let code = record["error_type"].as_str().expect("a code");
    assert!(told.contains(&format!("failed again as {code}")), "{told}");
    std::fs::write(&scan, b"another").expect("written");
    assert!(refuse(&args, 3).contains("scan"));
}
