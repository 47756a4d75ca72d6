//! Alerting and recording rules out of the files that Prometheus and its operator read.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{File, KitError};

/// The alert that always fires while rules are evaluated and alerts delivered: a proof of life.
pub const WATCHDOG: &str = "Watchdog";

/// Where the rule files lie within the kit.
pub const RULES_FOLDER: &str = "prometheus/rules/";
/// The same rules as an object for the Prometheus operator.
const MANIFEST: &str = "kubernetes/base/prometheusrule.yaml";

/// One rule with where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The file within the kit.
    pub file: String,
    /// The group it belongs to.
    pub group: String,
    /// The alert's name; `None` for a recording rule.
    pub alert: Option<String>,
    /// The recorded metric; `None` for an alert.
    pub record: Option<String>,
    /// The PromQL expression.
    pub expression: String,
    /// How long an alert waits, as Prometheus writes durations; `None` fires at once.
    pub wait: Option<String>,
    /// Labels the rule adds.
    pub labels: BTreeMap<String, String>,
    /// Annotations of an alert.
    pub annotations: BTreeMap<String, String>,
}

impl Rule {
    /// The alert's or the recorded metric's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.alert.as_deref().or(self.record.as_deref()).unwrap_or("")
    }
}

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Manifest {
    spec: RuleFile,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    rules: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    alert: Option<String>,
    record: Option<String>,
    expr: String,
    #[serde(rename = "for")]
    wait: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The rules of every file under `prometheus/rules/`.
///
/// # Errors
/// [`KitError::Unreadable`] naming the file that is not a rule file.
pub fn rules(files: &[File]) -> Result<Vec<Rule>, KitError> {
    let mut rules = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with(RULES_FOLDER)) {
        let read: RuleFile = parse(file)?;
        rules.extend(flat(file, read));
    }
    Ok(rules)
}

/// The rules of the `PrometheusRule` in the base of `kubernetes/`; none where it is missing.
///
/// # Errors
/// [`KitError::Unreadable`] when it is there and no `PrometheusRule`.
pub fn manifest_rules(files: &[File]) -> Result<Vec<Rule>, KitError> {
    let Some(file) = files.iter().find(|file| file.path == MANIFEST) else {
        return Ok(Vec::new());
    };
    let read: Manifest = parse(file)?;
    Ok(flat(file, read.spec).collect())
}

pub(crate) fn parse<T: for<'de> Deserialize<'de>>(file: &File) -> Result<T, KitError> {
    serde_saphyr::from_str(file.text()?).map_err(|error| KitError::Unreadable {
        file: file.path.clone(),
        reason: error.to_string().lines().next().unwrap_or_default().to_owned(),
    })
}

fn flat(file: &File, read: RuleFile) -> impl Iterator<Item = Rule> {
    let path = file.path.clone();
    let of_group = move |group: Group| {
        let (path, name) = (path.clone(), group.name);
        group.rules.into_iter().map(move |entry| Rule {
            file: path.clone(),
            group: name.clone(),
            alert: entry.alert,
            record: entry.record,
            expression: entry.expr.trim().to_owned(),
            wait: entry.wait,
            labels: entry.labels,
            annotations: entry.annotations,
        })
    };
    read.groups.into_iter().flat_map(of_group)
}
