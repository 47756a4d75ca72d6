//! Spans as a collector receives them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use microdiff_telemetry::traces::{Protocol, SpanKind, TraceContext};
use microdiff_telemetry::{Guard, Telemetry};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, span, status};
use prost::Message as _;
use tonic::transport::server::TcpIncoming;

use crate::{LONG, options, sample};

type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

#[tonic::async_trait]
impl TraceService for GrpcStore {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

struct GrpcStore(Received);

/// The same over gRPC.
fn grpc_collector() -> Collector {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let received = Received::default();
    let service = TraceServiceServer::new(GrpcStore(Arc::clone(&received)));
    let listener = {
        let _inside = runtime.enter();
        TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap()
    };
    let address = listener.local_addr().unwrap();
    runtime.spawn(
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(listener),
    );
    Collector { address, received, _runtime: runtime }
}

#[test]
fn grpc_collectors_receive_batch_after_batch() {
    let collector = grpc_collector();
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder.path().join("log"));
    options.traces.endpoint = Some(format!("http://{}", collector.address));
    options.traces.protocol = Protocol::Grpc;
    let (telemetry, guard, _) = Telemetry::start_local(options).unwrap();
    for name in ["first", "second"] {
        drop(telemetry.tracer().start(name, SpanKind::Server, None));
        assert!(telemetry.tracer().flush(LONG));
    }
    assert!(guard.shutdown(LONG));
    let names: Vec<_> = spans(&collector).into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["first", "second"]);
    assert_eq!(sample(&telemetry, "bakery_telemetry_span_exports_total{result=\"ok\"}"), Some(2.0));
}

/// A collector on a runtime of its own that decodes what it is sent.
struct Collector {
    address: SocketAddr,
    received: Received,
    _runtime: tokio::runtime::Runtime,
}

fn collector(status: StatusCode) -> Collector {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let received = Received::default();
    let store = Arc::clone(&received);
    let take = move |body: Bytes| async move {
        store.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
        status
    };
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/v1/traces", post(take));
    runtime.spawn(async move { axum::serve(listener, app).await });
    Collector { address, received, _runtime: runtime }
}

struct Service {
    telemetry: Telemetry,
    guard: Guard,
    _folder: tempfile::TempDir,
}

fn service(address: SocketAddr, ratio: f64) -> Service {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder.path().join("log"));
    options.traces.endpoint = Some(format!("http://{address}/v1/traces"));
    options.traces.sampler.ratio = ratio;
    options.traces.queue_spans = 4;
    options.traces.delay = LONG;
    options.traces.timeout = Duration::from_millis(500);
    let (telemetry, guard, _) = Telemetry::start_local(options).unwrap();
    Service { telemetry, guard, _folder: folder }
}

fn spans(collector: &Collector) -> Vec<Span> {
    let received = collector.received.lock().unwrap();
    let scopes = received.iter().flat_map(|r| &r.resource_spans).flat_map(|r| &r.scope_spans);
    scopes.flat_map(|scope| scope.spans.clone()).collect()
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a any_value::Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref().and_then(|AnyValue { value }| value.as_ref())
}

#[test]
fn a_collector_receives_every_field_of_a_span() {
    let collector = collector(StatusCode::OK);
    let Service { telemetry, guard, _folder } = service(collector.address, 1.0);
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
    let spans = spans(&collector);
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
    let received = collector.received.lock().unwrap();
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
    let collector = collector(StatusCode::OK);
    let Service { telemetry, guard, _folder } = service(collector.address, 0.0);
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
    let names: Vec<_> = spans(&collector).into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["step", "bad", "late"]);
}

#[test]
fn a_collector_that_refuses_or_is_gone_costs_nothing_but_the_spans() {
    let refusing = collector(StatusCode::BAD_REQUEST);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [refusing.address, gone] {
        let Service { telemetry, guard, _folder } = service(address, 1.0);
        for _ in 0..3 {
            drop(telemetry.tracer().start("bake", SpanKind::Server, None));
        }
        assert!(guard.shutdown(LONG));
        let failed = sample(&telemetry, "bakery_telemetry_spans_total{result=\"failed\"}");
        assert_eq!(failed, Some(3.0), "{address}");
    }
}

#[test]
fn a_collector_that_hangs_leaves_a_bounded_queue_and_counted_drops() {
    // Accepts nothing: connections wait in the backlog for ever.
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let Service { telemetry, guard, _folder } = service(hanging.local_addr().unwrap(), 1.0);
    for _ in 0..100 {
        drop(telemetry.tracer().start("bake", SpanKind::Server, None));
    }
    let dropped = sample(&telemetry, "bakery_telemetry_spans_total{result=\"dropped\"}").unwrap();
    // At most one batch on its way and one queue waiting.
    assert!(dropped >= 100.0 - 2.0 * 4.0, "{dropped}");
    assert!(!guard.shutdown(Duration::from_millis(1)), "the deadline holds");
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
