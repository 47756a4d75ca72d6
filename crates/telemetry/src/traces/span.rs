//! Spans: started, given attributes, and sent on their way when dropped.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace as otel;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::export::Exporter;
use super::id::{SpanId, TraceContext, TraceId};
use super::options::Sampler;
use crate::redaction::Scrubber;

/// More attributes than this are counted and left out, as in the specification's default limits.
const MAX_ATTRIBUTES: usize = 128;
/// Spans held back for one trace until it is known whether it is kept.
const MAX_HELD_SPANS: usize = 256;

/// The role of a span in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Answers a remote caller.
    Server,
    /// Calls a remote service.
    Client,
    /// Work inside the process.
    Internal,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text; scrubbed before it leaves.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u16> for Value {
    fn from(value: u16) -> Self {
        Self::Int(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::from(value as u64)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// Starts spans. Cheap to clone.
#[derive(Clone)]
pub struct Tracer {
    inner: Arc<Inner>,
}

struct Inner {
    sampler: Sampler,
    keep_slower_than: Option<Duration>,
    scope: InstrumentationScope,
    scrubber: Scrubber,
    exporter: Option<Exporter>,
}

impl Tracer {
    pub(super) fn new(
        options: &super::TraceOptions,
        scope: String,
        scrubber: Scrubber,
        exporter: Option<Exporter>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                sampler: options.sampler,
                keep_slower_than: options.keep_slower_than,
                scope: InstrumentationScope::builder(scope).build(),
                scrubber,
                exporter,
            }),
        }
    }

    /// Starts the first span of this process in a trace: a new trace, or that of a remote `parent`.
    pub fn start(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        parent: Option<TraceContext>,
    ) -> Span {
        let trace_id = parent.map_or_else(TraceId::random, |parent| parent.trace_id);
        let on = self.inner.exporter.is_some();
        // Without an exporter a caller's decision is still passed on, and nothing is recorded.
        let decided = parent.map(|parent| parent.sampled);
        let sampled = match (on, decided) {
            (true, _) => self.inner.sampler.samples(trace_id.get(), decided),
            (false, decided) => decided.unwrap_or(false),
        };
        let context = TraceContext { trace_id, span_id: SpanId::random(), sampled };
        let hold = match (on, sampled) {
            (false, _) => None,
            (true, true) => Some(Hold::Send),
            (true, false) => self.inner.keep_slower_than.map(|_| Hold::Decide(Arc::default())),
        };
        let record = hold.map(|hold| {
            let remote = parent.map(|parent| parent.span_id);
            let parent = Parent { span: remote, remote: true };
            Box::new(Record::new(hold, name.into(), kind, parent))
        });
        Span { tracer: self.clone(), context, record }
    }

    /// Whether spans are exported at all.
    #[must_use]
    pub fn is_exporting(&self) -> bool {
        self.inner.exporter.is_some()
    }

    /// Sends what is waiting; `false` when `deadline` came first.
    pub fn flush(&self, deadline: Duration) -> bool {
        self.inner.exporter.as_ref().is_none_or(|exporter| exporter.flush(deadline))
    }

    pub(crate) fn close(&self, deadline: Duration) -> bool {
        self.inner.exporter.as_ref().is_none_or(|exporter| exporter.close(deadline))
    }
}

/// What happens to a finished span.
#[derive(Clone)]
enum Hold {
    Send,
    /// Held until the first span of the process ends and it is known whether the trace is kept.
    Decide(Arc<Mutex<Held>>),
}

#[derive(Default)]
struct Held {
    spans: Vec<SpanData>,
    failed: bool,
    dropped: u64,
    decided: Option<bool>,
}

#[derive(Clone, Copy)]
struct Parent {
    span: Option<SpanId>,
    remote: bool,
}

struct Record {
    hold: Hold,
    name: Cow<'static, str>,
    kind: SpanKind,
    parent: Parent,
    /// The first span of this process in the trace.
    first: bool,
    started: SystemTime,
    clock: Instant,
    attributes: Vec<KeyValue>,
    dropped_attributes: u32,
    failure: Option<String>,
}

impl Record {
    fn new(hold: Hold, name: Cow<'static, str>, kind: SpanKind, parent: Parent) -> Self {
        Self {
            hold,
            name,
            kind,
            first: parent.remote,
            parent,
            started: SystemTime::now(),
            clock: Instant::now(),
            attributes: Vec::new(),
            dropped_attributes: 0,
            failure: None,
        }
    }
}

/// A piece of work with a beginning and an end. Ends when dropped. An unrecorded one only carries
/// its ids.
#[must_use = "a span lasts until it is dropped"]
pub struct Span {
    tracer: Tracer,
    context: TraceContext,
    record: Option<Box<Record>>,
}

impl Span {
    /// Starts a span inside this one.
    pub fn child(&self, name: impl Into<Cow<'static, str>>) -> Self {
        self.parent().child(name)
    }

    /// What starts spans inside this one from elsewhere: another task, a job that outlives it.
    #[must_use]
    pub fn parent(&self) -> ParentSpan {
        let hold = self.record.as_ref().map(|record| record.hold.clone());
        ParentSpan { tracer: self.tracer.clone(), context: self.context, hold }
    }

    /// Gives the span the name it should have had, once that is known.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(record) = &mut self.record {
            record.name = name.into();
        }
    }

    /// The ids, for logs, exemplars, answers and onward calls.
    #[must_use]
    pub const fn context(&self) -> TraceContext {
        self.context
    }

    /// Whether attributes are worth computing.
    #[must_use]
    pub const fn is_recording(&self) -> bool {
        self.record.is_some()
    }

    /// Sets an attribute; a later value of the same key replaces the earlier one.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        let Some(record) = &mut self.record else { return };
        let value: opentelemetry::Value = match value.into() {
            Value::Text(text) => {
                let shown = self.tracer.inner.scrubber.scrub_field(key, &text).into_owned();
                shown.into()
            }
            Value::Int(number) => number.into(),
            Value::Float(number) => number.into(),
            Value::Bool(flag) => flag.into(),
        };
        let full = record.attributes.len() >= MAX_ATTRIBUTES;
        let held = record.attributes.iter_mut().find(|held| held.key.as_str() == key);
        match held {
            Some(held) => held.value = value,
            None if full => record.dropped_attributes += 1,
            None => record.attributes.push(KeyValue::new(key, value)),
        }
    }

    /// Marks the span as failed, with a text that is scrubbed.
    pub fn fail(&mut self, reason: &str) {
        let Some(record) = &mut self.record else { return };
        let reason = self.tracer.inner.scrubber.scrub(reason).into_owned();
        record.failure = Some(reason);
    }
}

/// Starts spans inside a span that may be elsewhere, or over. Cheap to clone.
#[derive(Clone)]
pub struct ParentSpan {
    tracer: Tracer,
    context: TraceContext,
    hold: Option<Hold>,
}

impl ParentSpan {
    /// The ids of the span itself.
    #[must_use]
    pub const fn context(&self) -> TraceContext {
        self.context
    }

    /// Starts a span inside.
    pub fn child(&self, name: impl Into<Cow<'static, str>>) -> Span {
        self.child_of_kind(name, SpanKind::Internal)
    }

    /// Starts a span of this kind inside.
    pub fn child_of_kind(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Span {
        let context = TraceContext { span_id: SpanId::random(), ..self.context };
        let record = self.hold.clone().map(|hold| {
            let parent = Parent { span: Some(self.context.span_id), remote: false };
            Box::new(Record::new(hold, name.into(), kind, parent))
        });
        Span { tracer: self.tracer.clone(), context, record }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(record) = self.record.take() else { return };
        let inner = &self.tracer.inner;
        let Some(exporter) = &inner.exporter else { return };
        let took = record.clock.elapsed();
        let failed = record.failure.is_some();
        let (hold, first) = (record.hold.clone(), record.first);
        let data = span_data(*record, self.context, took, &inner.scope);
        let held = match hold {
            Hold::Send => return exporter.send(data),
            Hold::Decide(held) => held,
        };
        let mut state = held.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed |= failed;
        match state.decided {
            // A child that outlived the first span follows the decision.
            Some(true) => return exporter.send(data),
            Some(false) => return,
            None if state.spans.len() < MAX_HELD_SPANS || first => state.spans.push(data),
            None => state.dropped += 1,
        }
        if first {
            let slow = inner.keep_slower_than.is_some_and(|limit| took > limit);
            let keep = state.failed || slow;
            state.decided = Some(keep);
            let spans = std::mem::take(&mut state.spans);
            let dropped = state.dropped;
            drop(state);
            if keep {
                exporter.count_dropped(dropped);
                spans.into_iter().for_each(|span| exporter.send(span));
            }
        }
    }
}

fn span_data(
    record: Record,
    context: TraceContext,
    took: Duration,
    scope: &InstrumentationScope,
) -> SpanData {
    let id = |span: SpanId| otel::SpanId::from(span.get());
    SpanData {
        span_context: otel::SpanContext::new(
            otel::TraceId::from(context.trace_id.get()),
            id(context.span_id),
            // What is exported was sampled, by the head or by the tail.
            otel::TraceFlags::SAMPLED,
            false,
            otel::TraceState::NONE,
        ),
        parent_span_id: record.parent.span.map_or(otel::SpanId::INVALID, id),
        parent_span_is_remote: record.parent.remote && record.parent.span.is_some(),
        span_kind: match record.kind {
            SpanKind::Server => otel::SpanKind::Server,
            SpanKind::Client => otel::SpanKind::Client,
            SpanKind::Internal => otel::SpanKind::Internal,
        },
        name: record.name,
        start_time: record.started,
        end_time: record.started + took,
        attributes: record.attributes,
        dropped_attributes_count: record.dropped_attributes,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: match record.failure {
            Some(reason) => otel::Status::error(reason),
            None => otel::Status::Unset,
        },
        instrumentation_scope: scope.clone(),
    }
}
