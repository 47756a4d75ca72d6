//! The service's spans go through the Collector's choice into Jaeger, which is then asked for them.

use crate::jaeger::{Scene, Span};
use crate::service::Service;
use microdiff_kit::{TailSampling, files};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

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

#[test]
fn jaeger_answers_with_the_traces_that_the_collector_kept() {
    let mut scene = Scene::start();
    let service = &scene.service;
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
    let failed = scene.jaeger.spans(&id(FAILING), &["POST /v1/designs", "design"]);
    let design = &failed["design"];
    assert_eq!(design.tags["error"], true);
    assert_eq!(design.tags["error.type"], "scan_not_tiff");
    assert_eq!(design.tags["otel.status_code"], "ERROR");

    let well = scene.jaeger.spans(&id(ordinary(WELL)), &SPANS);
    let names: BTreeSet<&str> = well.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(SPANS));
    assert_design(&well, &job);
    assert_kept(&scene);
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

/// The share of the ordinary traces that the kit says, and Jaeger has no others. Which ones depends on
/// their ids alone, and is known beforehand.
fn assert_kept(scene: &Scene) {
    let sampling = TailSampling::of_kit(&files()).expect("policies");
    let output = scene.collector.output("traces.jsonl");
    let (kept, left): (Vec<u128>, Vec<u128>) =
        (0..ORDINARY).map(ordinary).partition(|trace| output.contains(&id(*trace)));
    let foreseen: Vec<u128> =
        (0..ORDINARY).map(ordinary).filter(|trace| sampling.keeps(*trace)).collect();
    assert_eq!(kept, foreseen);
    assert!((ORDINARY / 20..=ORDINARY / 5).contains(&(kept.len() as u128)), "kept {}", kept.len());
    assert!(scene.jaeger.has(&id(kept[0])));
    assert!(!scene.jaeger.has(&id(left[0])));
}

/// Sends a scan for longer than a trace has to last to be kept for it.
fn send_slowly(service: &Service, trace: u128, slow: Duration) {
    let address = service.ready["api"].as_str().expect("an address");
    let mut stream = TcpStream::connect(address).expect("the listener accepts");
    let begun = Instant::now();
    let boundary = "part-of-the-form";
    let body = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"scan\"; filename=\"s\"\r\n\r\n"
    );
    let end = format!("\r\n--{boundary}--\r\n");
    // More dots than can be sent before the time is over; the rest comes at once.
    let dots = 60 * usize::try_from(slow.as_secs()).expect("seconds");
    let length = body.len() + dots + end.len();
    let head = format!(
        "POST /v1/designs HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{}\
         content-type: multipart/form-data; boundary={boundary}\r\ncontent-length: {length}\r\n\r\n",
        parent(trace)
    );
    stream.write_all((head + &body).as_bytes()).expect("the head is sent");
    let mut sent = 0;
    while begun.elapsed() <= slow && sent < dots {
        stream.write_all(b".").expect("the body is read");
        sent += 1;
        // What makes the request slow, not a wait for something to happen.
        std::thread::sleep(Duration::from_millis(50));
    }
    let rest = ".".repeat(dots - sent) + &end;
    stream.write_all(rest.as_bytes()).expect("the body is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    // It names no alloy: refused at the end, which is no failure of the service's.
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(begun.elapsed() > slow);
}

#[test]
fn slow_and_failed_traces_are_kept_and_an_unlucky_fast_one_is_not() {
    let sampling = TailSampling::of_kit(&files()).expect("policies");
    // None of these would be among the ordinary ones that are kept, and the last would.
    let mut unlucky = (1_000..).map(ordinary).filter(|trace| !sampling.keeps(*trace));
    let [fast, slow, failed] = [(); 3].map(|()| unlucky.next().expect("most are"));
    let lucky = (1_000..).map(ordinary).find(|trace| sampling.keeps(*trace)).expect("some are");

    let mut scene = Scene::start();
    let service = &scene.service;
    for trace in [fast, lucky] {
        let head = format!("GET /health HTTP/1.1\r\n{}", parent(trace));
        assert_eq!(service.send("api", &head, b"").status, 200);
    }
    let fields = [("alloy", "316L"), ("voxel_size_um", "5")];
    let answer = service.post_scan("/v1/designs?wait=60", &parent(failed), b"no scan", &fields);
    assert_eq!(answer.status, 422, "{}", answer.body);
    send_slowly(service, slow, sampling.slow());

    let spans = scene.jaeger.spans(&id(slow), &["POST /v1/designs"]);
    let took = spans["POST /v1/designs"].took;
    assert!(took > sampling.slow(), "{took:?}");
    assert!(!spans["POST /v1/designs"].tags.contains_key("error"), "slow, and nothing else");
    scene.jaeger.spans(&id(failed), &["design"]);
    scene.jaeger.spans(&id(lucky), &["GET /health"]);
    // It ended long before the slow one, which has been decided on.
    assert!(!scene.jaeger.has(&id(fast)));
    assert!(!scene.collector.output("traces.jsonl").contains(&id(fast)));
}
