//! From an audit log to the records that somebody asked for, one after the other.

use std::io::{self, Write};
use std::path::Path;

use serde_json::Value;

use super::AuditError;
use super::record::Record;
use super::scan::{self, Line, Lines};

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// The lines as they lie in the log, hashes included.
    Jsonl,
    /// A table (RFC 4180) with the fields as one column of JSON.
    Csv,
}

/// Which records are wanted; what is absent does not matter.
#[derive(Clone, Debug, Default)]
pub struct ExportFilter {
    /// From this time on: RFC 3339 in UTC or the beginning of it, as `2026-01-31`.
    pub from: Option<String>,
    /// Before this time, written alike.
    pub to: Option<String>,
    /// The event, or the beginning of it when this ends with a full stop, as `admin.`.
    pub event: Option<String>,
    /// A field and its text.
    pub field: Option<(String, String)>,
}

impl ExportFilter {
    fn wants(&self, record: &Record) -> bool {
        let event = |wanted: &String| {
            record.event == *wanted || (wanted.ends_with('.') && record.event.starts_with(wanted))
        };
        let field = |(key, text): &(String, String)| {
            record.fields.get(key).and_then(Value::as_str) == Some(text.as_str())
        };
        // All times are in the same form, so they sort as text.
        self.from.as_ref().is_none_or(|from| record.time.as_str() >= from.as_str())
            && self.to.as_ref().is_none_or(|to| record.time.as_str() < to.as_str())
            && self.event.as_ref().is_none_or(event)
            && self.field.as_ref().is_none_or(field)
    }
}

/// Writes the records in `dir` that the filter wants to `out`; returns how many. Lines that are not
/// as they were written are left out: [`super::verify()`] tells of them.
///
/// # Errors
/// When the log cannot be read or `out` not be written.
pub fn export(
    dir: &Path,
    filter: &ExportFilter,
    format: ExportFormat,
    out: &mut dyn Write,
) -> Result<u64, AuditError> {
    let unreadable = |error: io::Error| AuditError::Unreadable(error.to_string());
    let unwritable = |error: io::Error| AuditError::Disk(error.to_string());
    if format == ExportFormat::Csv {
        out.write_all(b"seq,time,event,hash,fields\r\n").map_err(unwritable)?;
    }
    let mut count = 0;
    let mut raw = Vec::new();
    for number in scan::list(dir).map_err(unreadable)?.segments {
        let mut lines = match Lines::open(&scan::segment_path(dir, number)) {
            // Retention was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            lines => lines.map_err(unreadable)?,
        };
        while let Some(line) = lines.next(&mut raw).map_err(unreadable)? {
            let Line::Whole(record) = line else { continue };
            if !filter.wants(&record) {
                continue;
            }
            match format {
                ExportFormat::Jsonl => out.write_all(&raw),
                ExportFormat::Csv => out.write_all(row(&record).as_bytes()),
            }
            .map_err(unwritable)?;
            count += 1;
        }
    }
    out.flush().map_err(unwritable)?;
    Ok(count)
}

fn row(record: &Record) -> String {
    let fields = Value::Object(record.fields.clone()).to_string();
    let cells = [&record.seq.to_string(), &record.time, &record.event, &record.hash, &fields];
    let quoted: Vec<String> = cells.iter().map(|cell| quote(cell)).collect();
    format!("{}\r\n", quoted.join(","))
}

fn quote(cell: &str) -> String {
    if cell.contains(['"', ',', '\r', '\n']) {
        return format!("\"{}\"", cell.replace('"', "\"\""));
    }
    cell.to_owned()
}
