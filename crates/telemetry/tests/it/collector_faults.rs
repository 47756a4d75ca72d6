//! Collectors in trouble: requests go on, memory stays bounded, every loss is counted and told.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use microdiff_telemetry::http::{HttpLayer, HttpOptions};
use microdiff_telemetry::traces::{Protocol, SpanKind};
use microdiff_telemetry::{Guard, Telemetry, TelemetryError, TelemetryOptions};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::collector::{BOTH, Certificate, Collector, Reserved};
use crate::{LONG, lines, options, sample};

/// Spans in the queue, and in a batch.
const QUEUE: usize = 4;

struct Service {
    telemetry: Telemetry,
    guard: Guard,
    log: PathBuf,
    _folder: TempDir,
}

fn start(
    endpoint: &str,
    protocol: Protocol,
    edit: impl FnOnce(&mut TelemetryOptions),
) -> Result<Service, TelemetryError> {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut options = options(&log);
    options.traces.protocol = protocol;
    options.traces.set_base(endpoint);
    options.traces.queue_spans = QUEUE;
    options.traces.batch_spans = QUEUE;
    options.traces.delay = LONG;
    options.traces.timeout = Duration::from_millis(300);
    edit(&mut options);
    let (telemetry, guard, _) = Telemetry::start_local(options)?;
    Ok(Service { telemetry, guard, log, _folder: folder })
}

impl Service {
    /// Sends so many requests through the layer; each is answered, and each makes one span.
    fn serve(&self, requests: usize) {
        let layer = HttpLayer::new(&self.telemetry, HttpOptions::default());
        let app = Router::new().route("/cake", get(|| async { "done" })).layer(layer);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for _ in 0..requests {
            let request = Request::get("/cake").body(Body::empty()).unwrap();
            let answer = runtime.block_on(app.clone().oneshot(request)).unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            let body = axum::body::to_bytes(answer.into_body(), 100);
            assert_eq!(&runtime.block_on(body).unwrap()[..], b"done");
        }
    }

    fn spans(&self, result: &str) -> f64 {
        let series = format!("bakery_telemetry_spans_total{{result=\"{result}\"}}");
        sample(&self.telemetry, &series).unwrap()
    }

    fn changes(&self, to: &str) -> f64 {
        let series = format!("bakery_telemetry_collector_changes_total{{to=\"{to}\"}}");
        sample(&self.telemetry, &series).unwrap()
    }

    fn up(&self) -> Option<f64> {
        sample(&self.telemetry, "bakery_telemetry_collector_up")
    }

    fn end(self) -> Vec<Value> {
        lines(self.guard, &self.log)
    }
}

fn with_message<'a>(log: &'a [Value], message: &str) -> Vec<&'a Value> {
    log.iter().filter(|line| line["message"] == message).collect()
}

/// What holds of every collector that takes nothing; returns the reason that was logged.
fn takes_nothing(service: Service) -> String {
    assert_eq!(service.up(), None);
    for _ in 0..2 {
        service.serve(3 * QUEUE);
        assert!(service.telemetry.tracer().flush(LONG));
    }
    assert_eq!(service.spans("exported"), 0.0);
    assert!(service.spans("failed") >= 2.0, "a batch at each flush at least");
    assert_eq!(service.spans("failed") + service.spans("dropped"), 6.0 * QUEUE as f64);
    assert_eq!((service.changes("down"), service.changes("up")), (1.0, 0.0));
    assert_eq!(service.up(), Some(0.0));
    let log = service.end();
    let told = with_message(&log, "spans are being lost");
    assert_eq!(told.len(), 1, "once, not once a batch: {log:#?}");
    assert_eq!(told[0]["level"], "WARN");
    assert_eq!(told[0]["logger"], "bakery.telemetry");
    told[0]["error.message"].as_str().unwrap().to_owned()
}

#[test]
fn a_collector_that_is_down_costs_nothing_but_the_spans() {
    for protocol in BOTH {
        let down = Reserved::new();
        let endpoint = format!("http://{}", down.address());
        takes_nothing(start(&endpoint, protocol, |_| {}).unwrap());
    }
}

#[test]
fn a_collector_that_accepts_and_never_answers_costs_nothing_but_the_spans() {
    for protocol in BOTH {
        let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", hanging.local_addr().unwrap());
        takes_nothing(start(&endpoint, protocol, |_| {}).unwrap());
    }
}

#[test]
fn a_collector_that_is_unavailable_costs_nothing_but_the_spans() {
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        collector.set_well(false);
        let reason = takes_nothing(start(&collector.endpoint, protocol, |_| {}).unwrap());
        let expected = if protocol == Protocol::Grpc { "Unavailable" } else { "503" };
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn a_collector_without_tls_behind_an_https_address_costs_nothing_but_the_spans() {
    for protocol in BOTH {
        let plain = Collector::start(protocol);
        let folder = tempfile::tempdir().unwrap();
        let trusted = folder.path().join("ca.pem");
        std::fs::write(&trusted, Certificate::new().certificate).unwrap();
        let endpoint = plain.endpoint.replace("http:", "https:");
        takes_nothing(
            start(&endpoint, protocol, |options| options.traces.certificate = Some(trusted))
                .unwrap(),
        );
        assert!(plain.requests().is_empty());
    }
}

#[test]
fn a_collector_with_another_certificate_is_sent_nothing() {
    for protocol in BOTH {
        let collector = Reserved::new().open(protocol, Some(&Certificate::new()));
        let folder = tempfile::tempdir().unwrap();
        let trusted = folder.path().join("ca.pem");
        std::fs::write(&trusted, Certificate::new().certificate).unwrap();
        let reason = takes_nothing(
            start(&collector.endpoint, protocol, |options| {
                options.traces.certificate = Some(trusted);
            })
            .unwrap(),
        );
        if protocol == Protocol::HttpProtobuf {
            assert!(reason.contains("certificate"), "{reason}");
        }
        assert!(collector.requests().is_empty());
    }
}

#[test]
fn an_https_collector_with_the_trusted_certificate_takes_spans() {
    for protocol in BOTH {
        let certificate = Certificate::new();
        let collector = Reserved::new().open(protocol, Some(&certificate));
        let folder = tempfile::tempdir().unwrap();
        let trusted = folder.path().join("ca.pem");
        std::fs::write(&trusted, &certificate.certificate).unwrap();
        let service = start(&collector.endpoint, protocol, |options| {
            options.traces.certificate = Some(trusted);
            options.traces.timeout = LONG;
        })
        .unwrap();
        service.serve(2);
        assert!(service.telemetry.tracer().flush(LONG));
        assert_eq!(collector.names(), ["GET /cake", "GET /cake"], "{protocol:?}");
        assert_eq!((service.up(), service.spans("exported")), (Some(1.0), 2.0));
    }
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    for (file, reason) in
        [(empty, "holds no certificate"), (folder.path().join("none.pem"), "cannot read")]
    {
        for protocol in BOTH {
            let started = start("https://127.0.0.1:1", protocol, |options| {
                options.traces.certificate = Some(file.clone());
            });
            let error = started.err().unwrap().to_string();
            assert!(error.contains("OTEL_EXPORTER_OTLP_CERTIFICATE"), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }
}

#[test]
fn a_flood_before_a_hanging_collector_fills_the_queue_and_no_more() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", hanging.local_addr().unwrap());
    let service = start(&endpoint, Protocol::HttpProtobuf, |options| {
        options.traces.timeout = LONG;
    })
    .unwrap();
    service.serve(QUEUE);
    // The connection says that the first batch has left the queue.
    let _held = hanging.accept().unwrap();
    service.serve(QUEUE + 17);
    assert_eq!(service.spans("dropped"), 17.0);
    assert!(!service.guard.shutdown(Duration::from_millis(1)), "the deadline holds");
    // The same deadline held for the log, which may still be writing.
    let end = std::time::Instant::now() + LONG;
    let unsent = loop {
        let text = std::fs::read_to_string(&service.log).unwrap();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut lines =
            lines.filter(|line| line["message"] == "stopped before all spans were sent");
        if let Some(line) = lines.next() {
            break line["spans"].clone();
        }
        assert!(std::time::Instant::now() < end, "nothing is said of the unsent spans: {text}");
        std::thread::yield_now();
    };
    assert_eq!(unsent, 2 * QUEUE);
}

#[test]
fn a_slow_collector_costs_what_the_queue_cannot_hold_and_all_of_it_is_counted() {
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        collector.hold_answers();
        let service =
            start(&collector.endpoint, protocol, |options| options.traces.timeout = LONG).unwrap();
        service.serve(QUEUE);
        let deadline = std::time::Instant::now() + LONG;
        while collector.requests().is_empty() {
            assert!(std::time::Instant::now() < deadline, "the first batch never came");
            std::thread::yield_now();
        }
        service.serve(QUEUE + 5);
        assert_eq!((service.spans("dropped"), service.spans("exported")), (5.0, 0.0));
        collector.release_answers();
        assert!(service.telemetry.tracer().flush(LONG));
        service.serve(1);
        assert!(service.telemetry.tracer().flush(LONG));
        assert_eq!(service.spans("exported"), (2 * QUEUE + 1) as f64);
        assert_eq!(collector.spans().len(), 2 * QUEUE + 1);
        assert_eq!((service.changes("down"), service.changes("up")), (1.0, 1.0));
        let log = service.end();
        let told = with_message(&log, "spans are being lost");
        assert_eq!(told.len(), 1, "{log:#?}");
        assert_eq!(
            (&told[0]["lost"], &told[0]["error.message"]),
            (&5.into(), &"the queue was full".into())
        );
        assert_eq!(with_message(&log, "spans reach the collector again").len(), 1);
    }
}

#[test]
fn a_collector_that_comes_back_is_used_again_and_told_of_once() {
    for protocol in BOTH {
        let down = Reserved::new();
        let endpoint = format!("http://{}", down.address());
        let service =
            start(&endpoint, protocol, |options| options.traces.timeout = Duration::from_secs(5))
                .unwrap();
        service.serve(2);
        assert!(service.telemetry.tracer().flush(LONG));
        let collector = down.open(protocol, None);
        for _ in 0..2 {
            service.serve(1);
            assert!(service.telemetry.tracer().flush(LONG));
        }
        assert_eq!(collector.spans().len(), 2, "{protocol:?}");
        assert_eq!((service.spans("failed"), service.spans("exported")), (2.0, 2.0));
        assert_eq!((service.changes("down"), service.changes("up")), (1.0, 1.0));
        assert_eq!(service.up(), Some(1.0));
        let log = service.end();
        let back = with_message(&log, "spans reach the collector again");
        assert_eq!(back.len(), 1);
        assert_eq!((&back[0]["level"], &back[0]["lost"]), (&"INFO".into(), &2.into()));
    }
}

#[test]
fn what_was_ignored_in_the_variables_is_told_once_when_telemetry_starts() {
    let collector = Collector::start(Protocol::HttpProtobuf);
    let service = start(&collector.endpoint, Protocol::HttpProtobuf, |options| {
        let read = microdiff_telemetry::traces::TraceOptions::from_variables(|name| {
            (name == "OTEL_PROPAGATORS").then(|| "tracecontext,b3".to_owned())
        });
        options.traces.warnings = read.warnings;
    })
    .unwrap();
    drop(service.telemetry.tracer().start("bake", SpanKind::Server, None));
    let log = service.end();
    let told: Vec<_> = log
        .iter()
        .filter(|line| line["message"].as_str().unwrap().contains("OTEL_PROPAGATORS"))
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["level"], "WARN");
    assert!(told[0]["message"].as_str().unwrap().contains("`b3`"));
}
