//! A finished span on its way to the exporter, and what the exporter makes of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace as otel;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use smallvec::SmallVec;

use super::context::TraceContext;
use super::id::SpanId;
use super::span::SpanKind;
use super::value::{Text, Value};
use crate::redaction::Scrubber;

/// Attributes of most spans; they lie in the record itself and cost no allocation of their own.
const USUAL_ATTRIBUTES: usize = 8;

#[derive(Clone, Copy)]
pub(super) struct Parent {
    pub(super) span: SpanId,
    /// In another process, or in another piece of work of this one.
    pub(super) remote: bool,
}

pub(super) struct Record {
    pub(super) context: TraceContext,
    pub(super) parent: Option<Parent>,
    pub(super) name: Text,
    pub(super) kind: SpanKind,
    pub(super) started: Instant,
    /// Nothing while the work goes on.
    pub(super) ended: Option<Instant>,
    pub(super) attributes: SmallVec<[(&'static str, Value); USUAL_ATTRIBUTES]>,
    pub(super) dropped_attributes: u32,
    pub(super) failure: Option<Text>,
}

impl Record {
    pub(super) fn new(
        started: Instant,
        context: TraceContext,
        parent: Option<Parent>,
        name: Text,
        kind: SpanKind,
    ) -> Self {
        Self {
            context,
            parent,
            name,
            kind,
            started,
            ended: None,
            attributes: SmallVec::new(),
            dropped_attributes: 0,
            failure: None,
        }
    }

    pub(super) const fn failed(&self) -> bool {
        self.failure.is_some()
    }
}

/// Turns records into what the exporter takes.
pub(super) struct Finisher {
    scrubber: Scrubber,
    scope: InstrumentationScope,
    clock: WallClock,
}

impl Finisher {
    pub(super) fn new(scrubber: Scrubber, scope: String) -> Self {
        let scope = InstrumentationScope::builder(scope).build();
        Self { scrubber, scope, clock: WallClock::start() }
    }

    pub(super) fn finish(&mut self, batch: VecDeque<Box<Record>>) -> Vec<SpanData> {
        self.clock.adjust(Instant::now(), SystemTime::now());
        batch.into_iter().map(|record| self.span_data(*record)).collect()
    }

    fn span_data(&self, record: Record) -> SpanData {
        let id = |span: SpanId| otel::SpanId::from(span.get());
        let mut flags = otel::TraceFlags::SAMPLED;
        if record.context.random {
            flags = otel::TraceFlags::new(flags.to_u8() | 2);
        }
        SpanData {
            span_context: otel::SpanContext::new(
                otel::TraceId::from(record.context.trace_id.get()),
                id(record.context.span_id),
                // What is exported was sampled, by the head or by the tail.
                flags,
                false,
                otel::TraceState::NONE,
            ),
            parent_span_id: record.parent.map_or(otel::SpanId::INVALID, |p| id(p.span)),
            parent_span_is_remote: record.parent.is_some_and(|parent| parent.remote),
            span_kind: match record.kind {
                SpanKind::Server => otel::SpanKind::Server,
                SpanKind::Client => otel::SpanKind::Client,
                SpanKind::Internal => otel::SpanKind::Internal,
            },
            name: self.scrubber.scrub_field("http.route", record.name.as_str()).into_owned().into(),
            start_time: self.clock.at(record.started),
            end_time: self.clock.at(record.ended.unwrap_or(record.started)),
            attributes: record.attributes.into_iter().map(|pair| self.attribute(pair)).collect(),
            dropped_attributes_count: record.dropped_attributes,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: match record.failure {
                Some(reason) => {
                    otel::Status::error(self.scrubber.scrub(reason.as_str()).into_owned())
                }
                None => otel::Status::Unset,
            },
            instrumentation_scope: self.scope.clone(),
        }
    }

    fn attribute(&self, (key, value): (&'static str, Value)) -> KeyValue {
        match value {
            Value::Text(text) => {
                KeyValue::new(key, self.scrubber.scrub_field(key, text.as_str()).into_owned())
            }
            Value::Int(number) => KeyValue::new(key, number),
            Value::Float(number) => KeyValue::new(key, number),
            Value::Bool(flag) => KeyValue::new(key, flag),
        }
    }
}

/// Wall-clock times for monotonic ones. All spans are placed by one pair of readings, so that a
/// child never seems to begin before its parent; the pair is taken anew when the wall clock was set.
struct WallClock {
    monotonic: Instant,
    wall: SystemTime,
}

/// Spans may be this far from the wall clock.
const WALL_CLOCK_TOLERANCE: Duration = Duration::from_millis(1);

impl WallClock {
    fn start() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    fn adjust(&mut self, monotonic: Instant, wall: SystemTime) {
        let shown = self.at(monotonic);
        let off = shown.duration_since(wall).unwrap_or_else(|later| later.duration());
        if off > WALL_CLOCK_TOLERANCE {
            *self = Self { monotonic, wall };
        }
    }

    fn at(&self, instant: Instant) -> SystemTime {
        match instant.checked_duration_since(self.monotonic) {
            Some(later) => self.wall + later,
            None => self.wall - self.monotonic.duration_since(instant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_the_wall_clock_only_when_it_was_set() {
        let (start, wall) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
        let mut clock = WallClock { monotonic: start, wall };
        let later = start + Duration::from_secs(5);
        assert_eq!(clock.at(later), wall + Duration::from_secs(5));
        // A clock that is disciplined drifts by microseconds: the pair stays.
        clock.adjust(later, wall + Duration::from_secs(5) + Duration::from_micros(300));
        assert_eq!(clock.at(start), wall);
        for set in [wall + Duration::from_secs(65), wall - Duration::from_secs(60)] {
            clock.adjust(later, set);
            assert_eq!(clock.at(later), set);
            assert_eq!(clock.at(start), set - Duration::from_secs(5), "a span begun before");
        }
    }
}
