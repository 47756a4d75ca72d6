//! Every field a log line may have, one row each: the crate's own here, a service's in a table of
//! its own that it hands over in [`super::LogOptions::fields`].
//!
//! The JSON writer, the Elastic Common Schema (ECS) mapping, the reference page and the check that
//! tests run over every line all read these rows. A field that no row declares is still written
//! (losing what happened is worse than an undocumented key); [`super::LogCatalogue::check`] is what
//! refuses it.

use super::LogSchema;

/// What a field's value is in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// A number; `null` when it is not finite, because JSON has no such number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A moment as `2026-01-02T03:04:05.000006Z`.
    Timestamp,
}

impl FieldKind {
    /// The kind as the reference page calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
        }
    }
}

/// How a field is shown in the Elastic Common Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecs {
    /// ECS has no such field: text and booleans go under `labels.`, numbers under the service's
    /// own namespace, because ECS keeps every label as a keyword.
    Custom,
    /// The same value under this name.
    Name(&'static str),
    /// Milliseconds as whole nanoseconds, under this name.
    Nanoseconds(&'static str),
    /// `true` and `false` as `success` and `failure`, under this name.
    Outcome(&'static str),
}

/// Whether a field's name and meaning may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldStability {
    /// Only in a new major version.
    Stable,
    /// In any version.
    Experimental,
}

impl FieldStability {
    /// The stability as the reference page calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Experimental => "experimental",
        }
    }
}

/// One field of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogField {
    /// Its name in code and in the native schema.
    pub name: &'static str,
    /// What its value is.
    pub kind: FieldKind,
    /// The unit of a number; empty for a plain count and for what is no number.
    pub unit: &'static str,
    /// What it says.
    pub meaning: &'static str,
    /// On which lines it is.
    pub when: &'static str,
    /// How ECS shows it.
    pub ecs: Ecs,
    /// Whether it may change.
    pub stability: FieldStability,
}

impl LogField {
    /// A text; without [`LogField::when`] on lines it concerns.
    #[must_use]
    pub const fn text(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, FieldKind::Text, meaning)
    }

    /// A whole number.
    #[must_use]
    pub const fn integer(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, FieldKind::Integer, meaning)
    }

    /// A number.
    #[must_use]
    pub const fn number(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, FieldKind::Number, meaning)
    }

    /// A yes or no.
    #[must_use]
    pub const fn boolean(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, FieldKind::Boolean, meaning)
    }

    const fn new(name: &'static str, kind: FieldKind, meaning: &'static str) -> Self {
        Self {
            name,
            kind,
            unit: "",
            meaning,
            when: "where it is known",
            ecs: Ecs::Custom,
            stability: FieldStability::Stable,
        }
    }

    /// With a unit.
    #[must_use]
    pub const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// On these lines.
    #[must_use]
    pub const fn when(mut self, when: &'static str) -> Self {
        self.when = when;
        self
    }

    /// Shown in ECS like this.
    #[must_use]
    pub const fn ecs(mut self, ecs: Ecs) -> Self {
        self.ecs = ecs;
        self
    }

    /// May change in any version.
    #[must_use]
    pub const fn experimental(mut self) -> Self {
        self.stability = FieldStability::Experimental;
        self
    }

    /// Its key in `schema`, in a service whose own ECS namespace is `namespace`.
    #[must_use]
    pub fn key(&self, schema: LogSchema, namespace: &str) -> String {
        match (schema, self.ecs) {
            (LogSchema::Native, _) => self.name.to_owned(),
            (LogSchema::Ecs, Ecs::Name(name) | Ecs::Nanoseconds(name) | Ecs::Outcome(name)) => {
                name.to_owned()
            }
            (LogSchema::Ecs, Ecs::Custom) => custom_key(self.name, self.kind, namespace),
        }
    }

    /// What its value is in `schema`.
    #[must_use]
    pub const fn kind_in(&self, schema: LogSchema) -> FieldKind {
        match (schema, self.ecs) {
            (LogSchema::Ecs, Ecs::Nanoseconds(_)) => FieldKind::Integer,
            (LogSchema::Ecs, Ecs::Outcome(_)) => FieldKind::Text,
            _ => self.kind,
        }
    }
}

/// The ECS key of a field that ECS does not know. Labels hold no nested objects, so no dots.
pub(super) fn custom_key(name: &str, kind: FieldKind, namespace: &str) -> String {
    let number = matches!(kind, FieldKind::Integer | FieldKind::Number);
    let folder = if number { namespace } else { "labels" };
    format!("{folder}.{}", name.replace('.', "_"))
}

const EVERY: &str = "every line";
const REQUEST: &str = "lines written while a request is served";
const ACCESS: &str = "access lines";
const AUDIT: &str = "lines about audit segments and their end";
const HEALTH: &str = "lines about health checks";

/// The rows of this crate itself.
pub const FIELDS: &[LogField] = &[
    LogField::new("timestamp", FieldKind::Timestamp, "When it happened, UTC.")
        .when(EVERY)
        .ecs(Ecs::Name("@timestamp")),
    LogField::text("level", "`ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.")
        .when(EVERY)
        .ecs(Ecs::Name("log.level")),
    LogField::text("logger", "Who speaks; each logger has a level of its own.")
        .when(EVERY)
        .ecs(Ecs::Name("log.logger")),
    LogField::text("message", "What happened.").when(EVERY).ecs(Ecs::Name("message")),
    LogField::text("module", "The module of the code that speaks.").when(EVERY),
    LogField::text("function", "The function, or the operation, that speaks.")
        .when(EVERY)
        .ecs(Ecs::Name("log.origin.function")),
    LogField::integer("line", "The line of the source file.")
        .when(EVERY)
        .ecs(Ecs::Name("log.origin.file.line")),
    LogField::text("file", "The source file.")
        .when("panics; in ECS every line")
        .ecs(Ecs::Name("log.origin.file.name")),
    LogField::text("service", "The service's name.").when(EVERY).ecs(Ecs::Name("service.name")),
    LogField::text("version", "The service's version.")
        .when(EVERY)
        .ecs(Ecs::Name("service.version")),
    LogField::text("ecs.version", "The version of ECS that the keys follow.")
        .when("every line, in ECS only")
        .ecs(Ecs::Name("ecs.version")),
    LogField::text("request_id", "The request's id, as in `x-request-id`.")
        .when(REQUEST)
        .ecs(Ecs::Name("http.request.id")),
    LogField::text("trace_id", "The trace, 32 hexadecimal digits.")
        .when("lines written while a request or its work runs")
        .ecs(Ecs::Name("trace.id")),
    LogField::text("span_id", "The span, 16 hexadecimal digits.")
        .when("lines written while a request or its work runs")
        .ecs(Ecs::Name("span.id")),
    LogField::text("user_id", "Who asked, as a keyed hash.")
        .when("lines of requests whose caller is known")
        .ecs(Ecs::Name("user.id")),
    LogField::number("duration_ms", "How long it took, to the microsecond.")
        .unit("ms")
        .when("access lines, and lines about work that has ended")
        .ecs(Ecs::Nanoseconds("event.duration")),
    LogField::boolean("success", "Whether it went well.")
        .when("access lines, health checks, and lines about work that has ended")
        .ecs(Ecs::Outcome("event.outcome")),
    LogField::text("error.type", "The kind of error, from a bounded set.")
        .when("lines about failures")
        .ecs(Ecs::Name("error.type")),
    LogField::text("error.message", "The error in words, redacted.")
        .when("lines about failures")
        .ecs(Ecs::Name("error.message")),
    LogField::text("method", "The method of the request.")
        .when(ACCESS)
        .ecs(Ecs::Name("http.request.method")),
    LogField::text("endpoint", "The route's template; `_unmatched` otherwise.").when(ACCESS),
    LogField::integer("status", "The status code; 499 is a client that left.")
        .when(ACCESS)
        .ecs(Ecs::Name("http.response.status_code")),
    LogField::integer("bytes", "Bytes of the answer's body.")
        .unit("bytes")
        .when(ACCESS)
        .ecs(Ecs::Name("http.response.body.bytes")),
    LogField::text("check", "The health check.").when(HEALTH),
    LogField::text("reason", "Why, in words fit for the public.")
        .when("lines about health checks, and about files written for a reason"),
    LogField::text("policy", "`required` or `optional`.").when(HEALTH),
    LogField::text("from", "The state a check had: `ok`, `degraded`, `failed` or `unknown`.")
        .when(HEALTH),
    LogField::text("to", "The state it has now.").when(HEALTH),
    LogField::number("seconds", "How long the runtime stood still.")
        .unit("s")
        .when("lines about a runtime that stalls"),
    LogField::text("device", "The GPU, as `cuda:0`.").when("lines about GPUs"),
    LogField::text("uuid", "The GPU's own identity, which survives a renumbering.")
        .when("lines about GPUs that come and go"),
    LogField::integer("xid", "The driver's number of the error (NVIDIA XID).")
        .when("lines about errors of a GPU"),
    LogField::integer("devices", "GPUs that the driver lists.")
        .when("the line about a driver that answers"),
    LogField::text("driver", "The driver's version.").when("the line about a driver that answers"),
    LogField::integer("spans", "Spans not sent at the end.")
        .when("the line about them, when telemetry ends"),
    LogField::integer("segment", "The number of an audit segment.").when(AUDIT),
    LogField::integer("seq", "The number of the last audit record.").when(AUDIT),
    LogField::text("head", "The hash of the last audit record, to be kept elsewhere.").when(AUDIT),
    LogField::text("event", "What an audit record is about.")
        .when("the line about an audit record that is lost"),
    LogField::integer("removed", "Records, or audit segments, removed.")
        .when("lines about what is past its retention"),
    LogField::integer("dropped", "Lines lost because the writer was behind.")
        .when("the line that reports the loss"),
    LogField::integer("dropped_errors", "Those of them at level `ERROR`.")
        .when("the line that reports the loss"),
    LogField::text("sink", "The sink that fails: `stdout` or `file`.")
        .when("lines about sinks that fail or work again"),
    LogField::integer("lost", "Lines that never reached the sink, or spans the collector.")
        .when("lines about a sink or collector that fails or works again"),
    LogField::text("thread", "The thread's name.")
        .when("panics")
        .ecs(Ecs::Name("process.thread.name")),
];
