//! The kit is whole: what is embedded is what the repository holds, and nothing an alert needs is
//! missing.

use microdiff_kit::{KitError, Occupied, dashboards, export, files, manifest_rules, read, rules};
use std::path::Path;

fn deploy() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

#[test]
fn what_is_exported_is_what_the_repository_holds() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("new/kit");
    let count = export(&target, Occupied::Refuse).unwrap();
    let exported = read(&target).unwrap();
    assert_eq!(count, exported.len());
    let held = read(&deploy()).unwrap();
    assert_eq!(exported.len(), held.len());
    for (one, other) in exported.iter().zip(&held) {
        assert_eq!((&one.path, &one.bytes), (&other.path, &other.bytes));
    }
    let runbooks = deploy().join("../docs/runbooks");
    let on_disk = std::fs::read_dir(runbooks).unwrap().count();
    let embedded = files().iter().filter(|file| file.path.starts_with("runbooks/")).count();
    assert_eq!(embedded, on_disk);
}

#[test]
fn nothing_is_written_where_something_is_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    let (own, rule) =
        (folder.path().join("own.txt"), folder.path().join("prometheus/rules/slo.yml"));
    std::fs::write(&own, "mine").unwrap();
    let refused = export(folder.path(), Occupied::Refuse);
    assert!(matches!(refused, Err(KitError::Occupied { .. })), "{refused:?}");
    assert!(!rule.exists());
    export(folder.path(), Occupied::Overwrite).unwrap();
    std::fs::write(&rule, "edited").unwrap();
    export(folder.path(), Occupied::Overwrite).unwrap();
    assert!(std::fs::read_to_string(&rule).unwrap().contains("AvailabilityBudgetBurn"));
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "mine");
}

/// The names that dashboards and rules of the original guide used.
#[test]
fn the_names_of_the_contract_are_kept() {
    let files = files();
    let rules = rules(&files).unwrap();
    let waits = |name: &str| -> Vec<&str> {
        let named = rules.iter().filter(|rule| rule.alert.as_deref() == Some(name));
        named.map(|rule| rule.wait.as_deref().unwrap_or("none")).collect()
    };
    assert_eq!(waits("HighErrorRate"), ["5m"]);
    assert_eq!(waits("ModelInferenceLatency"), ["2m"]);
    assert_eq!(waits("GPUMemoryHigh"), ["10m"]);
    assert_eq!(waits("ServiceDown"), ["1m", "1m"]);
    let panels = dashboards(&files).unwrap();
    for title in
        ["Request Rate", "Error Rate", "Response Time", "GPU Memory Usage", "Model Accuracy"]
    {
        assert!(panels.iter().any(|panel| panel.title == title), "{title}");
    }
    for group in [
        "availability",
        "latency",
        "errors",
        "gpu",
        "quality",
        "queue",
        "storage",
        "telemetry",
        "slo",
    ] {
        let full = format!("microdiff.{group}");
        assert!(rules.iter().any(|rule| rule.group == full && rule.alert.is_some()), "{group}");
    }
}

#[test]
fn a_recorded_metric_says_its_level_metric_and_operation() {
    for rule in rules(&files()).unwrap().iter().filter(|rule| rule.record.is_some()) {
        let parts: Vec<&str> = rule.name().split(':').collect();
        let [level, metric, operation] = parts[..] else { panic!("{}", rule.name()) };
        assert!(metric.starts_with("microdiff_"), "{metric}");
        assert!(!level.is_empty() && !operation.is_empty(), "{}", rule.name());
    }
}

#[test]
fn the_manifest_has_the_rules_of_the_rule_files() {
    let files = files();
    let mut expected = rules(&files).unwrap();
    let mut manifest = manifest_rules(&files).unwrap();
    for rule in expected.iter_mut().chain(&mut manifest) {
        rule.file.clear();
    }
    assert_eq!(manifest, expected);
}

#[test]
fn every_alert_is_tested_firing_silent_and_absent() {
    let files = files();
    for rule in rules(&files).unwrap().iter().filter(|rule| rule.alert.is_some()) {
        let test = rule.file.replace("/rules/", "/tests/");
        let file = files.iter().find(|file| file.path == test).unwrap_or_else(|| panic!("{test}"));
        let text = file.text().unwrap();
        let cases: Vec<&str> = text.split("\n  - name: ").skip(1).collect();
        let named = format!("alertname: {}\n", rule.name());
        let with =
            |title: &str| cases.iter().any(|case| case.starts_with(title) && case.contains(&named));
        assert!(with(&format!("{} fires when", rule.name())), "{} never fires", rule.name());
        assert!(with("all is well"), "{} has no silent case", rule.name());
        assert!(with("there are no series"), "{} has no absent case", rule.name());
    }
}
