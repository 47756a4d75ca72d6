//! The service's spans as a collector receives them, held equal to the catalogue.

use crate::engine::{Script, Scripted, bundled};
use crate::server::{PATIENCE, Server, form, read, scan, start_with};
use axum::extract::State;
use axum::routing::post;
use microdiff_server::{Config, Engine};
use microdiff_telemetry::traces::catalogue::{self, AttributeSpec, AttributeType, SpanSpec};
use microdiff_telemetry::traces::{SpanKind, TraceContext};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Held;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, span};
use prost::Message as _;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

/// A collector that keeps the spans it is sent.
#[derive(Clone)]
struct Collector {
    endpoint: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    async fn start() -> Self {
        type Spans = Arc<Mutex<Vec<Span>>>;
        let spans = Spans::default();
        let receive = |State(spans): State<Spans>, body: axum::body::Bytes| async move {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            let scopes = request.resource_spans.into_iter().flat_map(|found| found.scope_spans);
            spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        };
        let app = axum::Router::new().route("/v1/traces", post(receive)).with_state(spans.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { endpoint, spans }
    }

    async fn serve(&self, engine: Arc<dyn Engine>, edit: impl FnOnce(&mut Config)) -> Server {
        let dir = Arc::new(TempDir::new().unwrap());
        start_with(engine, dir, |config| {
            config.traces.endpoint = Some(self.endpoint.clone());
            edit(config);
        })
        .await
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// Polls until a span of that name has come that `is`.
    async fn until(&self, name: &str, is: impl Fn(&Span) -> bool) -> Span {
        let arrived = async {
            loop {
                let found = self.spans().into_iter().find(|span| span.name == name && is(span));
                if let Some(span) = found {
                    return span;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let found = timeout(PATIENCE, arrived).await;
        found.unwrap_or_else(|_| panic!("no such {name} in {:#?}", self.spans()))
    }
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a Held> {
    let held = span.attributes.iter().find(|held| held.key == key)?;
    held.value.as_ref().and_then(|value| value.value.as_ref())
}

fn text(text: &str) -> Option<Held> {
    Some(Held::StringValue(text.to_owned()))
}

fn failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

#[tokio::test]
async fn the_spans_of_a_job_join_the_trace_of_its_request() {
    let collector = Collector::start().await;
    let server = collector.serve(bundled(), |_| {}).await;
    let (status, job) = read(server.post("?wait=60", form(scan())).await).await;
    assert_eq!(status, 200, "{job}");
    collector.until("design", |_| true).await;
    let request = collector.until("POST /v1/designs", |_| true).await;
    let spans = collector.spans();
    let find = |name: &str| {
        let mut found = spans.iter().filter(|span| span.name == name);
        found.next().unwrap_or_else(|| panic!("no span {name} in {spans:#?}"))
    };
    for (child, parent) in [
        ("design", "POST /v1/designs"),
        ("store.scan", "POST /v1/designs"),
        ("store.enqueue", "POST /v1/designs"),
        ("process_microstructure", "design"),
        ("load", "process_microstructure"),
        ("preprocess", "process_microstructure"),
        ("segment", "process_microstructure"),
        ("describe", "process_microstructure"),
        ("encode", "design"),
        ("sample", "design"),
        ("check", "design"),
        ("report", "design"),
        ("store.finish", "design"),
    ] {
        assert_eq!(find(child).parent_span_id, find(parent).span_id, "{child} in {parent}");
        assert_eq!(find(child).trace_id, request.trace_id, "{child}");
    }
    let process = find("process_microstructure");
    assert_eq!(attribute(process, "image_path").cloned(), text("part 7.tif"));
    assert_eq!(attribute(process, "operation").cloned(), text("microstructure_processing"));
    assert!(matches!(attribute(process, "result_size"), Some(Held::IntValue(1..))));
    assert_eq!(attribute(find("sample"), "steps"), Some(&Held::IntValue(8)));
    assert_eq!(attribute(find("sample"), "samples"), Some(&Held::IntValue(64)));
    server.drain().await;
}

/// Drives a service through every way a design can end.
async fn drive(collector: &Collector) {
    let server = collector.serve(bundled(), |_| {}).await;
    assert_eq!(server.post("?wait=60", form(scan())).await.status(), 200);
    assert_eq!(server.get("/nothing/here").await.0, 404);
    server.drain().await;

    for (script, status) in [(Script::Refuse, 422), (Script::Panic, 500)] {
        let server = collector.serve(Scripted::new(script), |_| {}).await;
        assert_eq!(server.post("?wait=60", form(vec![1])).await.status(), status);
        server.drain().await;
    }

    let engine = Scripted::new(Script::Wait);
    let server = collector.serve(engine.clone(), |_| {}).await;
    let (client, url) = (server.client.clone(), server.url("/v1/designs?wait=60"));
    let request = client.post(url).multipart(form(vec![1])).send();
    tokio::select! {
        _ = request => panic!("nothing was released"),
        () = server.busy() => {}
    }
    collector.until("POST /v1/designs", failed_by("cancelled")).await;
    engine.release();
    server.drain().await;

    let stuck = Scripted::new(Script::Wait);
    let server = collector.serve(stuck.clone(), |config| config.drain_deadline_seconds = 1).await;
    read(server.post("", form(vec![1])).await).await;
    server.busy().await;
    server.drain().await;
    collector.until("design", failed_by("drain")).await;
    stuck.release();
}

fn failed_by(reason: &'static str) -> impl Fn(&Span) -> bool {
    move |span| failed(span) && attribute(span, "error.type").cloned() == text(reason)
}

#[tokio::test]
async fn the_catalogue_and_what_a_collector_receives_are_equal() {
    let collector = Collector::start().await;
    drive(&collector).await;
    let spans = collector.spans();
    let specs: Vec<&SpanSpec> =
        catalogue::SPANS.iter().chain(microdiff_server::spans::SPANS).collect();
    let mut unseen: BTreeSet<(&str, &str)> = BTreeSet::new();
    for spec in &specs {
        unseen.insert((spec.name, ""));
        unseen.extend(spec.attributes.iter().map(|attribute| (spec.name, attribute.name)));
    }
    for span in &spans {
        let spec = spec_of(span, &specs);
        unseen.remove(&(spec.name, ""));
        check_parent(span, spec, &spans);
        for held in &span.attributes {
            let mut rows = spec.attributes.iter();
            let row = rows.find(|row| row.name == held.key);
            let row = row.unwrap_or_else(|| panic!("{} is not catalogued: {span:#?}", held.key));
            check_value(row, attribute(span, row.name));
            unseen.remove(&(spec.name, row.name));
        }
    }
    assert!(unseen.is_empty(), "catalogued, and never received: {unseen:?}");
    for (name, reason) in [
        ("design", "scripted"),
        ("design", "panic"),
        ("design", "drain"),
        ("POST /v1/designs", "design_failed"),
        ("POST /v1/designs", "cancelled"),
    ] {
        collector.until(name, failed_by(reason)).await;
    }
    // The phase in which a design was refused, broke or was handed back, and what it was part of.
    for name in ["load", "process_microstructure"] {
        assert_eq!(spans.iter().filter(|span| span.name == name && failed(span)).count(), 3);
    }
}

fn spec_of<'a>(span: &Span, specs: &[&'a SpanSpec]) -> &'a SpanSpec {
    let known = specs.iter().find(|spec| {
        let kind = match spec.kind {
            SpanKind::Server => span::SpanKind::Server,
            SpanKind::Client => span::SpanKind::Client,
            SpanKind::Internal => span::SpanKind::Internal,
        };
        span.kind() == kind && (span.name == spec.name || spec.name == server_row(&span.name))
    });
    known.unwrap_or_else(|| panic!("not catalogued: {span:#?}"))
}

/// The catalogue's name of a server span, if it is named like one.
fn server_row(name: &str) -> &'static str {
    let method = name.split(' ').next().unwrap_or("");
    if method == "HTTP" || catalogue::METHODS.contains(&method) {
        catalogue::REQUEST.name
    } else {
        ""
    }
}

fn check_parent(span: &Span, spec: &SpanSpec, spans: &[Span]) {
    let parent = spans.iter().find(|other| other.span_id == span.parent_span_id);
    match (spec.parents, parent) {
        ([], None) => {}
        (allowed, Some(parent)) if allowed.contains(&parent.name.as_str()) => {}
        (_, parent) => panic!("{} inside {:?}", span.name, parent.map(|parent| &parent.name)),
    }
    assert!(!failed(span) || !spec.fails.is_empty(), "{} never fails", spec.name);
}

fn check_value(row: &AttributeSpec, value: Option<&Held>) {
    match (row.kind, value) {
        (AttributeType::Int, Some(Held::IntValue(_))) => {}
        (AttributeType::Text, Some(Held::StringValue(value))) => assert!(
            row.values.is_empty() || row.values.contains(&value.as_str()),
            "{} = {value}",
            row.name
        ),
        (_, value) => panic!("{} = {value:?}", row.name),
    }
}

#[tokio::test]
async fn one_id_is_found_in_everything_a_failed_request_leaves_behind() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let collector = Collector::start().await;
    let server = collector.serve(Scripted::new(Script::Refuse), |_| {}).await;
    let request = server.client.post(server.url("/v1/designs?wait=60")).multipart(form(vec![1]));
    let request = request
        .header("x-request-id", "req-7")
        .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"));
    let answer = request.send().await.unwrap();

    let told = answer.headers()["traceresponse"].to_str().unwrap();
    let told = TraceContext::parse(told).unwrap();
    assert_eq!(told.trace_id.to_string(), TRACE, "the answer's head");
    assert!(told.sampled);
    let own = answer.headers()["location"].to_str().unwrap().to_owned();
    let (status, problem) = read(answer).await;
    assert_eq!(status, 422);
    assert_eq!((&problem["trace_id"], &problem["request_id"]), (&TRACE.into(), &"req-7".into()));

    let (_, job) = server.get(&own).await;
    assert_eq!(job["problem"]["trace_id"], TRACE, "the stored job's view");
    assert_eq!(job["problem"]["request_id"], "req-7");

    let request = collector.until("POST /v1/designs", |_| true).await;
    let design = collector.until("design", |_| true).await;
    let bytes = told.trace_id.get().to_be_bytes();
    assert_eq!((&request.trace_id[..], &design.trace_id[..]), (&bytes[..], &bytes[..]));
    assert_eq!(request.parent_span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    assert_eq!(request.span_id, told.span_id.get().to_be_bytes());
    for span in [&request, &design] {
        assert_eq!(attribute(span, "request_id").cloned(), text("req-7"));
    }

    let log = server.log();
    let line = |message: &str, endpoint: Option<&str>| {
        let mut found = log.iter().filter(|line| line["message"] == message);
        let line = found.find(|line| endpoint.is_none_or(|endpoint| line["endpoint"] == endpoint));
        line.unwrap_or_else(|| panic!("no {message} in {log:#?}"))
    };
    let access = line("request", Some("/v1/designs"));
    let summary = line("Model inference failed", None);
    for line in [access, summary] {
        assert_eq!((&line["trace_id"], &line["request_id"]), (&TRACE.into(), &"req-7".into()));
    }
    assert_eq!(access["span_id"], told.span_id.to_string());

    let page = server.client.get(format!("http://{}/metrics", server.ready.metrics));
    let page = page.header("accept", "application/openmetrics-text; version=1.0.0");
    let page = page.send().await.unwrap().text().await.unwrap();
    for histogram in ["request_duration_seconds", "model_inference_duration_seconds"] {
        let beginning = format!("microdiff_{histogram}_bucket{{");
        let exemplar = format!("# {{trace_id=\"{TRACE}\"}}");
        assert!(
            page.lines().any(|line| line.starts_with(&beginning) && line.contains(&exemplar)),
            "no exemplar of {histogram} in\n{page}"
        );
    }
    server.drain().await;
}
