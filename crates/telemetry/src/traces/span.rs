//! Spans: started, given attributes, and sent on their way when dropped.
//!
//! A span that is recorded costs the work it describes two reads of the clock and an allocation; scrubbing, wall-clock times and encoding are left to the thread that exports. One
//! that is not recorded is its ids and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::TraceContext;
use super::export::Exporter;
use super::id::{SpanId, TraceId};
use super::options::{Sampler, TraceOptions};
use super::record::{Parent, Record};
use super::tail::{Budget, FirstHold, LocalTrace};
use super::value::{Text, Value};
use crate::redaction::Scrubber;

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

/// Starts spans. Cheap to clone.
#[derive(Clone)]
pub struct Tracer {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    sampler: Sampler,
    keep_slower_than: Option<Duration>,
    pub(super) budget: Budget,
    propagates: bool,
    attributes: usize,
    value_bytes: usize,
    scrubber: Scrubber,
    exporter: Option<Exporter>,
}

impl Inner {
    pub(super) fn send(&self, record: Box<Record>) {
        if let Some(exporter) = &self.exporter {
            exporter.send(record);
        }
    }

    /// Whether the first span of a piece of work, which may still run, failed or took too long.
    pub(super) fn keeps(&self, first: &Record) -> bool {
        let age = first.ended.unwrap_or_else(Instant::now).saturating_duration_since(first.started);
        first.failed() || self.keep_slower_than.is_some_and(|limit| age > limit)
    }

    /// Text as long as a span may hold. What is cut is scrubbed first: a secret cut in two would no
    /// longer look like one.
    fn bounded(&self, key: &str, text: Text) -> Text {
        if text.as_str().len() <= self.value_bytes {
            return text;
        }
        let mut shown = self.scrubber.scrub_field(key, text.as_str()).into_owned();
        shown.truncate(shown.floor_char_boundary(self.value_bytes));
        shown.into()
    }
}

impl Tracer {
    pub(super) fn new(
        options: &TraceOptions,
        scrubber: Scrubber,
        budget: Budget,
        exporter: Option<Exporter>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                sampler: options.sampler,
                keep_slower_than: options.keep_slower_than,
                budget,
                propagates: options.propagate,
                attributes: options.span_attributes,
                value_bytes: options.attribute_bytes,
                scrubber,
                exporter,
            }),
        }
    }

    /// The trace that a request says it belongs to, if callers are listened to at all.
    #[must_use]
    pub fn caller(&self, headers: &http::HeaderMap) -> Option<TraceContext> {
        self.inner.propagates.then(|| TraceContext::from_headers(headers)).flatten()
    }

    /// Starts the first span of a piece of work in a trace: a new trace, or that of a `parent` whose
    /// span is elsewhere (a caller, a job's submission). Whether it is kept, failed or slow, is
    /// decided for this span and those inside it alone.
    pub fn start(
        &self,
        name: impl Into<Text>,
        kind: SpanKind,
        parent: Option<TraceContext>,
    ) -> Span {
        self.start_at(Instant::now(), name, kind, parent)
    }

    /// [`Tracer::start`] for work that began at a time its caller has read from the clock.
    pub(crate) fn start_at(
        &self,
        started: Instant,
        name: impl Into<Text>,
        kind: SpanKind,
        parent: Option<TraceContext>,
    ) -> Span {
        let inner = &self.inner;
        let trace_id = parent.map_or_else(TraceId::random, |parent| parent.trace_id);
        let on = inner.exporter.is_some();
        let decided = parent.map(|parent| parent.sampled);
        let sampled = if on {
            inner.sampler.samples(trace_id.get(), decided)
        } else {
            // A caller's decision is still passed on, and nothing is recorded.
            decided.unwrap_or(false)
        };
        let random = parent.is_none_or(|parent| parent.random);
        let context = TraceContext { trace_id, span_id: SpanId::random(), sampled, random };
        let hold = match (on, sampled) {
            (false, _) => None,
            (true, true) => Some(Hold::Send(Arc::clone(inner))),
            (true, false) => {
                inner.keep_slower_than.map(|_| Hold::First(FirstHold::new(Arc::clone(inner))))
            }
        };
        let recording = hold.map(|hold| {
            let parent = parent.map(|parent| Parent { span: parent.span_id, remote: true });
            let record = Box::new(Record::new(started, context, parent, name.into(), kind));
            Recording { hold, record }
        });
        Span { context, recording }
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

    /// Gives the exporting thread a log to speak to.
    pub(crate) fn speak_to(&self, log: &tracing::Dispatch) {
        if let Some(exporter) = &self.inner.exporter {
            exporter.speak_to(log);
        }
    }
}

/// What happens to a finished span.
enum Hold {
    Send(Arc<Inner>),
    /// The first of a piece of work decides whether the work is kept.
    First(FirstHold),
    /// Held until the first span of the work ends and it is known whether the work is kept.
    Decide(Arc<LocalTrace>),
}

impl Hold {
    fn inner(&self) -> &Inner {
        match self {
            Self::Send(inner) => inner,
            Self::First(first) => first.inner(),
            Self::Decide(local) => local.inner(),
        }
    }

    /// What a span further in holds on to.
    fn share(&self) -> Self {
        match self {
            Self::Send(inner) => Self::Send(Arc::clone(inner)),
            Self::First(first) => Self::Decide(first.share()),
            Self::Decide(local) => Self::Decide(Arc::clone(local)),
        }
    }
}

struct Recording {
    hold: Hold,
    record: Box<Record>,
}

/// A piece of work with a beginning and an end. Ends when dropped. An unrecorded one only carries
/// its ids.
#[must_use = "a span lasts until it is dropped"]
pub struct Span {
    context: TraceContext,
    recording: Option<Recording>,
}

impl Span {
    /// Starts a span inside this one.
    pub fn child(&self, name: impl Into<Text>) -> Self {
        let hold = self.recording.as_ref().map(|recording| &recording.hold);
        child(self.context, hold, name, SpanKind::Internal)
    }

    /// What starts spans inside this one from elsewhere: another task, a job that outlives it.
    #[must_use]
    pub fn parent(&self) -> ParentSpan {
        let hold = self.recording.as_ref().map(|recording| recording.hold.share());
        ParentSpan { context: self.context, hold }
    }

    /// Gives the span the name it should have had, once that is known.
    pub fn rename(&mut self, name: impl Into<Text>) {
        if let Some(Recording { record, .. }) = &mut self.recording {
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
        self.recording.is_some()
    }

    /// Sets an attribute; a later value of the same key replaces the earlier one.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        let Some(Recording { hold, record, .. }) = &mut self.recording else { return };
        let inner = hold.inner();
        let value = match value.into() {
            Value::Text(text) => Value::Text(inner.bounded(key, text)),
            other => other,
        };
        let full = record.attributes.len() >= inner.attributes;
        match record.attributes.iter_mut().find(|(held, _)| *held == key) {
            Some((_, held)) => *held = value,
            None if full => record.dropped_attributes += 1,
            None => record.attributes.push((key, value)),
        }
    }

    /// Marks the span as failed, with a text that is scrubbed.
    pub fn fail(&mut self, reason: &str) {
        let Some(Recording { hold, record, .. }) = &mut self.recording else { return };
        record.failure = Some(hold.inner().bounded("", reason.to_owned().into()));
    }

    /// Says when the work ended, if its caller has read the clock; else it ends with the span.
    pub(crate) fn end_at(&mut self, ended: Instant) {
        if let Some(Recording { record, .. }) = &mut self.recording {
            record.ended = Some(ended);
        }
    }

    /// Whether this span will be exported, as far as can be known now. Of the first span of a piece
    /// of work that is not sampled this *is* the decision, by its failure and its age so far, so
    /// that an exemplar written now leads somewhere; of one further in it is `false` until that
    /// decision has been made.
    #[must_use]
    pub fn settle(&mut self) -> bool {
        let Some(Recording { hold, record }) = &mut self.recording else { return false };
        match hold {
            Hold::Send(_) => true,
            Hold::First(first) => first.decide(record),
            Hold::Decide(local) => local.decided().unwrap_or(false),
        }
    }
}

fn child(parent: TraceContext, hold: Option<&Hold>, name: impl Into<Text>, kind: SpanKind) -> Span {
    let context = TraceContext { span_id: SpanId::random(), ..parent };
    let recording = hold.map(|hold| {
        let parent = Some(Parent { span: parent.span_id, remote: false });
        let record = Box::new(Record::new(Instant::now(), context, parent, name.into(), kind));
        Recording { hold: hold.share(), record }
    });
    Span { context, recording }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(Recording { hold, mut record }) = self.recording.take() else { return };
        record.ended.get_or_insert_with(Instant::now);
        match hold {
            Hold::Send(inner) => inner.send(record),
            Hold::First(first) => first.end(record),
            Hold::Decide(local) => local.add(record),
        }
    }
}

/// Starts spans inside a span that may be elsewhere, or over. Cheap to clone.
pub struct ParentSpan {
    context: TraceContext,
    hold: Option<Hold>,
}

impl Clone for ParentSpan {
    fn clone(&self) -> Self {
        Self { context: self.context, hold: self.hold.as_ref().map(Hold::share) }
    }
}

impl ParentSpan {
    /// The ids of the span itself.
    #[must_use]
    pub const fn context(&self) -> TraceContext {
        self.context
    }

    /// Starts a span inside.
    pub fn child(&self, name: impl Into<Text>) -> Span {
        self.child_of_kind(name, SpanKind::Internal)
    }

    /// Starts a span of this kind inside.
    pub fn child_of_kind(&self, name: impl Into<Text>, kind: SpanKind) -> Span {
        child(self.context, self.hold.as_ref(), name, kind)
    }
}
