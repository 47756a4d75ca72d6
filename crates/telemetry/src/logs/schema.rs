//! Which keys a line has: this crate's own, or those of the Elastic Common Schema.

use std::collections::HashSet;
use std::str::FromStr;

use serde_json::Value;
use tracing::Level;

use super::fields::{Ecs, FIELDS, FieldKind, LogField, custom_key};
use super::json::{push_key, push_string};
use crate::TelemetryError;

/// The version of ECS whose field names are used.
pub const ECS_VERSION: &str = "8.17.0";

/// What the line itself writes; an event's field of that name is put under `fields.`.
const OWN_NAMES: &[&str] =
    &["timestamp", "level", "logger", "module", "line", "service", "version", "ecs.version"];

/// The keys of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogSchema {
    /// `timestamp`, `level`, `logger`, `message` and so on.
    #[default]
    Native,
    /// Elastic Common Schema with dotted keys, as its loggers for other languages write it.
    Ecs,
}

impl FromStr for LogSchema {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "native" => Ok(Self::Native),
            "ecs" => Ok(Self::Ecs),
            _ => Err(TelemetryError::LogSetting { what: "schema", expected: "native or ecs" }),
        }
    }
}

/// All fields a service's lines may have, and the check that they have no others.
#[derive(Clone, Debug)]
pub struct LogCatalogue {
    prefix: String,
    fields: Vec<LogField>,
}

impl LogCatalogue {
    /// The rows of this crate and `service`'s own. `prefix` is what the service's loggers begin
    /// with, and its namespace in ECS.
    ///
    /// # Errors
    /// [`TelemetryError::LogField`] when two rows share a key or a name is malformed.
    pub fn new(prefix: &str, service: &[LogField]) -> Result<Self, TelemetryError> {
        let fields: Vec<_> = FIELDS.iter().chain(service).copied().collect();
        let mut keys = HashSet::new();
        for field in &fields {
            let refuse = |reason: &str| TelemetryError::LogField {
                field: field.name.to_owned(),
                reason: reason.to_owned(),
            };
            let sane = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._".contains(&b);
            if field.name.is_empty() || !field.name.bytes().all(sane) {
                return Err(refuse("a name has lower-case letters, digits, `_` and `.`"));
            }
            for schema in [LogSchema::Native, LogSchema::Ecs] {
                if !keys.insert((schema == LogSchema::Ecs, field.key(schema, prefix))) {
                    return Err(refuse("another row has the same key"));
                }
            }
            let fitting = match field.ecs {
                Ecs::Nanoseconds(_) => field.kind == FieldKind::Number && field.unit == "ms",
                Ecs::Outcome(_) => field.kind == FieldKind::Boolean,
                Ecs::Custom | Ecs::Name(_) => true,
            };
            if !fitting {
                return Err(refuse("its kind does not fit its ECS form"));
            }
        }
        Ok(Self { prefix: prefix.to_owned(), fields })
    }

    /// Every row.
    #[must_use]
    pub fn fields(&self) -> &[LogField] {
        &self.fields
    }

    /// Reads one line and returns the names of the fields it has. Libraries speak for themselves:
    /// a line of a logger outside the service's prefix may have further fields.
    ///
    /// # Errors
    /// What is wrong with the line: not an object, a field that no row declares, a value of
    /// another kind than declared, or a field missing that every line has.
    pub fn check(&self, schema: LogSchema, line: &str) -> Result<Vec<&'static str>, String> {
        let value: Value =
            serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        let object = value.as_object().ok_or_else(|| format!("no object: {line}"))?;
        let find = |key: &str| self.fields.iter().find(|f| f.key(schema, &self.prefix) == *key);
        let mut seen = Vec::new();
        let logger = self.key_of("logger", schema);
        let own = object.get(&logger).and_then(Value::as_str).is_some_and(|logger| {
            logger.strip_prefix(&self.prefix).is_some_and(|r| r.is_empty() || r.starts_with('.'))
        });
        for (key, value) in object {
            match find(key) {
                Some(field) if fits(field.kind_in(schema), value) => seen.push(field.name),
                Some(field) => {
                    let kind = field.kind_in(schema).as_str();
                    return Err(format!("`{key}` is declared as {kind}: {line}"));
                }
                None if own => return Err(format!("no table declares `{key}`: {line}")),
                None => {}
            }
        }
        for name in ["timestamp", "level", "logger", "message", "module", "function", "line"] {
            if !seen.contains(&name) {
                return Err(format!("`{name}` is missing: {line}"));
            }
        }
        Ok(seen)
    }

    pub(super) fn find(&self, name: &str) -> Option<&LogField> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The key in `schema` of the field called `name`.
    pub(super) fn key_of(&self, name: &str, schema: LogSchema) -> String {
        match self.find(name) {
            Some(field) => field.key(schema, &self.prefix),
            None => name.to_owned(),
        }
    }
}

fn fits(kind: FieldKind, value: &Value) -> bool {
    match kind {
        FieldKind::Text => value.is_string(),
        FieldKind::Integer => value.is_u64() || value.is_i64(),
        FieldKind::Number => value.is_number() || value.is_null(),
        FieldKind::Boolean => value.is_boolean(),
        FieldKind::Timestamp => value.as_str().is_some_and(|text| {
            let shape = "dddd-dd-ddTdd:dd:dd.ddddddZ";
            text.len() == shape.len()
                && text.bytes().zip(shape.bytes()).all(|(byte, wanted)| match wanted {
                    b'd' => byte.is_ascii_digit(),
                    other => byte == other,
                })
        }),
    }
}

/// Where a line comes from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) logger: &'a str,
    pub(super) module: &'a str,
    pub(super) file: &'a str,
    pub(super) line: u32,
}

impl Source<'_> {
    /// The function as far as the module tells: its last segment.
    pub(super) fn function(&self) -> &str {
        self.module.rsplit("::").next().unwrap_or("")
    }
}

/// A line without its moment, message, function and fields: what is the same each time.
pub(super) struct Frame {
    /// From behind the timestamp to before the message's value.
    pub(super) head: Vec<u8>,
    /// From behind the message's value to before the function's.
    pub(super) middle: Vec<u8>,
    /// From behind the function's value to before the fields.
    pub(super) end: Vec<u8>,
}

/// How a field's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// Milliseconds with three decimals.
    Milliseconds,
    /// Milliseconds as whole nanoseconds.
    Nanoseconds,
    /// `success` and `failure`.
    Outcome,
}

/// Writes the parts of lines in one schema.
pub(super) struct Schema {
    pub(super) kind: LogSchema,
    pub(super) catalogue: LogCatalogue,
    /// From the opening brace to before the timestamp's digits.
    pub(super) start: Vec<u8>,
    /// Service, version and the closing brace with its line feed.
    pub(super) tail: Vec<u8>,
}

impl Schema {
    pub(super) fn new(
        kind: LogSchema,
        catalogue: LogCatalogue,
        service: &str,
        version: &str,
    ) -> Self {
        let mut tail = Vec::new();
        for (name, text) in [("service", service), ("version", version)] {
            push_key(&mut tail, &catalogue.key_of(name, kind));
            push_string(&mut tail, text);
        }
        tail.extend_from_slice(b"}\n");
        let start = format!("{{\"{}\":\"", catalogue.key_of("timestamp", kind)).into_bytes();
        Self { kind, catalogue, start, tail }
    }

    pub(super) fn key_of(&self, name: &str) -> String {
        self.catalogue.key_of(name, self.kind)
    }

    /// Whether every line names its source file.
    pub(super) fn shows_file(&self) -> bool {
        self.kind == LogSchema::Ecs
    }

    pub(super) fn frame(&self, level: Level, source: &Source<'_>) -> Frame {
        let text = |out: &mut Vec<u8>, name: &str, value: &str| {
            push_key(out, &self.key_of(name));
            push_string(out, value);
        };
        let (mut head, mut middle, mut end) = (b"\"".to_vec(), Vec::new(), Vec::new());
        text(&mut head, "level", level.as_str());
        // Loggers of ECS put the message third, for a person who reads the raw line.
        let ecs = self.kind == LogSchema::Ecs;
        text(if ecs { &mut middle } else { &mut head }, "logger", source.logger);
        push_key(&mut head, &self.key_of("message"));
        if self.shows_file() {
            text(&mut middle, "ecs.version", ECS_VERSION);
            // Only the name: a dependency's whole path tells where the build machine keeps it.
            let file = source.file.rsplit(['/', '\\']).next().unwrap_or("");
            text(&mut middle, "file", file);
        }
        text(&mut middle, "module", source.module);
        push_key(&mut middle, &self.key_of("function"));
        push_key(&mut end, &self.key_of("line"));
        end.extend_from_slice(itoa::Buffer::new().format(source.line).as_bytes());
        Frame { head, middle, end }
    }

    /// The keys of a field, for a text and for a number or boolean, and how its value is written.
    pub(super) fn field(&self, name: &str) -> (String, String, String, Form) {
        let declared = self.catalogue.find(name);
        let line_writes = OWN_NAMES.contains(&name) || (self.shows_file() && name == "file");
        if line_writes {
            let name = format!("fields.{name}");
            let key = |kind| self.custom(&name, kind);
            let [text, number, boolean] =
                [FieldKind::Text, FieldKind::Number, FieldKind::Boolean].map(key);
            return (text, number, boolean, Form::Plain);
        }
        if let Some(field) = declared {
            let key = field.key(self.kind, &self.catalogue.prefix);
            let form = match (self.kind, field.ecs) {
                (LogSchema::Ecs, Ecs::Nanoseconds(_)) => Form::Nanoseconds,
                (LogSchema::Ecs, Ecs::Outcome(_)) => Form::Outcome,
                _ if field.kind == FieldKind::Number && field.unit == "ms" => Form::Milliseconds,
                _ => Form::Plain,
            };
            return (key.clone(), key.clone(), key, form);
        }
        let key = |kind| self.custom(name, kind);
        (key(FieldKind::Text), key(FieldKind::Number), key(FieldKind::Boolean), Form::Plain)
    }

    fn custom(&self, name: &str, kind: FieldKind) -> String {
        match self.kind {
            LogSchema::Native => name.to_owned(),
            LogSchema::Ecs => custom_key(name, kind, &self.catalogue.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> LogCatalogue {
        let rows =
            &[LogField::number("heat", "Heat.").unit("°C"), LogField::text("oven", "Which.")];
        LogCatalogue::new("bakery", rows).unwrap()
    }

    #[test]
    fn a_row_that_repeats_or_misfits_is_refused() {
        for bad in [
            LogField::text("level", "Twice."),
            LogField::text("Oven", "Not lower case."),
            LogField::text("x", "The same key in ECS.").ecs(Ecs::Name("message")),
            LogField::text("y", "No boolean.").ecs(Ecs::Outcome("event.kind")),
        ] {
            assert!(LogCatalogue::new("bakery", &[bad]).is_err(), "{}", bad.name);
        }
    }

    #[test]
    fn custom_fields_go_where_ecs_wants_them() {
        let catalogue = catalogue();
        assert_eq!(catalogue.key_of("heat", LogSchema::Ecs), "bakery.heat");
        assert_eq!(catalogue.key_of("oven", LogSchema::Ecs), "labels.oven");
        assert_eq!(catalogue.key_of("duration_ms", LogSchema::Ecs), "event.duration");
    }

    #[test]
    fn the_check_names_what_is_wrong() {
        let line = |rest: &str, logger: &str| {
            format!(
                "{{\"timestamp\":\"2026-01-02T03:04:05.000006Z\",\"level\":\"INFO\",\
                 \"logger\":\"{logger}\",\"message\":\"m\",\"module\":\"a\",\"function\":\"f\",\
                 \"line\":1{rest}}}"
            )
        };
        let check = |rest, logger| catalogue().check(LogSchema::Native, &line(rest, logger));
        assert!(check(",\"heat\":1.5", "bakery.oven").unwrap().contains(&"heat"));
        assert!(check(",\"heat\":\"hot\"", "bakery").unwrap_err().contains("declared as number"));
        assert!(check(",\"colour\":1", "bakery").unwrap_err().contains("declares `colour`"));
        assert!(check(",\"colour\":1", "bakeryman").is_ok());
        let late = line("", "bakery").replace('Z', "+01");
        assert!(catalogue().check(LogSchema::Native, &late).unwrap_err().contains("timestamp"));
        assert!(catalogue().check(LogSchema::Native, "{}").unwrap_err().contains("missing"));
        assert!(catalogue().check(LogSchema::Native, "x").is_err());
    }
}
