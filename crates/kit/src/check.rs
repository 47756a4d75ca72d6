//! The whole kit against the catalogue.

use crate::expression::examine;
use crate::{Catalogue, File, KitError, Rule, dashboards, manifest_rules, rules};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file within the kit.
    pub file: String,
    /// The rule or panel.
    pub place: String,
    /// What is wrong there.
    pub fault: String,
}

/// What was looked at and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Alerts examined.
    pub alerts: usize,
    /// Recording rules examined.
    pub recordings: usize,
    /// Panels, annotations and variables examined.
    pub panels: usize,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// What every alert must carry.
const ANNOTATIONS: [&str; 4] = ["summary", "description", "runbook_url", "dashboard_url"];
pub(crate) const SEVERITIES: [&str; 4] = ["critical", "warning", "info", "none"];
/// What every runbook has.
const SECTIONS: [&str; 4] = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"];

/// Examines rules and dashboards: every expression parses; every metric, label and label value in it
/// is one that the service emits; every alert has its labels, annotations and runbook.
///
/// # Errors
/// [`KitError`] when a file cannot be read as what it is.
pub fn check(files: &[File], mut catalogue: Catalogue) -> Result<Report, KitError> {
    let mut report = Report::default();
    let rules = rules(files)?;
    // Recorded metrics first: alerts and dashboards use them.
    for rule in rules.iter().filter(|rule| rule.record.is_some()) {
        report.recordings += 1;
        let examined = examine(&rule.expression, &catalogue);
        report.add(&rule.file, rule.name(), examined.faults);
        catalogue.record(rule.name(), examined.labels);
    }
    for rule in rules.iter().filter(|rule| rule.alert.is_some()) {
        report.alerts += 1;
        report.add(&rule.file, rule.name(), faults_of_alert(rule, &catalogue));
        report.add(&rule.file, rule.name(), incomplete(rule, files));
    }
    for rule in manifest_rules(files)? {
        let faults = match rule.alert {
            Some(_) => faults_of_alert(&rule, &catalogue),
            None => examine(&rule.expression, &catalogue).faults,
        };
        report.add(&rule.file, rule.name(), faults);
    }
    let alerts: Vec<&str> = rules.iter().filter_map(|rule| rule.alert.as_deref()).collect();
    catalogue.record_alerts(&alerts);
    for panel in dashboards(files)? {
        report.panels += 1;
        if panel.expressions.is_empty() {
            report.add(&panel.file, &panel.title, vec!["draws nothing".to_owned()]);
        }
        for expression in &panel.expressions {
            report.add(&panel.file, &panel.title, examine(expression, &catalogue).faults);
        }
    }
    for file in files.iter().filter(|file| file.path.starts_with("runbooks/")) {
        report.add(&file.path, "runbook", faults_of_runbook(file, &alerts)?);
    }
    Ok(report)
}

/// What is wrong with an alert's expression, and with what its texts take from it.
fn faults_of_alert(rule: &Rule, catalogue: &Catalogue) -> Vec<String> {
    let mut examined = examine(&rule.expression, catalogue);
    for (annotation, text) in &rule.annotations {
        for label in labels_named(text) {
            if !examined.labels.contains_key(label) && !rule.labels.contains_key(label) {
                let fault = format!("its {annotation} shows `{label}`, which it does not have");
                examined.faults.push(fault);
            }
        }
    }
    examined.faults
}

/// The labels that a template shows: `{{ $labels.instance }}`.
fn labels_named(text: &str) -> impl Iterator<Item = &str> {
    text.split("$labels.").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

fn incomplete(rule: &Rule, files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for annotation in ANNOTATIONS {
        if rule.annotations.get(annotation).is_none_or(String::is_empty) {
            faults.push(format!("has no {annotation}"));
        }
    }
    let severity = rule.labels.get("severity").map_or("", String::as_str);
    if !SEVERITIES.contains(&severity) {
        faults.push(format!("its severity `{severity}` is none of {}", SEVERITIES.join(", ")));
    }
    if !rule.labels.contains_key("team") {
        faults.push("has no team".to_owned());
    }
    let runbook = format!("runbooks/{}.md", rule.name());
    if !files.iter().any(|file| file.path == runbook) {
        faults.push(format!("has no runbook {runbook}"));
    }
    let url = rule.annotations.get("runbook_url").map_or("", String::as_str);
    if !url.is_empty() && !url.ends_with(&format!("/{}", rule.name())) {
        faults.push("its runbook_url does not end in its name".to_owned());
    }
    faults
}

fn faults_of_runbook(file: &File, alerts: &[&str]) -> Result<Vec<String>, KitError> {
    let mut faults = Vec::new();
    let name = file.path.trim_start_matches("runbooks/").trim_end_matches(".md");
    if !alerts.contains(&name) {
        faults.push("no alert has its name".to_owned());
    }
    let text = file.text()?;
    for section in SECTIONS {
        if !text.lines().any(|line| line == section) {
            faults.push(format!("has no section `{section}`"));
        }
    }
    Ok(faults)
}

impl Report {
    fn add(&mut self, file: &str, place: &str, faults: Vec<String>) {
        self.findings.extend(faults.into_iter().map(|fault| Finding {
            file: file.to_owned(),
            place: place.to_owned(),
            fault,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_template() {
        let text = "{{ $labels.check }} of {{$labels.instance}} is {{ $value }}, $labels.le";
        assert_eq!(labels_named(text).collect::<Vec<_>>(), ["check", "instance", "le"]);
    }
}
