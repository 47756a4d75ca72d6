//! Spans: one that is not sampled, and one that is, with four attributes.
//!
//! This crate sends to a collector in this process that takes everything; the peers' exporter does
//! nothing, which is in their favour. What is timed is the caller's side.

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use microdiff_telemetry::traces::{Sampler as OwnSampler, SpanKind, TraceOptions};
use microdiff_telemetry::{Guard, Telemetry, TelemetryOptions};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::timing::{Case, compare, table};

const TIMES: u64 = 20_000;
const QUEUE: usize = 400_000;

pub fn run() -> Result<String> {
    let address = collector()?;
    let mut out = String::new();
    for (title, share) in
        [("Span that is not sampled, ns", 0.0), ("Sampled span with 4 attributes, ns", 1.0)]
    {
        let (telemetry, guard) = own(&address, share)?;
        let cases = cases(&telemetry, share)?;
        let flush = || {
            telemetry.tracer().flush(Duration::from_secs(30));
        };
        let rows: Vec<_> = cases
            .iter()
            .zip(compare(&cases, 1, flush))
            .map(|(case, ns)| (case.name.to_owned(), vec![ns]))
            .collect();
        out += &(table(title, &["one thread"], &rows) + "\n");
        guard.shutdown(Duration::from_secs(30));
    }
    Ok(out)
}

fn own(address: &str, ratio: f64) -> Result<(Telemetry, Guard)> {
    let mut options = TelemetryOptions::new("bench", "1", "bench", &[]);
    options.logs.stdout = false;
    options.traces = TraceOptions {
        endpoint: Some(format!("http://{address}/v1/traces")),
        sampler: OwnSampler { ratio, parent_based: true },
        queue_spans: QUEUE,
        ..TraceOptions::default()
    };
    let (telemetry, guard, _) = Telemetry::start_local(options)?;
    Ok((telemetry, guard))
}

fn cases(telemetry: &Telemetry, share: f64) -> Result<Vec<Case>> {
    let tracer = telemetry.tracer().clone();
    let provider = provider(share);
    let direct = provider.tracer("bench");
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(layer));
    Ok(vec![
        Case::new("this crate", TIMES, move |n| {
            for i in 0..n {
                let mut span = black_box(&tracer).start("GET /v1/things", SpanKind::Server, None);
                if span.is_recording() {
                    span.set("http.request.method", "GET");
                    span.set("http.route", "/v1/things");
                    span.set("http.response.status_code", 200_u16);
                    span.set("http.response.body.size", i);
                }
                black_box(&span);
            }
        }),
        Case::new("OpenTelemetry SDK alone", TIMES, move |n| {
            for i in 0..n {
                let mut span = black_box(&direct).start("GET /v1/things");
                if span.is_recording() {
                    span.set_attribute(KeyValue::new("http.request.method", "GET"));
                    span.set_attribute(KeyValue::new("http.route", "/v1/things"));
                    span.set_attribute(KeyValue::new("http.response.status_code", 200));
                    span.set_attribute(KeyValue::new("http.response.body.size", i as i64));
                }
                black_box(&span);
            }
        }),
        Case::new("`tracing-opentelemetry`", TIMES, move |n| {
            let _keep = &provider;
            tracing::dispatcher::with_default(&dispatch, || {
                for i in 0..n {
                    let span = tracing::info_span!(
                        "GET /v1/things",
                        http.request.method = "GET",
                        http.route = "/v1/things",
                        http.response.status_code = 200,
                        http.response.body.size = i,
                    );
                    let _entered = span.enter();
                    black_box(&span);
                }
            });
        }),
    ])
}

fn provider(share: f64) -> SdkTracerProvider {
    let config = BatchConfigBuilder::default().with_max_queue_size(QUEUE).build();
    let processor = BatchSpanProcessor::builder(Discard).with_batch_config(config).build();
    SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))))
        .build()
}

/// Takes spans and does nothing with them.
#[derive(Debug)]
pub struct Discard;

impl SpanExporter for Discard {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        drop(batch);
        Ok(())
    }
}

/// A collector over HTTP/1.1 that answers 200 to everything.
pub fn collector() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("collector")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || swallow(stream));
        }
    });
    Ok(address)
}

fn swallow(mut stream: TcpStream) -> Option<()> {
    let mut held = Vec::new();
    let mut chunk = vec![0_u8; 1 << 16];
    loop {
        let head = loop {
            if let Some(end) = held.windows(4).position(|part| part == b"\r\n\r\n") {
                break end + 4;
            }
            let got = stream.read(&mut chunk).ok().filter(|got| *got > 0)?;
            held.extend_from_slice(&chunk[..got]);
        };
        let text = String::from_utf8_lossy(&held[..head]).to_ascii_lowercase();
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(0);
        while held.len() < head + length {
            let got = stream.read(&mut chunk).ok().filter(|got| *got > 0)?;
            held.extend_from_slice(&chunk[..got]);
        }
        held.drain(..head + length);
        let answer =
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).ok()?;
    }
}
