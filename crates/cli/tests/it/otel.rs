//! The standard `OTEL_*` variables, as the binary is given them.

use crate::binary::{microdiff, text};
use crate::collector::Collector;
use crate::service::Service;

/// A service that is asked once and stopped, with its spans flushed; returns its lines.
fn run(variables: &[(&str, &str)], config: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("microdiff.toml");
    std::fs::write(&file, config).expect("the file is written");
    let mut command = microdiff();
    command.envs(variables.iter().copied());
    let data = folder.path().join("data");
    let mut service = Service::start_by(command, &data, &["--config", text(&file)]);
    assert_eq!(service.get("api", "/health").status, 200);
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
    service.stdout()
}

#[test]
fn the_variables_reach_the_collector_and_the_log() {
    let collector = Collector::start();
    let endpoint = format!("http://{}", collector.address);
    let said = run(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=seven"),
            ("OTEL_SERVICE_NAME", "kiln"),
            ("OTEL_RESOURCE_ATTRIBUTES", "site.name=north%20hall"),
            ("OTEL_PROPAGATORS", "tracecontext,b3"),
            ("OTEL_TRACES_SAMPLER", "always_on"),
        ],
        "",
    );
    let heads = collector.heads();
    assert!(heads.starts_with("post /v1/traces ") && heads.contains("x-tenant: seven"), "{heads}");
    let bodies = collector.bodies();
    let bodies = String::from_utf8_lossy(&bodies);
    for part in ["kiln", "site.name", "north hall", "GET /health"] {
        assert!(bodies.contains(part), "no {part} in {bodies}");
    }
    assert_eq!(said.matches("OTEL_").count(), said.matches("OTEL_PROPAGATORS").count(), "{said}");
    assert!(said.contains("OTEL_PROPAGATORS"), "{said}");
}

#[test]
fn spans_that_are_switched_off_go_nowhere_whatever_the_file_says() {
    let collector = Collector::start();
    let config = format!("[traces]\nendpoint = \"http://{}\"\n", collector.address);
    let all = ("OTEL_TRACES_SAMPLER", "always_on");
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        run(&[off, all], &config);
        assert_eq!(collector.heads(), "", "{off:?}");
    }
    run(&[all], &config);
    assert!(!collector.bodies().is_empty(), "somebody would have been let in");
}
