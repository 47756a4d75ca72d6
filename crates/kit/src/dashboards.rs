//! Panels and their queries out of Grafana's dashboard models.

use serde_json::Value;

use crate::{File, KitError};

/// Where the dashboards lie within the kit.
const FOLDER: &str = "grafana/dashboards/";
/// Durations that Grafana fills in, with one that stands in for them.
const DURATIONS: [(&str, &str); 4] =
    [("$__rate_interval", "5m"), ("$__interval", "1m"), ("$__range", "6h"), ("$__auto", "1m")];

/// A panel, or an annotation or variable with a query of its own.
#[derive(Debug, Clone)]
pub struct Panel {
    /// The file within the kit.
    pub file: String,
    /// The panel's title, or the name of an annotation or variable.
    pub title: String,
    /// Its description; empty for annotations and variables.
    pub description: String,
    /// The PromQL expressions it draws, with Grafana's durations filled in. Its own variables stay:
    /// `instance=~"$instance"`.
    pub expressions: Vec<String>,
    /// The values at which its colour turns.
    pub thresholds: Vec<Threshold>,
}

/// A value at which a panel's colour turns.
pub type Threshold = f64;

/// Everything in the files under `grafana/dashboards/` that asks Prometheus: panels, those in
/// collapsed rows too, annotations and query variables. Rows themselves are left out.
///
/// # Errors
/// [`KitError::Unreadable`] naming the file that is no dashboard.
pub fn dashboards(files: &[File]) -> Result<Vec<Panel>, KitError> {
    let mut panels = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with(FOLDER)) {
        let unreadable = |reason: String| KitError::Unreadable { file: file.path.clone(), reason };
        let model: Value =
            serde_json::from_str(file.text()?).map_err(|error| unreadable(error.to_string()))?;
        if !model["panels"].is_array() {
            return Err(unreadable("no panels".to_owned()));
        }
        drawn(&file.path, &model["panels"], &mut panels);
        let notes = entries(&model["annotations"]["list"]).filter(|note| note["expr"].is_string());
        panels.extend(notes.map(|note| asking(&file.path, note, text(&note["expr"]))));
        let variables = entries(&model["templating"]["list"]);
        panels.extend(variables.filter_map(|variable| {
            let query = variable["query"]["query"].as_str().or(variable["query"].as_str())?;
            Some(asking(&file.path, variable, label_values(query)?))
        }));
    }
    Ok(panels)
}

fn drawn(file: &str, list: &Value, panels: &mut Vec<Panel>) {
    for panel in entries(list) {
        if panel["type"] == "row" {
            drawn(file, &panel["panels"], panels);
            continue;
        }
        let steps = entries(&panel["fieldConfig"]["defaults"]["thresholds"]["steps"]);
        panels.push(Panel {
            file: file.to_owned(),
            title: text(&panel["title"]),
            description: text(&panel["description"]),
            expressions: entries(&panel["targets"]).map(|target| text(&target["expr"])).collect(),
            thresholds: steps.filter_map(|step| step["value"].as_f64()).collect(),
        });
    }
}

/// What is no panel but asks all the same.
fn asking(file: &str, asker: &Value, expression: String) -> Panel {
    Panel {
        file: file.to_owned(),
        title: text(&asker["name"]),
        description: String::new(),
        expressions: vec![expression],
        thresholds: Vec::new(),
    }
}

/// `label_values(SELECTOR, LABEL)`, which is Grafana's, as PromQL that needs the same of Prometheus.
fn label_values(query: &str) -> Option<String> {
    let inside = query.trim().strip_prefix("label_values(")?.strip_suffix(')')?;
    let (selector, label) = inside.rsplit_once(',')?;
    Some(format!("group by ({}) ({})", label.trim(), selector.trim()))
}

fn entries(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    let mut text = value.as_str().unwrap_or_default().to_owned();
    for (variable, duration) in DURATIONS {
        text = text.replace(variable, duration);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn panels(model: &Value) -> Vec<Panel> {
        let bytes = model.to_string().into_bytes().into();
        dashboards(&[File { path: format!("{FOLDER}a.json"), bytes }]).unwrap()
    }

    #[test]
    fn panels_in_rows_annotations_and_variables_are_found() {
        let panel = json!({
            "title": "p", "type": "stat", "targets": [{ "expr": "rate(a[$__rate_interval])" }],
            "fieldConfig": { "defaults": { "thresholds": { "steps": [{ "value": null }, { "value": 3 }] } } },
        });
        let found = panels(&json!({
            "panels": [{ "type": "row", "panels": [panel] }],
            "annotations": { "list": [{ "name": "built in" }, { "name": "n", "expr": "b > 0" }] },
            "templating": { "list": [
                { "name": "v", "query": { "query": "label_values(up{job=\"x\"}, instance)" } },
                { "name": "source", "query": "prometheus" },
            ] },
        }));
        let asked: Vec<_> = found.iter().map(|panel| panel.expressions[0].as_str()).collect();
        assert_eq!(asked, ["rate(a[5m])", "b > 0", "group by (instance) (up{job=\"x\"})"]);
        assert_eq!(found[0].thresholds, [3.0]);
    }

    #[test]
    fn what_is_no_dashboard_is_named() {
        let bytes = b"{}".as_slice().into();
        let error = dashboards(&[File { path: format!("{FOLDER}b.json"), bytes }]).unwrap_err();
        assert_eq!(error.to_string(), "grafana/dashboards/b.json: no panels");
    }
}
