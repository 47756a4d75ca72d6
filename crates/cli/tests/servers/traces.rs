//! The service's spans go through the Collector's choice into Jaeger, which is then asked for them.

use crate::binary::{microdiff, text};
use crate::collector::Collector;
use crate::real::{Server, answer, client, free_port, repository};
use crate::service::Service;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Ordinary requests that are sent; a tenth of their traces should be kept.
const ORDINARY: u128 = 200;
/// The design that goes well has the trace of this number: by its hash it is among the tenth.
const WELL: u128 = 201;
/// The trace of the design that fails.
const FAILING: u128 = 0xfa11_0000_0000_0000_0000_0000_0000_0001;
/// What a design that went well is made of.
const SPANS: [&str; 14] = [
    "POST /v1/designs",
    "store.scan",
    "store.enqueue",
    "design",
    "process_microstructure",
    "load",
    "preprocess",
    "segment",
    "describe",
    "encode",
    "sample",
    "check",
    "report",
    "store.finish",
];

fn id(trace: u128) -> String {
    format!("{trace:032x}")
}

/// Ids as far apart as random ones are, the same in each run.
fn ordinary(number: u128) -> u128 {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

/// The header by which a caller says that it records this trace.
fn parent(trace: u128) -> String {
    format!("traceparent: 00-{}-00f067aa0ba902b7-01\r\n", id(trace))
}

struct Span {
    parent: String,
    id: String,
    tags: BTreeMap<String, Value>,
    service: String,
}

/// The spans of a trace by name, once Jaeger has as many as are wanted.
fn spans(jaeger: &mut Server, query: &str, trace: u128, wanted: &[&str]) -> BTreeMap<String, Span> {
    let client = client();
    let url = format!("http://{query}/api/traces/{}", id(trace));
    jaeger.until(&format!("whole trace {}", id(trace)), || {
        let (status, body) = answer(client.get(&url))?;
        let found = &body["data"][0];
        let spans: BTreeMap<_, _> =
            found["spans"].as_array()?.iter().map(|one| span(found, one)).collect();
        (status == 200 && wanted.iter().all(|name| spans.contains_key(*name))).then_some(spans)
    })
}

fn span(trace: &Value, span: &Value) -> (String, Span) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let tags = span["tags"].as_array().expect("tags");
    let tags = tags.iter().map(|tag| (text(&tag["key"]), tag["value"].clone())).collect();
    let process = &trace["processes"][text(&span["processID"])];
    let one = Span {
        parent: text(&span["references"][0]["spanID"]),
        id: text(&span["spanID"]),
        tags,
        service: text(&process["serviceName"]),
    };
    (text(&span["operationName"]), one)
}

#[test]
fn jaeger_answers_with_the_traces_that_the_collector_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let (query, grpc, http) = (free_port(), free_port(), free_port());
    let (grpc_flag, http_flag) = (
        format!("--collector.otlp.grpc.host-port={grpc}"),
        format!("--collector.otlp.http.host-port={http}"),
    );
    let directory = folder.path().join("jaeger");
    let config = repository().join("deploy/jaeger/jaeger.yaml");
    let options = [&query, &grpc_flag, &http_flag, "--config-file", text(&config)];
    let mut jaeger = Server::start("jaeger", &directory, &options, &[]);
    let client = client();
    let services = format!("http://{query}/api/services");
    jaeger.until("answering Jaeger", || answer(client.get(&services)));
    assert!(jaeger.said().contains("\"MaxTraces\":50000"), "{}", jaeger.said());
    let collector = Collector::start(&folder.path().join("otelcol"), &[("JAEGER_ENDPOINT", &grpc)]);

    let config = folder.path().join("microdiff.toml");
    std::fs::write(&config, format!("[traces]\nendpoint = \"http://{}\"\n", collector.http))
        .expect("written");
    let data = folder.path().join("data");
    let service = Service::start_by(microdiff(), &data, &["--config", text(&config)]);
    for number in 0..ORDINARY {
        let head = format!("GET /health HTTP/1.1\r\n{}", parent(ordinary(number)));
        assert_eq!(service.send("api", &head, b"").status, 200);
    }
    let answer =
        service.design("/v1/designs?wait=60", &parent(ordinary(WELL)), &[("alloy", "Ti-6Al-4V")]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let job = answer.json()["id"].clone();
    let fields = [("alloy", "316L"), ("voxel_size_um", "5")];
    let answer = service.post_scan("/v1/designs?wait=60", &parent(FAILING), b"no scan", &fields);
    assert_eq!(answer.status, 422, "{}", answer.body);

    // The failed design comes last, so all others have been decided on when it is there.
    let failed = spans(&mut jaeger, &query, FAILING, &["POST /v1/designs", "design"]);
    let design = &failed["design"];
    assert_eq!(design.tags["error"], true);
    assert_eq!(design.tags["error.type"], "scan_not_tiff");
    assert_eq!(design.tags["otel.status_code"], "ERROR");

    let well = spans(&mut jaeger, &query, ordinary(WELL), &SPANS);
    let names: BTreeSet<&str> = well.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(SPANS));
    assert_design(&well, &job);
    assert_kept(&collector, &query);
}

/// Every span of the service's, each in the one that it belongs to, with its attributes.
fn assert_design(spans: &BTreeMap<String, Span>, job: &Value) {
    assert!(spans.values().all(|span| span.service == "microdiff-matdesign"));
    assert!(spans.values().all(|span| !span.tags.contains_key("error")));
    let within = |inner: &str, outer: &str| {
        assert_eq!(spans[inner].parent, spans[outer].id, "{inner} is in {outer}");
    };
    assert_eq!(spans["POST /v1/designs"].parent, "00f067aa0ba902b7", "the caller's span");
    for name in ["store.scan", "store.enqueue", "design"] {
        within(name, "POST /v1/designs");
    }
    for name in ["process_microstructure", "encode", "sample", "check", "report", "store.finish"] {
        within(name, "design");
    }
    for name in ["load", "preprocess", "segment", "describe"] {
        within(name, "process_microstructure");
    }
    let tag = |span: &str, key: &str| spans[span].tags[key].clone();
    assert_eq!(tag("POST /v1/designs", "http.route"), "/v1/designs");
    assert_eq!(tag("POST /v1/designs", "http.response.status_code"), 200);
    assert_eq!(tag("POST /v1/designs", "span.kind"), "server");
    assert_eq!(tag("design", "job_id"), *job);
    assert_eq!(tag("design", "alloy"), "Ti-6Al-4V");
    assert_eq!(tag("process_microstructure", "image_path"), "part.tif");
    assert_eq!(tag("process_microstructure", "operation"), "microstructure_processing");
    assert!(tag("process_microstructure", "result_size").as_u64().is_some_and(|size| size > 0));
    assert!(tag("sample", "steps").as_u64().is_some_and(|steps| steps > 0));
    assert!(tag("sample", "samples").as_u64().is_some_and(|samples| samples > 0));
}

/// A tenth of the ordinary traces, and Jaeger has no others. Which ones depends on their ids alone.
fn assert_kept(collector: &Collector, query: &str) {
    let output = collector.output("traces.jsonl");
    let (kept, left): (Vec<u128>, Vec<u128>) =
        (0..ORDINARY).map(ordinary).partition(|trace| output.contains(&id(*trace)));
    assert!((ORDINARY / 20..=ORDINARY / 5).contains(&(kept.len() as u128)), "kept {}", kept.len());
    let client = client();
    let found = |trace: u128| {
        answer(client.get(format!("http://{query}/api/traces/{}", id(trace))))
            .map(|(status, _)| status)
    };
    assert_eq!(found(kept[0]), Some(200));
    assert_eq!(found(left[0]), Some(404));
}
