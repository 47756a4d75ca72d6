//! One event as one JSON object, written straight into bytes.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;

use tracing::field::{Field, Visit};

use super::plan::{Memo, Role, Slot};
use super::schema::Form;
use crate::redaction::{REDACTED, Scrubber};

/// A longer value is cut: a log line is no place for a document.
const MAX_VALUE_BYTES: usize = 8 * 1024;

/// Whether a byte cannot stand in a JSON string as it is; the delete character is escaped too,
/// because a terminal acts on it.
const ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table[0x7f] = true;
    table
};

/// Appends `text` as a JSON string, quotes included. Control characters are escaped.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    while let Some(at) = bytes[start..].iter().position(|byte| ESCAPED[usize::from(*byte)]) {
        let at = start + at;
        out.extend_from_slice(&bytes[start..at]);
        push_escape(out, bytes[at]);
        start = at + 1;
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(match byte {
        b'"' => b"\\\"",
        b'\\' => b"\\\\",
        b'\n' => b"\\n",
        b'\r' => b"\\r",
        b'\t' => b"\\t",
        _ => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    });
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

    /// Adds a text, redacted, unless its field is there already.
    pub(super) fn add_text(&mut self, slot: &Slot, text: &str, scrubber: &Scrubber) {
        if self.has(slot.name) {
            return;
        }
        let out = &mut self.rendered;
        out.extend_from_slice(&slot.text_key);
        if slot.secret {
            push_string(out, REDACTED);
        } else if slot.route {
            push_string(out, text);
        } else {
            push_string(out, &scrubber.scrub(text));
        }
        self.keys.push((slot.name, out.len()));
    }

    /// Adds a text that needs neither escapes nor redaction, unless its field is there already or
    /// its key is a secret's.
    pub(super) fn add_plain(&mut self, slot: &Slot, text: &[u8]) {
        if self.has(slot.name) {
            return;
        }
        let out = &mut self.rendered;
        out.extend_from_slice(&slot.text_key);
        out.push(b'"');
        out.extend_from_slice(if slot.secret { REDACTED.as_bytes() } else { text });
        out.push(b'"');
        self.keys.push((slot.name, out.len()));
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

    /// Takes over newly recorded values, which replace older ones of the same key.
    pub(super) fn replace_with(&mut self, mut newer: Self) {
        newer.inherit(self);
        *self = newer;
    }
}

/// Renders the fields of an event or span as its plan says; message and function are kept
/// apart.
pub(super) struct Visitor<'a> {
    pub(super) scrubber: &'a Scrubber,
    pub(super) slots: &'a [Slot],
    pub(super) fields: &'a mut Fields,
    pub(super) memo: &'a mut Memo,
    /// Whether there is a message; `memo` has it.
    pub(super) spoke: bool,
    pub(super) function: &'a mut Vec<u8>,
    pub(super) scratch: &'a mut String,
}

impl Visitor<'_> {
    /// The field's slot, unless an earlier field means the same.
    fn slot(&self, field: &Field) -> Option<&Slot> {
        self.slots.get(field.index()).filter(|slot| !self.fields.has(slot.name))
    }

    fn text(&mut self, field: &Field, value: &str) {
        let slots = self.slots;
        let Some(slot) = slots.get(field.index()) else { return };
        let value = cut(value);
        match slot.role {
            Role::Message => {
                self.spoke = true;
                self.memo.show(&value, |out| push_string(out, &self.scrubber.scrub(&value)));
            }
            Role::Function => {
                self.function.clear();
                push_string(self.function, &self.scrubber.scrub(&value));
            }
            Role::Value => self.fields.add_text(slot, &value, self.scrubber),
        }
    }

    /// A value that is written without quotes, under the key that `pick` chooses.
    fn bare(
        &mut self,
        field: &Field,
        pick: impl FnOnce(&Slot) -> &[u8],
        write: impl FnOnce(&mut Vec<u8>, Form),
    ) {
        let slots = self.slots;
        let Some(slot) = slots.get(field.index()) else { return };
        if slot.role != Role::Value {
            let mut text = Vec::new();
            write(&mut text, Form::Plain);
            return self.text(field, std::str::from_utf8(&text).unwrap_or(""));
        }
        if self.slot(field).is_none() {
            return;
        }
        let out = &mut self.fields.rendered;
        if slot.secret {
            out.extend_from_slice(&slot.text_key);
            push_string(out, REDACTED);
        } else {
            out.extend_from_slice(pick(slot));
            write(out, slot.form);
        }
        self.fields.keys.push((slot.name, out.len()));
    }

    fn integer(&mut self, field: &Field, value: impl itoa::Integer + Copy, millis: f64) {
        self.bare(
            field,
            |slot| &slot.number_key,
            |out, form| match form {
                Form::Nanoseconds => push_float(out, millis, form),
                _ => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            },
        );
    }
}

/// Appends a number; what is not finite becomes `null`, because JSON has no such number.
fn push_float(out: &mut Vec<u8>, value: f64, form: Form) {
    /// From here on a microsecond is below what the number can resolve.
    const LARGE: f64 = 1e12;
    if !value.is_finite() {
        return out.extend_from_slice(b"null");
    }
    let steps = match form {
        Form::Milliseconds => 1e3,
        Form::Nanoseconds => 1e6,
        Form::Plain | Form::Outcome => return push_display(out, format_args!("{value:?}")),
    };
    if form == Form::Milliseconds && !(0.0..LARGE).contains(&value) {
        return push_display(out, format_args!("{value:?}"));
    }
    // A cast from a float saturates, and a negative duration is none.
    let whole = (value * steps).round() as u64;
    let mut digits = itoa::Buffer::new();
    if form == Form::Nanoseconds {
        return out.extend_from_slice(digits.format(whole).as_bytes());
    }
    out.extend_from_slice(digits.format(whole / 1000).as_bytes());
    out.push(b'.');
    crate::clock::push_digits(out, (whole % 1000) as u32, 3);
}

fn push_display(out: &mut Vec<u8>, value: fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = io::Write::write_fmt(out, value);
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.integer(field, value, value as f64);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.integer(field, value, value as f64);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.integer(field, value, value as f64);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.integer(field, value, value as f64);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(
            field,
            |slot| &slot.boolean_key,
            |out, form| {
                out.extend_from_slice(match (form, value) {
                    (Form::Outcome, true) => b"\"success\"",
                    (Form::Outcome, false) => b"\"failure\"",
                    (_, true) => b"true",
                    (_, false) => b"false",
                });
            },
        );
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.bare(field, |slot| &slot.number_key, |out, form| push_float(out, value, form));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = std::mem::take(self.scratch);
        text.clear();
        let _ = write!(text, "{value}");
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.text(field, &text);
        *self.scratch = text;
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
            prop_assert!(out.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f));
            let back: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(back, text);
        }
    }

    #[test]
    fn durations_are_written_to_the_microsecond_and_whole_in_nanoseconds() {
        let shown = |value, form| {
            let mut out = Vec::new();
            push_float(&mut out, value, form);
            String::from_utf8(out).unwrap()
        };
        for (value, milliseconds, nanoseconds) in [
            (0.0, "0.000", "0"),
            (1.5, "1.500", "1500000"),
            (12.345_678_9, "12.346", "12345679"),
            (0.999_9, "1.000", "999900"),
            (-1.0, "-1.0", "0"),
            (1e12, "1000000000000.0", "1000000000000000000"),
            (f64::NAN, "null", "null"),
        ] {
            assert_eq!(shown(value, Form::Milliseconds), milliseconds);
            assert_eq!(shown(value, Form::Nanoseconds), nanoseconds);
        }
        assert_eq!(shown(0.1, Form::Plain), "0.1");
        assert_eq!(shown(f64::INFINITY, Form::Plain), "null");
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        let long = "é".repeat(MAX_VALUE_BYTES);
        let shown = cut(&long);
        assert!(shown.len() <= MAX_VALUE_BYTES + '…'.len_utf8() && shown.ends_with('…'));
    }
}
