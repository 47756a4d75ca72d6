use microdiff_server::catalogue::{METRICS, PREFIX};
use microdiff_telemetry::builtin;
use microdiff_telemetry::metrics::{LabelSpec, LabelValues, MetricSpec};
use std::fmt::Write as _;
use std::path::Path;

/// Compares with a committed file, or writes it when `UPDATE_GOLDEN=1`.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{name} is stale; UPDATE_GOLDEN=1 refreshes it");
}

#[test]
fn the_api_description_is_committed() {
    let text = serde_json::to_string_pretty(&microdiff_server::openapi_document()).unwrap();
    golden("openapi.json", &format!("{text}\n"));
}

#[test]
fn the_metric_reference_is_committed() {
    let mut page = String::from(
        "# Metrics\n\nGenerated from the catalogue in code; a test holds the two equal. Every \
         series with closed labels exists from start-up.\n",
    );
    section(&mut page, "Service", METRICS.to_vec());
    section(&mut page, "Telemetry and process", builtin::specs(PREFIX));
    section(&mut page, "GPU listener", builtin::gpu_specs(PREFIX));
    golden("metrics.md", &page);
}

fn section(page: &mut String, title: &str, specs: Vec<MetricSpec>) {
    let head = "| metric | type | labels | meaning |\n|---|---|---|---|";
    let _ = writeln!(page, "\n## {title}\n\n{head}");
    for spec in specs {
        let (name, kind) = (&spec.name, spec.kind.as_str());
        let _ = writeln!(page, "| `{name}` | {kind} | {} | {} |", labels(&spec), meaning(&spec));
    }
}

fn labels(spec: &MetricSpec) -> String {
    let one = |label: &LabelSpec| match label.values {
        LabelValues::Open => format!("`{}`", label.name),
        LabelValues::Closed(values) => format!("`{}` = {}", label.name, values.join(", ")),
    };
    spec.labels.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn meaning(spec: &MetricSpec) -> String {
    if spec.buckets.is_empty() {
        return spec.help.to_owned();
    }
    let bounds: Vec<String> = spec.buckets.iter().map(f64::to_string).collect();
    format!("{} Buckets: {}.", spec.help, bounds.join(", "))
}
