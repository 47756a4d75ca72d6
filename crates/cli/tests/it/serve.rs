//! `microdiff serve` as an operator meets it: started, probed, asked, killed and started again.

mod logs;

use crate::binary::{fixture, refuse, text};
use crate::service::Service;
use serde_json::Value;
use std::io::Write;

pub fn data_dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

const FIELDS: [(&str, &str); 3] = [("alloy", "Ti-6Al-4V"), ("samples", "256"), ("seed", "5")];

#[test]
fn the_ready_line_names_listeners_that_answer() {
    let data = data_dir();
    let service = Service::start(data.path(), &[]);
    let health = service.get("api", "/health");
    assert_eq!((health.status, &health.json()["status"]), (200, &Value::from("healthy")));
    assert!(health.head.contains("cache-control: no-store"), "{}", health.head);
    assert_eq!(service.get("api", "/livez").status, 200);
    service.poll("/readyz", 200);
    let detailed = service.get("api", "/health/detailed").json();
    for check in ["database", "gpu", "model", "storage"] {
        assert_eq!(detailed["checks"][check], true, "{detailed}");
    }
    assert_eq!(
        service.get("api", "/openapi.json").json()["openapi"].as_str().map(|v| &v[..1]),
        Some("3")
    );
    let gpu = service.get("gpu", "/gpu-metrics").body;
    assert!(gpu.lines().any(|line| line == "microdiff_gpu_devices 0"), "{gpu}");
}

#[test]
fn one_request_is_told_alike_by_answer_log_and_metrics() {
    let data = data_dir();
    let service = Service::start(data.path(), &[]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let headers = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n");
    let answer = service.design("/v1/designs?wait=100", &headers, &FIELDS);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let summary = service.line(|line| line["logger"] == "microdiff.models");
    assert_eq!(summary["message"], "Model inference completed successfully");
    assert_eq!(summary["trace_id"], trace);
    assert_eq!(summary["success"], true);
    assert_eq!(summary["alloy"], "Ti-6Al-4V");
    for key in [
        "timestamp",
        "level",
        "module",
        "function",
        "line",
        "request_id",
        "duration_ms",
        "model_type",
    ] {
        assert!(!summary[key].is_null(), "{key} is missing: {summary}");
    }
    let requests =
        "microdiff_requests_total{method=\"POST\",endpoint=\"/v1/designs\",status=\"success\"}";
    assert_eq!(service.metric(requests), 1.0);
    let inference = "microdiff_model_inference_duration_seconds_count";
    assert_eq!(service.metric(inference), 1.0);
    // The model is scored in the background, after the first health results.
    service.until_shown("microdiff_model_accuracy{");
}

#[test]
fn the_server_and_the_command_line_answer_alike() {
    let data = data_dir();
    let service = Service::start(data.path(), &[]);
    let served = service.design("/v1/designs?wait=100", "", &FIELDS).json();
    let scan = fixture();
    let local = crate::binary::succeed_json(&[
        "design",
        text(&scan),
        "--alloy",
        "Ti-6Al-4V",
        "--samples",
        "256",
        "--seed",
        "5",
        "--json",
    ]);
    for part in ["scan", "analysis", "posterior", "defects", "model"] {
        assert_eq!(served[part], local[part], "{part}");
    }
}

#[test]
fn an_accepted_job_survives_kill_9() {
    let data = data_dir();
    let mut service = Service::start(data.path(), &[]);
    let accepted = service.design("/v1/designs", "", &[("alloy", "316L"), ("samples", "20000")]);
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let id = accepted.json()["id"].as_str().expect("an id").to_owned();
    service.signal("KILL");
    assert_eq!(service.exit_code(), None);
    drop(service);
    let again = Service::start(data.path(), &[]);
    assert_eq!(again.ended(&id)["state"], "succeeded");
}

#[test]
fn sigterm_drains_and_ends_with_success() {
    let data = data_dir();
    let mut service = Service::start(data.path(), &[]);
    let accepted = service.design("/v1/designs", "", &FIELDS);
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn bad_requests_are_problem_documents() {
    let data = data_dir();
    let service = Service::start(data.path(), &[]);
    let wait = "/v1/designs?wait=60";
    let cases = [
        (service.design(wait, "", &[]), "alloy"),
        (service.design(wait, "", &[("alloy", "unobtainium")]), "Ti-6Al-4V, 316L, IN718, AlSi10Mg"),
        (
            service.design(wait, "", &[("alloy", "316L"), ("known", "hatch_spacing=5000")]),
            "50 to 200 um",
        ),
        (service.design(wait, "", &[("alloy", "316L"), ("colour", "blue")]), "colour"),
        (
            service.post_scan(
                wait,
                "",
                b"no scan at all",
                &[("alloy", "316L"), ("voxel_size_um", "5")],
            ),
            "TIFF",
        ),
    ];
    for (answer, told) in cases {
        assert!((400..500).contains(&answer.status), "{} {}", answer.status, answer.body);
        assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
        let problem = answer.json();
        assert!(problem["detail"].as_str().expect("a detail").contains(told), "{problem}");
        assert!(!problem["request_id"].is_null(), "{problem}");
    }
    assert_eq!(service.get("api", "/nowhere").status, 404);
    assert_eq!(service.send("api", "DELETE /v1/models HTTP/1.1\r\n", b"").status, 405);
    assert_eq!(service.get("api", "/health").status, 200);
}

#[test]
fn a_dead_collector_does_not_touch_a_request() {
    let data = data_dir();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let mut config = std::fs::File::create(data.path().join("config.toml")).expect("a file");
    writeln!(config, "[traces]\nendpoint = \"http://{address}\"").expect("written");
    let config = data.path().join("config.toml");
    let service = Service::start(data.path(), &["--config", text(&config)]);
    assert_eq!(service.design("/v1/designs?wait=100", "", &FIELDS).status, 200);
}

#[test]
fn a_taken_port_and_a_bad_configuration_stop_the_start() {
    let data = data_dir();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let line = refuse(
        &[
            "serve",
            "--listen",
            &address,
            "--metrics-listen",
            "127.0.0.1:0",
            "--gpu-listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--data-dir",
            text(data.path()),
        ],
        2,
    );
    assert!(line.contains(&address), "{line}");
    let config = data.path().join("config.toml");
    std::fs::write(&config, "unknown_field = 1\n").expect("written");
    let line = refuse(&["serve", "--check-config", "--config", text(&config)], 2);
    assert!(line.contains("unknown_field"), "{line}");
}
