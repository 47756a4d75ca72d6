//! The monitoring kit as an operator uses it: written out, checked, and loaded into a real
//! Prometheus that watches a real service.

use crate::binary::{microdiff, refuse, run, simulate, succeed, text};
use crate::collector::Collector;
use crate::prometheus::Prometheus;
use crate::serve::data_dir;
use crate::service::{DEADLINE, Service};
use microdiff_kit::{Panel, dashboards, files, rules};
use microdiff_telemetry::gpu::{StandIn, TWO_DEVICES};
use std::path::Path;
use std::time::{Duration, Instant};

/// What shows nothing on a service that is busy and well, with the reason.
const EMPTY: [&str; 1] = [
    // An annotation for starts after the first.
    "Starts",
];

/// Answered designs from which on there is a drift.
const DESIGNS: usize = 31;

/// A service with two GPUs and a collector.
pub fn busy_service(folder: &Path, stub: &StandIn) -> Service {
    let collector = Collector::start().address;
    let library = text(stub.library());
    let config = folder.join("config.toml");
    let lines = format!(
        "[traces]\nendpoint = \"http://{collector}\"\n\
         [gpu]\nlibrary = \"{library}\"\nevery_seconds = 1\n[health.gpu]\npolicy = \"optional\"\n"
    );
    std::fs::write(&config, lines).expect("written");
    let mut command = microdiff();
    command.env("OTEL_BSP_SCHEDULE_DELAY", "100");
    Service::start_by(command, &folder.join("microdiff-data"), &["--config", text(&config)])
}

/// A small part, sent as often as a drift needs.
pub fn keep_busy(folder: &Path, service: &Service) {
    let part = folder.join("part.tif");
    let laser = ["--power", "170", "--speed", "1300", "--hatch", "140", "--layer", "50"];
    simulate(&part, &[&laser[..], &["--shape", "64,64,64"]].concat());
    let scan = std::fs::read(part).expect("a scan");
    let fields = [("alloy", "316L"), ("voxel_size_um", "5"), ("samples", "64"), ("steps", "8")];
    for _ in 0..DESIGNS {
        let answer = service.post_scan("/v1/designs?wait=100", "", &scan, &fields);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(service.get("api", "/v1/models").status, 200);
    }
}

/// An expression as Grafana sends it with "All" chosen.
fn chosen(expression: &str) -> String {
    expression.replace("$instance", ".*")
}

/// Whether every recorded metric has a value, and every panel at least one query that has.
fn unfilled(prometheus: &Prometheus, recorded: &[String], panels: &[Panel]) -> Vec<String> {
    let empty = |query: &String| prometheus.numbers(&chosen(query)) == 0;
    let panels = panels.iter().filter(|panel| !EMPTY.contains(&panel.title.as_str()));
    let dark = panels.filter(|panel| panel.expressions.iter().all(empty));
    let dark = dark.map(|panel| format!("{}: {}", panel.file, panel.title));
    recorded.iter().filter(|name| empty(name)).cloned().chain(dark).collect()
}

#[test]
fn a_real_prometheus_fills_every_panel_from_a_busy_service() {
    let folder = data_dir();
    let stub = StandIn::build(folder.path()).expect("a stand-in");
    stub.script(&format!("{TWO_DEVICES}0.xid 79\n0.xid_serial 1\n")).expect("scripted");
    let service = busy_service(folder.path(), &stub);
    service.poll("/readyz", 200);
    let prometheus = Prometheus::start(folder.path(), &service);
    // What grows is seen to grow by those who look twice.
    let first_scrape = Instant::now() + DEADLINE;
    while prometheus.numbers("up == 1") < 2 {
        assert!(Instant::now() < first_scrape, "a listener is not scraped");
        std::thread::sleep(Duration::from_millis(100));
    }
    keep_busy(folder.path(), &service);

    let kit = files();
    let panels = dashboards(&kit).expect("dashboards");
    let rules = rules(&kit).expect("rules");
    let recorded: Vec<String> = rules.iter().filter_map(|rule| rule.record.clone()).collect();
    let end = Instant::now() + DEADLINE;
    loop {
        let unfilled = unfilled(&prometheus, &recorded, &panels);
        if unfilled.is_empty() {
            break;
        }
        assert!(Instant::now() < end, "without a number: {unfilled:#?}");
        std::thread::sleep(Duration::from_millis(500));
    }
    // Every single expression is one that Prometheus accepts and evaluates.
    for expression in panels.iter().flat_map(|panel| &panel.expressions) {
        prometheus.ask("query", &[("query", &chosen(expression))]);
    }
    for rule in &rules {
        prometheus.ask("query", &[("query", &rule.expression)]);
    }
    loaded(&prometheus, rules.iter().map(microdiff_kit::Rule::name));
}

/// Prometheus holds every rule, evaluated without an error.
fn loaded<'a>(prometheus: &Prometheus, expected: impl Iterator<Item = &'a str>) {
    let data = prometheus.ask("rules", &[]);
    let groups = data["groups"].as_array().expect("groups");
    let held: Vec<_> = groups.iter().flat_map(|g| g["rules"].as_array()).flatten().collect();
    for rule in &held {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let mut names: Vec<_> = held.iter().filter_map(|rule| rule["name"].as_str()).collect();
    let mut expected: Vec<_> = expected.collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn the_kit_is_written_out_and_an_edited_copy_is_checked() {
    let folder = data_dir();
    let kit = folder.path().join("kit");
    succeed(&["observability", "export", text(&kit)]);
    let rule = kit.join("prometheus/rules/slo.yml");
    let shipped = std::fs::read(&rule).expect("exported");
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/prometheus/rules");
    assert_eq!(shipped, std::fs::read(original.join("slo.yml")).expect("in the repository"));
    let refused = refuse(&["observability", "export", text(&kit)], 2);
    assert!(refused.contains("is not empty") && refused.contains("--force"), "{refused}");
    succeed(&["observability", "check", "--dir", text(&kit)]);

    let edited = String::from_utf8(shipped.clone()).expect("text");
    let edited = edited.replace("microdiff_slo_burn_rate", "microdiff_slo_burning");
    std::fs::write(&rule, edited).expect("written");
    let told = run(&["observability", "check", "--dir", text(&kit)]);
    assert_eq!(told.status.code(), Some(1));
    let faults = String::from_utf8_lossy(&told.stdout);
    let fault = "prometheus/rules/slo.yml: InstanceBudgetBurn: names the metric \
                 `microdiff_slo_burning`, which nothing emits";
    assert!(faults.lines().any(|line| line == fault), "{faults}");
    assert!(String::from_utf8_lossy(&told.stderr).contains("does not fit this binary"));

    succeed(&["observability", "export", text(&kit), "--force"]);
    assert_eq!(std::fs::read(&rule).expect("there"), shipped);
}

#[test]
fn the_kit_in_the_binary_fits_the_binary() {
    let told = succeed(&["observability", "check"]);
    assert!(told.contains("is in the catalogue"), "{told}");
    let empty = data_dir();
    let refused = refuse(&["observability", "check", "--dir", text(empty.path())], 2);
    assert!(refused.contains("give the folder of a kit"), "{refused}");
}

#[test]
fn a_health_check_tells_ready_from_everything_else() {
    let data = data_dir();
    let service = Service::start(data.path(), &[]);
    service.poll("/readyz", 200);
    let address = service.ready["api"].as_str().expect("an address").to_owned();
    let url = |path: &str| format!("http://{address}{path}");
    succeed(&["healthcheck", "--url", &url("/readyz")]);
    let missing = refuse(&["healthcheck", "--url", &url("/nowhere")], 1);
    assert!(missing.contains("answers 404"), "{missing}");
    drop(service);
    let gone = refuse(&["healthcheck", "--url", &url("/readyz"), "--timeout-seconds", "2"], 1);
    assert!(gone.contains("gives no answer") && gone.contains("refused"), "{gone}");
    refuse(&["healthcheck", "--url", "readyz"], 2);
    refuse(&["healthcheck", "--url", "https://127.0.0.1/readyz"], 2);
}
