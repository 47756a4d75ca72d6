//! Spans as a collector receives them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use microdiff_telemetry::http::{HttpLayer, HttpOptions};
use microdiff_telemetry::metrics::Format;
use microdiff_telemetry::traces::{Protocol, SpanKind, TraceContext, TraceOptions};
use microdiff_telemetry::{Guard, Telemetry};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{span, status};
use tower::ServiceExt as _;

use crate::collector::{BOTH, Collector};
use crate::{LONG, options, sample};

struct Service {
    telemetry: Telemetry,
    guard: Guard,
    _folder: tempfile::TempDir,
}

fn service(collector: &Collector, edit: impl FnOnce(&mut TraceOptions)) -> Service {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder.path().join("log"));
    options.traces.protocol = collector.protocol;
    options.traces.set_base(&collector.endpoint);
    options.traces.delay = LONG;
    edit(&mut options.traces);
    let (telemetry, guard, _) = Telemetry::start_local(options).unwrap();
    Service { telemetry, guard, _folder: folder }
}

/// One whose head chooses nothing.
fn unsampled(collector: &Collector) -> Service {
    service(collector, |options| options.sampler.ratio = 0.0)
}

#[test]
fn collectors_receive_batch_after_batch() {
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        let Service { telemetry, guard, _folder } = service(&collector, |_| {});
        for name in ["first", "second"] {
            drop(telemetry.tracer().start(name, SpanKind::Server, None));
            assert!(telemetry.tracer().flush(LONG));
        }
        assert!(guard.shutdown(LONG));
        assert_eq!(collector.names(), ["first", "second"]);
        let batches = "bakery_telemetry_span_exports_total{result=\"ok\"}";
        assert_eq!(sample(&telemetry, batches), Some(2.0));
    }
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a any_value::Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref().and_then(|AnyValue { value }| value.as_ref())
}

#[test]
fn a_collector_receives_every_field_of_a_span() {
    let collector = Collector::start(Protocol::HttpProtobuf);
    let Service { telemetry, guard, _folder } = service(&collector, |_| {});
    let caller =
        TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
    let mut server = telemetry.tracer().start("bake", SpanKind::Server, Some(caller));
    server.set("cakes", 3_u64);
    server.set("cakes", 4_u64);
    server.set("warm", true);
    server.set("heat", 180.5);
    let mut child = server.child("knead");
    child.set("api_key", "k");
    child.set("note", "from /home/ada/x");
    child.fail("no flour for ada@example.org");
    let (server_ids, child_ids) = (server.context(), child.context());
    drop(child);
    drop(server);
    assert!(guard.shutdown(LONG));
    let spans = collector.spans();
    let [knead, bake] = spans.as_slice() else { panic!("{} spans", spans.len()) };
    assert_eq!((knead.name.as_str(), bake.name.as_str()), ("knead", "bake"));
    for span in &spans {
        assert_eq!(span.trace_id, caller.trace_id.get().to_be_bytes());
        assert!(span.start_time_unix_nano > 0);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    assert_eq!(bake.parent_span_id, caller.span_id.get().to_be_bytes());
    assert_eq!(bake.span_id, server_ids.span_id.get().to_be_bytes());
    assert_eq!(knead.parent_span_id, bake.span_id);
    assert_eq!(knead.span_id, child_ids.span_id.get().to_be_bytes());
    assert_eq!((bake.kind(), knead.kind()), (span::SpanKind::Server, span::SpanKind::Internal));
    use any_value::Value::{BoolValue, DoubleValue, IntValue, StringValue};
    assert_eq!(attribute(&bake.attributes, "cakes"), Some(&IntValue(4)));
    assert_eq!(attribute(&bake.attributes, "warm"), Some(&BoolValue(true)));
    assert_eq!(attribute(&bake.attributes, "heat"), Some(&DoubleValue(180.5)));
    assert_eq!(
        attribute(&knead.attributes, "api_key"),
        Some(&StringValue("[redacted]".to_owned()))
    );
    assert_eq!(attribute(&knead.attributes, "note"), Some(&StringValue("from [path]".to_owned())));
    let failure = knead.status.as_ref().unwrap();
    assert_eq!(failure.code(), status::StatusCode::Error);
    assert_eq!(failure.message, "no flour for [email]");
    let received = collector.requests();
    let resource = received[0].resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(
        attribute(&resource.attributes, "service.name"),
        Some(&StringValue("bakery".to_owned()))
    );
    assert_eq!(
        attribute(&resource.attributes, "service.version"),
        Some(&StringValue("1.2.3".to_owned()))
    );
    assert_eq!(sample(&telemetry, "bakery_telemetry_spans_total{result=\"exported\"}"), Some(2.0));
}

#[test]
fn an_unsampled_trace_is_kept_whole_when_it_fails_and_only_then() {
    let collector = Collector::start(Protocol::HttpProtobuf);
    let Service { telemetry, guard, _folder } = unsampled(&collector);
    for fails in [false, true] {
        let server =
            telemetry.tracer().start(if fails { "bad" } else { "good" }, SpanKind::Server, None);
        assert!(!server.context().sampled);
        let mut child = server.child("step");
        if fails {
            child.fail("burnt");
        }
        let late = server.parent();
        drop(child);
        drop(server);
        drop(late.child("late"));
    }
    assert!(guard.shutdown(LONG));
    assert_eq!(collector.names(), ["step", "bad", "late"]);
}

#[test]
fn without_an_endpoint_there_are_ids_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (telemetry, guard, _) = Telemetry::start_local(options(&folder.path().join("l"))).unwrap();
    let span = telemetry.tracer().start("bake", SpanKind::Server, None);
    assert!(!telemetry.tracer().is_exporting() && !span.is_recording());
    assert_eq!(span.child("x").context().trace_id, span.context().trace_id);
    assert!(guard.shutdown(LONG));
}

#[test]
fn a_slow_trace_is_kept_and_a_quick_one_is_not() {
    let collector = Collector::start(Protocol::HttpProtobuf);
    for (limit, kept) in [(Duration::ZERO, 2), (LONG, 0)] {
        let Service { telemetry, guard, _folder } = service(&collector, |options| {
            options.sampler.ratio = 0.0;
            options.keep_slower_than = Some(limit);
        });
        let server = telemetry.tracer().start("bake", SpanKind::Server, None);
        drop(server.child("knead"));
        drop(server);
        assert!(guard.shutdown(LONG));
        let exported = sample(&telemetry, "bakery_telemetry_spans_total{result=\"exported\"}");
        assert_eq!(exported, Some(f64::from(kept)));
    }
    assert_eq!(collector.names(), ["knead", "bake"]);
}

#[test]
fn each_piece_of_work_in_a_trace_is_kept_or_forgotten_by_itself() {
    let collector = Collector::start(Protocol::HttpProtobuf);
    let Service { telemetry, guard, _folder } = unsampled(&collector);
    let tracer = telemetry.tracer();
    let request = tracer.start("request", SpanKind::Server, None);
    let submitted = request.context();
    drop(request);
    let mut job = tracer.start("job", SpanKind::Internal, Some(submitted));
    drop(job.child("step"));
    job.fail("burnt");
    drop(job);
    assert!(guard.shutdown(LONG));
    assert_eq!(collector.names(), ["step", "job"], "the request ended well, and is gone");
    let spans = collector.spans();
    assert_eq!(spans[1].trace_id, submitted.trace_id.get().to_be_bytes());
    assert_eq!(spans[1].parent_span_id, submitted.span_id.get().to_be_bytes());
}

#[test]
fn held_spans_are_bounded_over_all_work_and_counted_beyond() {
    let collector = Collector::start(Protocol::HttpProtobuf);
    let Service { telemetry, guard, _folder } = service(&collector, |options| {
        options.sampler.ratio = 0.0;
        options.held_spans = 3;
    });
    let unheld = || sample(&telemetry, "bakery_telemetry_spans_total{result=\"unheld\"}").unwrap();
    let mut first = telemetry.tracer().start("first", SpanKind::Server, None);
    let second = telemetry.tracer().start("second", SpanKind::Server, None);
    drop((first.child("a"), first.child("b"), second.child("c")));
    assert_eq!(unheld(), 0.0);
    drop((first.child("d"), second.child("e")));
    assert_eq!(unheld(), 2.0);
    // Forgotten work makes room again.
    drop(second);
    drop(first.child("f"));
    assert_eq!(unheld(), 2.0);
    first.fail("burnt");
    drop(first);
    let third = telemetry.tracer().start("third", SpanKind::Server, None);
    drop((third.child("g"), third.child("h"), third.child("i")));
    assert_eq!(unheld(), 2.0);
    drop(third);
    assert!(guard.shutdown(LONG));
    assert_eq!(collector.names(), ["a", "b", "f", "first"]);
}

#[test]
fn attributes_are_bounded_in_number_and_length_and_a_cut_hides_no_secret() {
    let collector = Collector::start(Protocol::HttpProtobuf);
    let Service { telemetry, guard, _folder } = service(&collector, |options| {
        options.span_attributes = 2;
        options.attribute_bytes = 16;
    });
    let mut span = telemetry.tracer().start("bake", SpanKind::Server, None);
    span.set("long", "é".repeat(20));
    // Cut first, the address would end at its `@` and no longer be seen for one.
    span.set("mail", "to ada.lovelace@example.org".to_owned());
    span.set("third", 1_u64);
    drop(span);
    assert!(guard.shutdown(LONG));
    let spans = collector.spans();
    use any_value::Value::StringValue;
    assert_eq!(attribute(&spans[0].attributes, "long"), Some(&StringValue("é".repeat(8))));
    assert_eq!(attribute(&spans[0].attributes, "mail"), Some(&StringValue("to [email]".into())));
    assert_eq!((spans[0].attributes.len(), spans[0].dropped_attributes_count), (2, 1));
}

#[tokio::test]
async fn an_exemplar_leads_to_a_trace_that_was_exported() {
    let collector = tokio::task::spawn_blocking(|| Collector::start(Protocol::HttpProtobuf));
    let collector = Arc::new(collector.await.unwrap());
    let Service { telemetry, guard, _folder } = unsampled(&collector);
    let app = Router::new()
        .route("/good", get(|| async {}))
        .route("/bad", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .layer(HttpLayer::new(&telemetry, HttpOptions::default()));
    let mut traces = Vec::new();
    for path in ["/good", "/bad"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = app.clone().oneshot(request).await.unwrap();
        let told = answer.headers()["traceresponse"].to_str().unwrap();
        let context = TraceContext::parse(told).unwrap();
        assert!(!context.sampled, "what was sent before the end cannot know of it");
        assert!(context.random);
        traces.push(context.trace_id.to_string());
    }
    let page = telemetry.registry().encode(Format::OpenMetrics);
    assert!(!page.contains(&traces[0]), "no exemplar leads nowhere");
    assert!(page.contains(&traces[1]), "the failed request is the one looked for");
    let end = move || {
        assert!(guard.shutdown(LONG));
        let names = collector.names();
        drop(collector);
        names
    };
    assert_eq!(tokio::task::spawn_blocking(end).await.unwrap(), ["GET /bad"]);
}

#[tokio::test]
async fn the_server_span_follows_the_semantic_conventions() {
    let collector = tokio::task::spawn_blocking(|| Collector::start(Protocol::HttpProtobuf));
    let collector = collector.await.unwrap();
    let Service { telemetry, guard, _folder } = service(&collector, |_| {});
    let app = Router::new()
        .route("/cakes/{id}", get(|| async { "cake" }))
        .layer(HttpLayer::new(&telemetry, HttpOptions::default()));
    for (method, path) in [("GET", "/cakes/7"), ("GET", "/secret/7"), ("BREW", "/secret/7")] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = app.clone().oneshot(request).await.unwrap();
        axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
    }
    let spans = tokio::task::spawn_blocking(move || {
        assert!(guard.shutdown(LONG));
        collector.spans()
    });
    let spans = spans.await.unwrap();
    use any_value::Value::{IntValue, StringValue};
    let text = |text: &str| Some(StringValue(text.to_owned()));
    for (span, (name, method, route, status)) in spans.iter().zip([
        ("GET /cakes/{id}", "GET", text("/cakes/{id}"), 200),
        ("GET", "GET", None, 404),
        ("HTTP", "_OTHER", None, 404),
    ]) {
        let get = |key| attribute(&span.attributes, key).cloned();
        assert_eq!((span.name.as_str(), span.kind()), (name, span::SpanKind::Server));
        assert_eq!(get("http.request.method"), text(method));
        assert_eq!(get("http.route"), route);
        assert_eq!(get("url.scheme"), text("http"));
        assert_eq!(get("http.response.status_code"), Some(IntValue(status)));
        assert_eq!(get("error.type"), None, "a client's mistake is no failure of the server");
        assert!(
            span.status.as_ref().is_none_or(|status| status.code() == status::StatusCode::Unset)
        );
    }
    assert!(!format!("{spans:?}").contains("secret"));
}

#[tokio::test]
async fn callers_are_listened_to_unless_that_is_switched_off() {
    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (propagate, headers, joins) in [(true, 1, true), (true, 2, false), (false, 1, false)] {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options(&folder.path().join("log"));
        options.traces.propagate = propagate;
        let (telemetry, guard, _) = Telemetry::start_local(options).unwrap();
        let app = Router::new()
            .route("/", get(|| async {}))
            .layer(HttpLayer::new(&telemetry, HttpOptions::default()));
        let mut request = Request::get("/");
        for _ in 0..headers {
            request = request.header("traceparent", CALLER);
        }
        let answer = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let told = answer.headers()["traceresponse"].to_str().unwrap();
        assert_eq!(
            told.contains("0af7651916cd43dd8448eb211c80319c"),
            joins,
            "{propagate} {headers}"
        );
        assert!(guard.shutdown(LONG));
    }
}
