//! The thread that sends spans to the collector.
//!
//! The SDK's batch processor drops spans without telling how many; this one has the same bounds and
//! counts what was exported, dropped and lost. The encoding, the protocol and the retries are the
//! SDK's exporter's. A collector that rejects a part of a batch (partial success) is not told apart
//! from one that takes all of it: the exporter does not say.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use super::options::{Protocol, TraceOptions};
use crate::metrics::{Counter, MetricSpec, Registry};
use crate::{TelemetryError, builtin};

pub(super) struct Exporter {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    sent: Condvar,
    queue_spans: usize,
    batch_spans: usize,
    delay: Duration,
    dropped: Counter,
    exported: Counter,
    failed: Counter,
    exports_ok: Counter,
    exports_failed: Counter,
}

#[derive(Default)]
struct State {
    queue: Vec<SpanData>,
    accepted: u64,
    handled: u64,
    hurry: bool,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exporter {
    pub(super) fn start(
        options: &TraceOptions,
        endpoint: &str,
        resource: Resource,
        registry: &Registry,
    ) -> Result<Self, TelemetryError> {
        let counter = |spec: &MetricSpec, label| {
            registry.counter(&spec.clone().prefixed(registry.prefix()), &[label])
        };
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            sent: Condvar::new(),
            queue_spans: options.queue_spans.max(1),
            batch_spans: options.batch_spans.clamp(1, options.queue_spans.max(1)),
            delay: options.delay,
            dropped: counter(&builtin::SPANS, "dropped"),
            exported: counter(&builtin::SPANS, "exported"),
            failed: counter(&builtin::SPANS, "failed"),
            exports_ok: counter(&builtin::SPAN_EXPORTS, "ok"),
            exports_failed: counter(&builtin::SPAN_EXPORTS, "failed"),
        });
        let transport = Transport::connect(options, endpoint, &resource)?;
        let worker = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("span-exporter".to_owned())
            .spawn(move || run(&worker, &transport))
            .map_err(|source| TelemetryError::System { what: "span exporter thread", source })?;
        Ok(Self { shared })
    }

    /// Queues a span; without room it is dropped and counted.
    pub(super) fn send(&self, span: SpanData) {
        let shared = &self.shared;
        let mut state = shared.lock();
        if state.closed || state.queue.len() >= shared.queue_spans {
            drop(state);
            shared.dropped.inc();
            return;
        }
        state.queue.push(span);
        state.accepted += 1;
        // The first span starts the delay, a full batch ends it.
        let wake = state.queue.len() == 1 || state.queue.len() == shared.batch_spans;
        drop(state);
        if wake {
            shared.wake.notify_one();
        }
    }

    pub(super) fn count_dropped(&self, spans: u64) {
        self.shared.dropped.add(spans);
    }

    pub(super) fn flush(&self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        let mut state = self.shared.lock();
        let target = state.accepted;
        state.hurry = true;
        self.shared.wake.notify_one();
        while state.handled < target {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.sent.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(super) fn close(&self, deadline: Duration) -> bool {
        self.shared.lock().closed = true;
        self.flush(deadline)
    }
}

/// Takes the next batch, after at most the delay; `None` when closed and empty.
fn next_batch(shared: &Shared) -> Option<Vec<SpanData>> {
    let mut state = shared.lock();
    while state.queue.is_empty() && !state.closed {
        state.hurry = false;
        state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    let full = shared.batch_spans;
    state = shared
        .wake
        .wait_timeout_while(state, shared.delay, |state| {
            !state.hurry && !state.closed && state.queue.len() < full
        })
        .unwrap_or_else(PoisonError::into_inner)
        .0;
    let count = state.queue.len().min(full);
    if count == 0 {
        return None;
    }
    Some(state.queue.drain(..count).collect())
}

fn run(shared: &Shared, transport: &Transport) {
    while let Some(batch) = next_batch(shared) {
        let spans = batch.len() as u64;
        let (total, exports) = if transport.export(batch) {
            (&shared.exported, &shared.exports_ok)
        } else {
            (&shared.failed, &shared.exports_failed)
        };
        total.add(spans);
        exports.inc();
        shared.lock().handled += spans;
        shared.sent.notify_all();
    }
    transport.shut_down();
}

/// The exporter with what drives it.
enum Transport {
    /// A blocking client: its future is done when first polled, or sleeps in place between tries.
    Http(SpanExporter),
    /// A channel driven by a small runtime of this thread alone.
    Grpc(SpanExporter, tokio::runtime::Runtime, Duration),
}

impl Transport {
    fn connect(
        options: &TraceOptions,
        endpoint: &str,
        resource: &Resource,
    ) -> Result<Self, TelemetryError> {
        let refuse = |error: &dyn std::fmt::Display| TelemetryError::Traces {
            variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
            reason: error.to_string().escape_debug().to_string(),
        };
        if !cfg!(feature = "tls") && endpoint.starts_with("https:") {
            return Err(refuse(&"https needs a build with the feature `tls`"));
        }
        match options.protocol {
            Protocol::HttpProtobuf => {
                let mut exporter = SpanExporter::builder()
                    .with_http()
                    .with_endpoint(endpoint)
                    .with_timeout(options.timeout)
                    .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                    .build()
                    .map_err(|error| refuse(&error))?;
                exporter.set_resource(resource);
                Ok(Self::Http(exporter))
            }
            Protocol::Grpc => {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(
                        |source| TelemetryError::System { what: "span exporter runtime", source },
                    )?;
                let mut exporter = {
                    let _inside = runtime.enter();
                    SpanExporter::builder()
                        .with_tonic()
                        .with_endpoint(endpoint)
                        .with_timeout(options.timeout)
                        .build()
                        .map_err(|error| refuse(&error))?
                };
                exporter.set_resource(resource);
                Ok(Self::Grpc(exporter, runtime, options.timeout))
            }
        }
    }

    fn export(&self, batch: Vec<SpanData>) -> bool {
        match self {
            Self::Http(exporter) => block_on(exporter.export(batch)).is_ok(),
            Self::Grpc(exporter, runtime, timeout) => runtime.block_on(async {
                matches!(tokio::time::timeout(*timeout, exporter.export(batch)).await, Ok(Ok(())))
            }),
        }
    }

    fn shut_down(&self) {
        let (Self::Http(exporter) | Self::Grpc(exporter, ..)) = self;
        // Nothing is left to lose by a failure here.
        let _ = exporter.shutdown();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
