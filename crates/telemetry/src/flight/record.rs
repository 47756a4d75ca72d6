use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::clock::rfc3339;
use crate::redaction::Scrubber;
use crate::traces::TraceId;

/// What a service knows of a request beyond what every request has.
pub trait FlightDetails: Send + Sync + 'static {
    /// The details as a JSON object; made when a record is read, not when it is kept.
    fn json(&self) -> Value;
    /// Bytes they take on the heap, roughly; counts against the recorder's bound.
    fn heap_bytes(&self) -> usize;
}

/// One request worth keeping.
pub struct FlightRecord {
    /// What it is looked up by; unique in the service.
    pub id: String,
    /// The id of the request that asked for it, which finds it too; may be the same.
    pub request_id: String,
    /// Its trace.
    pub trace_id: Option<TraceId>,
    /// When it ended.
    pub time: SystemTime,
    /// The method it was asked by.
    pub method: &'static str,
    /// Template of the route it was asked at.
    pub endpoint: Cow<'static, str>,
    /// How it ended, in a word or a status code.
    pub status: Cow<'static, str>,
    /// Why it failed, from a bounded set.
    pub error_type: Option<Cow<'static, str>>,
    /// How long it took.
    pub duration: Duration,
    /// How long its parts took, in their order.
    pub phases: Vec<(&'static str, Duration)>,
    /// Bytes it brought.
    pub bytes: u64,
    /// What the service adds.
    pub details: Option<Box<dyn FlightDetails>>,
}

/// Texts from outside are cut to this many bytes.
const LONGEST_TEXT: usize = 256;

impl FlightRecord {
    /// The fields whose text may come from outside, cut to a bounded length.
    pub(super) fn bounded(mut self) -> Self {
        for text in [&mut self.id, &mut self.request_id] {
            cut(text);
        }
        for text in [&mut self.endpoint, &mut self.status].into_iter().chain(&mut self.error_type) {
            if text.len() > LONGEST_TEXT {
                cut(text.to_mut());
            }
        }
        self
    }

    /// Bytes it takes.
    pub(super) fn size(&self) -> usize {
        let texts = [self.id.len(), self.request_id.len(), self.endpoint.len(), self.status.len()];
        size_of::<Self>()
            + texts.iter().sum::<usize>()
            + self.error_type.as_ref().map_or(0, |text| text.len())
            + self.phases.capacity() * size_of::<(&str, Duration)>()
            + self.details.as_ref().map_or(0, |details| details.heap_bytes())
    }

    pub(super) fn json(&self, reasons: &[&str], version: &str, scrubber: &Scrubber) -> Value {
        let phases: Map<String, Value> = self
            .phases
            .iter()
            .map(|(phase, took)| ((*phase).to_owned(), json!(milliseconds(*took))))
            .collect();
        let record = json!({
            "id": self.id,
            "request_id": self.request_id,
            "trace_id": self.trace_id.map(|id| id.to_string()),
            "time": rfc3339(self.time),
            "reasons": reasons,
            "method": self.method,
            "endpoint": self.endpoint,
            "status": self.status,
            "error_type": self.error_type,
            "duration_ms": milliseconds(self.duration),
            "phases_ms": phases,
            "bytes": self.bytes,
            "version": version,
            "details": self.details.as_ref().map(|details| details.json()),
        });
        scrubber.scrub_json("", record)
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn cut(text: &mut String) {
    if text.len() > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
    }
    text.shrink_to_fit();
}
