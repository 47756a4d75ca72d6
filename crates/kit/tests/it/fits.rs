//! The kit names what the service emits, and the check sees when it does not.

use microdiff_kit::{Catalogue, File, check, files};
use microdiff_server::catalogue::{METRICS, PREFIX};
use microdiff_telemetry::builtin;
use microdiff_telemetry::metrics::MetricSpec;
use std::collections::BTreeSet;

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), bytes: text.as_bytes().to_vec().into() }
}

fn faults_in(files: &[File]) -> String {
    let report = check(files, Catalogue::of_service()).unwrap();
    report.findings.iter().map(|f| f.fault.as_str()).collect::<Vec<_>>().join("; ")
}

fn faults(expression: &str) -> String {
    let rule = format!(
        "groups:\n  - name: g\n    rules:\n      - record: r\n        expr: '{expression}'\n"
    );
    faults_in(&[file("prometheus/rules/a.yml", &rule)])
}

fn every_row() -> Vec<MetricSpec> {
    let mut rows = METRICS.to_vec();
    rows.extend(builtin::specs(PREFIX));
    rows.extend(builtin::gpu_specs(PREFIX));
    rows.extend(builtin::registry_specs(PREFIX));
    rows
}

/// The kit with a text in the place of another, in all files at once.
fn edited(from: &str, to: &str) -> Vec<File> {
    let mut kit = files();
    for file in &mut kit {
        let text = file.text().unwrap().replace(from, to);
        file.bytes = text.into_bytes().into();
    }
    kit
}

#[test]
fn the_kit_names_only_what_the_service_emits() {
    let report = check(&files(), Catalogue::of_service()).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.alerts > 50 && report.recordings > 30 && report.panels > 80, "{report:?}");
}

/// Every word of rules and dashboards that may be a metric's name.
fn words() -> BTreeSet<String> {
    let shows = |file: &File| file.path.contains("/rules/") || file.path.contains("/dashboards/");
    let mut words = BTreeSet::new();
    for file in files().iter().filter(|file| shows(file)) {
        let text = file.text().unwrap();
        words.extend(text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned));
    }
    words
}

#[test]
fn a_metric_renamed_in_the_service_is_found_wherever_the_kit_uses_it() {
    let (rows, words) = (every_row(), words());
    let mut used = 0;
    for gone in &rows {
        let rest: Vec<_> = rows.iter().filter(|kept| kept.name != gone.name).cloned().collect();
        let report = check(&files(), Catalogue::of(&rest)).unwrap();
        let names = ["", "_bucket", "_sum", "_count"].map(|end| format!("{}{end}", gone.name));
        let found = report.findings.iter().any(|finding| {
            names
                .iter()
                .any(|name| finding.fault.contains(&format!("`{name}`, which nothing emits")))
        });
        assert_eq!(found, names.iter().any(|name| words.contains(name)), "{}", gone.name);
        used += usize::from(found);
    }
    assert!(used > 70, "{used} of {}", rows.len());
}

#[test]
fn a_metric_renamed_in_a_rule_or_a_panel_is_found() {
    let report =
        check(&edited("microdiff_queue_depth", "microdiff_queue_length"), Catalogue::of_service())
            .unwrap();
    let mut found: Vec<&str> = report.findings.iter().map(|f| f.file.as_str()).collect();
    found.dedup();
    assert_eq!(
        found,
        [
            "prometheus/rules/recording.yml",
            "prometheus/rules/queue.yml",
            "kubernetes/base/prometheusrule.yaml",
            "grafana/dashboards/microdiff-application.json",
        ]
    );
    assert!(report.findings[0].fault.contains("`microdiff_queue_length`, which nothing emits"));
}

#[test]
fn each_kind_of_mistake_is_told() {
    assert!(faults("sum(").contains("no PromQL"));
    assert!(faults("microdiff_nothing").contains("which nothing emits"));
    assert!(faults("{status=\"error\"}").contains("without a metric"));
    assert!(faults("microdiff_requests_total{colour=\"red\"}").contains("no label `colour`"));
    assert!(faults("microdiff_requests_total{status=\"err\"}").contains("no value of `status`"));
    assert!(faults("microdiff_requests_total{status!=\"err\"}").contains("no value of `status`"));
    assert!(faults("microdiff_requests_total{endpoint=~\"/v2/.+\"}").contains("`endpoint`"));
    assert!(faults("microdiff_health_check_status{check=\"disk\"}").contains("`check`"));
    assert!(faults("up{job=\"microdiff\"}").contains("no value of `job`"));
    assert!(faults("sum by (alloy) (microdiff_requests_total)").contains("aggregates by `alloy`"));
    let quantile = "histogram_quantile(0.9, rate(microdiff_queue_wait_seconds_count[5m]))";
    assert!(faults(quantile).contains("without `le`"));
    let bucket = "microdiff_model_inference_duration_seconds_bucket";
    assert!(faults(&format!("{bucket}{{le=\"10\"}}")).contains("no value of `le`"));
    let matched = "microdiff_queue_depth * on (check) microdiff_queue_capacity";
    assert!(faults(matched).contains("matches on `check`"));
    assert!(faults("sum by (le) (sum(microdiff_jobs))").contains("aggregates by `le`"));
}

#[test]
fn what_is_right_is_left_alone() {
    for expression in [
        "microdiff_requests_total{status=~\"e.*r\", endpoint=~\"/v1/.+\"}",
        "microdiff_model_inference_duration_seconds_bucket{le=\"10.0\"}",
        "sum by (descriptor) (topk(3, microdiff_descriptor_drift))",
        "sum by (state) (microdiff_jobs or microdiff_workers)",
        "count by (digest) (microdiff_jobs * on (job) group_left (digest) microdiff_model_info)",
        "sum by (alloy) (sum without (status) (microdiff_model_inferences_total))",
        "max_over_time(microdiff_queue_depth[1h:1m]) / scalar(count(up))",
        "sum by (part) (label_replace(up, \"part\", \"$1\", \"instance\", \"(.*):.*\"))",
        "sum by (job) (absent(up{job=\"microdiff-app\"}))",
    ] {
        assert_eq!(faults(expression), "", "{expression}");
    }
}

fn alert(edit: impl Fn(String) -> String) -> String {
    let text = "groups:\n  - name: g\n    rules:\n      - alert: QueueStuck\n        \
        expr: sum by (job) (microdiff_queue_depth) > 1\n        \
        labels: {severity: warning, team: platform}\n        annotations:\n          \
        summary: '{{ $labels.job }} of {{ $labels.team }}'\n          description: d\n          \
        runbook_url: https://x/QueueStuck\n          dashboard_url: u\n";
    let mut kit: Vec<File> =
        files().into_iter().filter(|file| file.path == "runbooks/QueueStuck.md").collect();
    kit.push(file("prometheus/rules/a.yml", &edit(text.to_owned())));
    faults_in(&kit)
}

#[test]
fn an_alert_that_lacks_something_is_told() {
    assert_eq!(alert(|text| text), "");
    let told = |from: &str, to: &str| alert(|text| text.replace(from, to));
    assert!(told("$labels.job", "$labels.instance").contains("its summary shows `instance`"));
    assert!(told("severity: warning", "severity: urgent").contains("its severity `urgent`"));
    assert!(told(", team: platform", "").contains("has no team"));
    assert!(told("description: d", "description: ''").contains("has no description"));
    assert!(told("https://x/QueueStuck", "https://x/Other").contains("does not end in its name"));
    let renamed = told("QueueStuck", "QueueHalted");
    assert!(renamed.contains("has no runbook runbooks/QueueHalted.md"), "{renamed}");
    assert!(renamed.contains("no alert has its name"), "{renamed}");
}

#[test]
fn a_runbook_without_a_section_is_told() {
    let report = check(&edited("## Impact", "## Effect"), Catalogue::of_service()).unwrap();
    assert!(report.findings.iter().all(|f| f.fault == "has no section `## Impact`"));
    assert!(report.findings.len() > 50);
}

#[test]
fn a_file_that_is_no_rule_file_is_named() {
    let broken = file("prometheus/rules/b.yml", "groups: 5\n");
    let error = check(&[broken], Catalogue::of_service()).unwrap_err().to_string();
    assert!(error.starts_with("prometheus/rules/b.yml: "), "{error}");
}
