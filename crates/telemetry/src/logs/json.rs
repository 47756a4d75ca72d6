//! One event as one JSON object, written straight into bytes.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};

use crate::redaction::Scrubber;

/// A longer value is cut: a log line is no place for a document.
const MAX_VALUE_BYTES: usize = 8 * 1024;

/// Keys that the line itself writes; an event's field of that name is put under `fields.`.
const OWN_KEYS: &[&str] = &["timestamp", "level", "logger", "module", "line", "service", "version"];

/// Appends `text` as a JSON string, quotes included. Control characters are escaped.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 | 0x7f => {
                &[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
            }
            _ => continue,
        };
        out.extend_from_slice(&bytes[start..i]);
        out.extend_from_slice(escape);
        start = i + 1;
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

/// Appends `,"key":`.
pub(super) fn push_key(out: &mut Vec<u8>, key: &str) {
    out.push(b',');
    push_string(out, key);
    out.push(b':');
}

pub(super) fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_VALUE_BYTES {
        return Cow::Borrowed(text);
    }
    let end = (0..=MAX_VALUE_BYTES).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    Cow::Owned(format!("{}…", text.get(..end).unwrap_or("")))
}

/// Fields rendered as `,"key":value`, each once: the first to come stays.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) rendered: Vec<u8>,
    /// Each key with the end of its text in `rendered`.
    pub(super) keys: Vec<(&'static str, usize)>,
}

impl Fields {
    pub(super) fn clear(&mut self) {
        self.rendered.clear();
        self.keys.clear();
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|(held, _)| *held == key)
    }

    /// Takes over the fields of an outer span that are not there yet.
    pub(super) fn inherit(&mut self, outer: &Self) {
        let mut start = 0;
        for &(key, end) in &outer.keys {
            if !self.has(key) {
                self.rendered.extend_from_slice(outer.rendered.get(start..end).unwrap_or(&[]));
                self.keys.push((key, self.rendered.len()));
            }
            start = end;
        }
    }

    /// Adds a text unless the key is there already.
    pub(super) fn add_text(&mut self, key: &'static str, text: &str, scrubber: &Scrubber) {
        if !self.has(key) {
            push_key(&mut self.rendered, key);
            push_string(&mut self.rendered, &scrubber.scrub_field(key, text));
            self.keys.push((key, self.rendered.len()));
        }
    }

    /// Takes over newly recorded values, which replace older ones of the same key.
    pub(super) fn replace_with(&mut self, mut newer: Self) {
        newer.inherit(self);
        *self = newer;
    }
}

/// Renders the fields of an event or span; `message` and `function` are kept apart.
pub(super) struct Visitor<'a> {
    pub(super) scrubber: &'a Scrubber,
    pub(super) fields: &'a mut Fields,
    pub(super) message: &'a mut String,
    pub(super) function: &'a mut String,
    pub(super) scratch: &'a mut String,
}

impl Visitor<'_> {
    fn begin(&mut self, field: &Field) -> Option<&'static str> {
        let name = field.name();
        let key = match name.strip_prefix("r#").unwrap_or(name) {
            "error" => "error.message",
            key => key,
        };
        if self.fields.has(key) {
            return None;
        }
        if OWN_KEYS.contains(&key) {
            push_key(&mut self.fields.rendered, &format!("fields.{key}"));
        } else {
            push_key(&mut self.fields.rendered, key);
        }
        Some(key)
    }

    fn end(&mut self, key: &'static str) {
        self.fields.keys.push((key, self.fields.rendered.len()));
    }

    fn text(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => {
                self.message.clear();
                self.message.push_str(&self.scrubber.scrub(&cut(value)));
            }
            "function" => {
                self.function.clear();
                self.function.push_str(&cut(value));
            }
            _ => {
                if let Some(key) = self.begin(field) {
                    let value = cut(value);
                    let shown = self.scrubber.scrub_field(key, &value);
                    push_string(&mut self.fields.rendered, &shown);
                    self.end(key);
                }
            }
        }
    }

    fn number(&mut self, field: &Field, value: impl fmt::Display) {
        if let Some(key) = self.begin(field) {
            if self.scrubber.is_secret_key(key) {
                push_string(&mut self.fields.rendered, crate::redaction::REDACTED);
            } else {
                self.scratch.clear();
                // Writing to a String cannot fail.
                let _ = write!(self.scratch, "{value}");
                self.fields.rendered.extend_from_slice(self.scratch.as_bytes());
            }
            self.end(key);
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.number(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.number(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.number(field, format_args!("{value:?}"));
        } else {
            // JSON has no such number.
            self.text(field, if value.is_nan() { "NaN" } else { "Infinity" });
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.text(field, &text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = std::mem::take(self.scratch);
        text.clear();
        let _ = write!(text, "{value:?}");
        self.text(field, &text);
        *self.scratch = text;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_survives_as_a_json_string(text in any::<String>()) {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert!(out.iter().all(|byte| *byte >= 0x20));
            let back: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(back, text);
        }
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        let long = "é".repeat(MAX_VALUE_BYTES);
        let shown = cut(&long);
        assert!(shown.len() <= MAX_VALUE_BYTES + '…'.len_utf8() && shown.ends_with('…'));
    }
}
