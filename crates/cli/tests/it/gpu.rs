//! The service on a machine with GPUs, which a stand-in for the driver's library provides.

use crate::binary::text;
use crate::serve::data_dir;
use crate::service::{DEADLINE, Service};
use microdiff_telemetry::gpu::{StandIn, TWO_DEVICES};
use serde_json::Value;
use std::time::Instant;

fn start(directory: &std::path::Path, stub: &StandIn, policy: &str) -> Service {
    let config = directory.join("config.toml");
    let library = text(stub.library());
    let lines = format!(
        "[gpu]\nlibrary = \"{library}\"\nevery_seconds = 1\ndeadline_seconds = 1\n\
         [health.gpu]\npolicy = \"{policy}\"\nevery_seconds = 1\nfail_after = 1\n"
    );
    std::fs::write(&config, lines).expect("written");
    Service::start(&directory.join("data"), &["--config", text(&config)])
}

/// The GPU's component, once it says so.
fn until(service: &Service, status: &str, reason: &str) -> Value {
    let end = Instant::now() + DEADLINE;
    loop {
        let body = service.get("api", "/health/detailed").json();
        let components = body["components"].as_array().expect("components").clone();
        let gpu = components.into_iter().find(|check| check["name"] == "gpu").expect("a GPU");
        if gpu["status"] == status && gpu["reason"] == reason {
            return body;
        }
        assert!(Instant::now() < end, "never {status} by {reason}: {body}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn has(service: &Service, series: &str) -> bool {
    service.get("gpu", "/gpu-metrics").body.lines().any(|line| line == series)
}

#[test]
fn a_required_gpu_turns_readiness_as_its_devices_go_and_come() {
    let directory = data_dir();
    let stub = StandIn::build(directory.path()).expect("a stand-in");
    stub.script(TWO_DEVICES).expect("scripted");
    let service = start(directory.path(), &stub, "required");
    service.poll("/readyz", 200);
    until(&service, "ok", "2 devices");
    assert!(has(&service, "microdiff_gpu_devices 2"));
    assert!(has(&service, "microdiff_gpu_memory_usage_bytes{device=\"cuda:0\"} 4000"));
    assert!(has(&service, "microdiff_gpu_memory_total_bytes{device=\"cuda:1\"} 16000"));

    stub.script(&format!("{TWO_DEVICES}1.error 15\n1.xid 79\n1.xid_serial 1\n")).expect("scripted");
    let body = until(&service, "degraded", "1 of 2 devices lost");
    assert_eq!(body["status"], "degraded");
    assert_eq!(service.get("api", "/readyz").status, 200, "one device is enough");
    let status = "microdiff_health_check_status{check=\"gpu\"}";
    assert_eq!(service.metric(status), 0.5);
    assert!(has(&service, "microdiff_gpu_devices 1"));
    assert!(has(&service, "microdiff_gpu_xid_errors_total{device=\"cuda:1\",xid=\"79\"} 1"));
    assert!(!service.get("gpu", "/gpu-metrics").body.contains("celsius{device=\"cuda:1\"}"));

    stub.script("count.error 999\ninit.error 9\n").expect("scripted");
    let body = until(&service, "failed", "no driver");
    assert_eq!(body["checks"]["gpu"], false);
    assert_eq!(body["checks"]["model"], true, "{body}");
    assert_eq!(service.get("api", "/readyz").status, 503);
    assert_eq!(service.get("api", "/health").status, 200);
    assert_eq!(service.metric(status), 0.0);
    assert!(has(&service, "microdiff_gpu_devices 0") && has(&service, "microdiff_gpu_up 0"));

    stub.script(TWO_DEVICES).expect("scripted");
    until(&service, "ok", "2 devices");
    service.poll("/readyz", 200);
    assert!(has(&service, "microdiff_gpu_devices 2"));
    stub.script("hang 1\ndevices 2\n").expect("scripted");
    until(&service, "failed", "driver hangs");
    stub.script(TWO_DEVICES).expect("scripted");
    until(&service, "ok", "2 devices");

    for (message, level) in [
        ("critical GPU error", "ERROR"),
        ("GPU lost", "ERROR"),
        ("GPU driver no longer answers", "ERROR"),
        ("GPU answers", "INFO"),
    ] {
        let line = service.line(|line| line["message"] == message);
        assert_eq!((&line["level"], &line["logger"]), (&level.into(), &"microdiff.gpu".into()));
    }
}

#[test]
fn an_optional_gpu_degrades_and_a_disabled_one_does_nothing() {
    for (policy, detailed, status) in
        [("optional", "degraded", "failed"), ("disabled", "healthy", "disabled")]
    {
        let directory = data_dir();
        let stub = StandIn::build(directory.path()).expect("a stand-in");
        stub.script("init.error 9\n").expect("scripted");
        let service = start(directory.path(), &stub, policy);
        service.poll("/readyz", 200);
        let answer = service.get("api", "/health/detailed");
        let body = answer.json();
        assert_eq!((answer.status, &body["status"]), (200, &detailed.into()), "{body}");
        assert_eq!(body["checks"]["gpu"], policy == "disabled");
        let components = body["components"].as_array().expect("components");
        assert!(components.iter().any(|check| check["name"] == "gpu" && check["status"] == status));
    }
}
