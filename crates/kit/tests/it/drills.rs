//! Every alert has a drill or a reason, and the guide and the runbooks say which.

use microdiff_kit::{DRILLS, UNDRILLED, Undrilled, files, rules};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn alerts() -> BTreeSet<String> {
    rules(&files()).unwrap().into_iter().filter_map(|rule| rule.alert).collect()
}

fn drilled() -> BTreeSet<String> {
    DRILLS.iter().flat_map(|drill| drill.expects).map(|alert| (*alert).to_owned()).collect()
}

#[test]
fn every_alert_is_in_a_drill_or_has_a_reason_and_not_both() {
    let reasons: BTreeSet<String> = UNDRILLED.iter().map(|one| one.alert.to_owned()).collect();
    assert_eq!(reasons.len(), UNDRILLED.len(), "an alert has two reasons");
    let both: Vec<_> = drilled().intersection(&reasons).cloned().collect();
    assert!(both.is_empty(), "in a drill and with a reason not to be: {both:?}");
    let told: BTreeSet<String> = drilled().union(&reasons).cloned().collect();
    let neither: Vec<_> = alerts().difference(&told).cloned().collect();
    assert!(neither.is_empty(), "neither in a drill nor with a reason: {neither:?}");
    let unknown: Vec<_> = told.difference(&alerts()).cloned().collect();
    assert!(unknown.is_empty(), "no rule has these: {unknown:?}");
}

#[test]
fn names_and_faults_are_distinct() {
    let names: BTreeSet<&str> = DRILLS.iter().map(|drill| drill.name).collect();
    assert_eq!(names.len(), DRILLS.len());
    for (number, drill) in DRILLS.iter().enumerate() {
        assert!(DRILLS[..number].iter().all(|other| other.fault != drill.fault), "{}", drill.name);
        assert!(!drill.expects.is_empty(), "{}", drill.name);
    }
    assert!(UNDRILLED.iter().all(|one| one.reason.len() > 20));
}

fn docs(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(path)
}

/// Holds a page against what it should say; `UPDATE_GOLDEN=1` writes it.
fn hold(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, expected).unwrap();
    }
    let held = std::fs::read_to_string(path).unwrap();
    assert_eq!(held, expected, "{} is old; UPDATE_GOLDEN=1 writes it anew", path.display());
}

fn linked(alert: &str) -> String {
    format!("[{alert}](../runbooks/{alert}.md)")
}

fn tables() -> String {
    let mut text =
        "| drill | what is injected | what must fire, and clear |\n|---|---|---|\n".to_owned();
    for drill in DRILLS {
        let alerts: Vec<String> = drill.expects.iter().map(|alert| linked(alert)).collect();
        writeln!(text, "| `{}` | {} | {} |", drill.name, drill.injects, alerts.join(", ")).unwrap();
    }
    text += "\n## Alerts without a drill\n\n| alert | why |\n|---|---|\n";
    for undrilled in UNDRILLED {
        writeln!(text, "| {} | {} |", linked(undrilled.alert), undrilled.reason).unwrap();
    }
    text
}

#[test]
fn the_guide_has_the_tables() {
    let path = docs("guide/drills.md");
    let held = std::fs::read_to_string(&path).unwrap();
    let heading = "## The drills\n\n";
    let (prose, _) = held.split_once(heading).expect("the guide has a section for the drills");
    hold(&path, &format!("{prose}{heading}{}", tables()));
}

/// What a runbook ends with.
fn drill_line(alert: &str) -> String {
    if let Some(undrilled) = Undrilled::of(alert) {
        return format!("No drill: {}.\n", undrilled.reason);
    }
    let of = DRILLS.iter().filter(|drill| drill.expects.contains(&alert));
    let commands: Vec<String> =
        of.map(|drill| format!("`microdiff drill {}`", drill.name)).collect();
    format!("Drill: {}.\n", commands.join(", "))
}

#[test]
fn each_runbook_ends_with_its_drill_or_the_reason_for_none() {
    for alert in alerts() {
        let path = docs("runbooks").join(format!("{alert}.md"));
        let held = std::fs::read_to_string(&path).unwrap();
        let end = ["\nDrill: ", "\nNo drill: "].iter().find_map(|word| held.rfind(word));
        let body = held[..end.unwrap_or(held.len())].trim_end();
        hold(&path, &format!("{body}\n\n{}", drill_line(&alert)));
    }
}
