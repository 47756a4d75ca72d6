//! Lines for a person: `2026-01-02T03:04:05.000006Z INFO  bakery.oven baked size=3 success=true`.
//!
//! Made from the JSON lines in the writer's thread, so redaction and field order are those of the
//! JSON. One event stays one line: control characters, and those by which a text could reorder or
//! recolour what a terminal shows, are escaped.

use super::schema::Schema;

/// What every line has and a person does not read each time.
const HIDDEN: &[&str] =
    &["module", "function", "line", "service", "version", "ecs.version", "file"];

pub(super) struct Pretty {
    coloured: bool,
    /// The keys of moment, level, logger and message.
    keys: [String; 4],
    hidden: Vec<String>,
    out: Vec<u8>,
}

impl Pretty {
    pub(super) fn new(schema: &Schema, coloured: bool) -> Self {
        Self {
            coloured,
            keys: ["timestamp", "level", "logger", "message"].map(|name| schema.key_of(name)),
            hidden: HIDDEN.iter().map(|name| schema.key_of(name)).collect(),
            out: Vec::new(),
        }
    }

    /// Renders whole JSON lines of this crate's own writing.
    pub(super) fn render(&mut self, lines: &[u8]) -> &[u8] {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.line(&mut out, line);
        }
        self.out = out;
        &self.out
    }

    fn line(&self, out: &mut Vec<u8>, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let pairs: Vec<(&str, &str)> = Pairs { rest: text.trim_end() }.collect();
        let [timestamp, level, logger, message] = self
            .keys
            .each_ref()
            .map(|key| pairs.iter().find(|(held, _)| held == key).map_or("", |(_, v)| *v));
        let colour = match unquoted(level) {
            "ERROR" => "31",
            "WARN" => "33",
            "INFO" => "32",
            _ => "2",
        };
        self.paint(out, "2", unquoted(timestamp));
        out.push(b' ');
        self.paint(out, colour, &format!("{:<5}", unquoted(level)));
        out.push(b' ');
        self.paint(out, "2", unquoted(logger));
        out.push(b' ');
        push_shown(out, unquoted(message));
        for (key, value) in pairs {
            if self.keys.iter().chain(&self.hidden).any(|known| known == key) {
                continue;
            }
            out.push(b' ');
            self.paint(out, "2", &format!("{key}="));
            let bare = unquoted(value);
            let plain = !bare.is_empty() && !bare.contains([' ', '"', '=', '\\']);
            push_shown(out, if plain { bare } else { value });
        }
        out.push(b'\n');
    }

    fn paint(&self, out: &mut Vec<u8>, colour: &str, text: &str) {
        if self.coloured {
            out.extend_from_slice(format!("\x1b[{colour}m").as_bytes());
        }
        push_shown(out, text);
        if self.coloured {
            out.extend_from_slice(b"\x1b[0m");
        }
    }
}

/// A JSON string without its quotes; its escapes stay, so that a line feed is seen as `\n`.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// Appends text with everything escaped that a terminal might act on.
fn push_shown(out: &mut Vec<u8>, text: &str) {
    for c in text.chars() {
        let acts = c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if acts {
            out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Keys and raw values of a flat JSON object without spaces between its parts.
struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let at_key = self.rest.trim_start_matches(['{', ',']);
        let (key, rest) = at_key.split_at_checked(value_length(at_key))?;
        let rest = rest.strip_prefix(':')?;
        let (value, rest) = rest.split_at_checked(value_length(rest))?;
        self.rest = rest;
        Some((unquoted(key), value))
    }
}

/// The length of the string, number or word that the text begins with.
fn value_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return bytes.iter().position(|b| b",}:".contains(b)).unwrap_or(bytes.len());
    }
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::super::schema::{LogCatalogue, LogSchema};
    use super::*;

    fn shown(schema: LogSchema, coloured: bool, lines: &str) -> String {
        let catalogue = LogCatalogue::new("bakery", &[]).unwrap();
        let schema = Schema::new(schema, catalogue, "bakery", "1");
        let mut pretty = Pretty::new(&schema, coloured);
        String::from_utf8(pretty.render(lines.as_bytes()).to_vec()).unwrap()
    }

    const LINE: &str = "{\"timestamp\":\"T\",\"level\":\"WARN\",\"logger\":\"a.b\",\
        \"message\":\"two \\\"words\\\"\",\"module\":\"m\",\"function\":\"f\",\"line\":7,\
        \"text\":\"a\\nb {c},\u{9b}31m\u{202e}\",\"size\":-1.5e3,\"kind\":\"x\",\"none\":null,\
        \"service\":\"s\",\"version\":\"1\"}\n";

    #[test]
    fn one_event_is_one_line_and_nothing_in_it_moves_the_terminal() {
        let text = shown(LogSchema::Native, false, &LINE.repeat(2));
        let line = "T WARN  a.b two \\\"words\\\" text=\"a\\nb {c},\\u009b31m\\u202e\" size=-1.5e3 \
                    kind=x none=null\n";
        assert_eq!(text, line.repeat(2));
    }

    #[test]
    fn colours_come_only_when_asked_for() {
        assert!(!shown(LogSchema::Native, false, LINE).contains('\x1b'));
        assert!(shown(LogSchema::Native, true, LINE).contains("\x1b[33mWARN \x1b[0m"));
    }

    #[test]
    fn lines_of_the_other_schema_read_the_same() {
        let ecs = "{\"@timestamp\":\"T\",\"log.level\":\"INFO\",\"message\":\"m\",\
                   \"log.logger\":\"a\",\"ecs.version\":\"8\",\"event.duration\":5}\n";
        assert_eq!(shown(LogSchema::Ecs, false, ecs), "T INFO  a m event.duration=5\n");
    }
}
