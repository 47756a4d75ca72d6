//! The thread that writes, and the lines this crate writes about its own log.

use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::Level;

use super::json::{cut, push_key, push_string};
use super::layer::{Shared, level_index};
use super::queue::ERROR;
use super::schema::{Schema, Source};
use super::sink::Sink;
use crate::TelemetryError;
use crate::clock::push_rfc3339;

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) sinks: Vec<Sink>,
    pub(super) logger: String,
}

impl Writer {
    pub(super) fn spawn(mut self) -> Result<(), TelemetryError> {
        std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || self.run())
            .map(drop)
            .map_err(|source| TelemetryError::System { what: "log writer thread", source })
    }

    fn run(&mut self) {
        let mut buffer = self.shared.queue.buffer();
        loop {
            buffer.clear();
            let batch = self.shared.queue.take(&mut buffer);
            let taken = buffer.len();
            if batch.reopen {
                self.sinks.iter_mut().for_each(Sink::reopen);
            }
            self.sinks.iter_mut().for_each(|sink| sink.write(&buffer));
            let lost: u64 = batch.dropped.iter().sum();
            if lost > 0 {
                let what = "log lines were dropped because the writer was behind";
                let counts = [("dropped", lost), ("dropped_errors", batch.dropped[ERROR])];
                let line = self.line(Level::WARN, what, &counts.map(Value::count));
                self.sinks.iter_mut().for_each(|sink| sink.write(&line));
            }
            self.report_sinks();
            self.shared.queue.handled(taken);
            if batch.last {
                return;
            }
        }
    }

    /// One line when a sink begins to fail, for the others, and one when it works again, for all.
    fn report_sinks(&mut self) {
        for at in 0..self.sinks.len() {
            let Some(sink) = self.sinks.get(at) else { return };
            let name = ("sink", Value::Text(sink.name));
            match (&sink.failing, sink.announced) {
                (Some(error), false) => {
                    let error = self.shared.scrubber.scrub(error);
                    let values = [name, ("error.message", Value::Text(&error))];
                    let line = self.line(Level::ERROR, "a log sink fails", &values);
                    self.mark(at, |sink| sink.announced = true);
                    let others = self.sinks.iter_mut().enumerate().filter(|(i, _)| *i != at);
                    others.for_each(|(_, sink)| sink.write(&line));
                }
                (None, true) => {
                    let values = [name, ("lost", Value::Count(sink.lost))];
                    let line = self.line(Level::WARN, "a log sink works again", &values);
                    self.mark(at, |sink| (sink.announced, sink.lost) = (false, 0));
                    self.sinks.iter_mut().for_each(|sink| sink.write(&line));
                }
                _ => {}
            }
        }
    }

    fn mark(&mut self, at: usize, change: impl FnOnce(&mut Sink)) {
        if let Some(sink) = self.sinks.get_mut(at) {
            change(sink);
        }
    }

    /// A line that does not go through the queue, which may be full.
    fn line(&self, level: Level, message: &str, values: &[(&str, Value<'_>)]) -> Vec<u8> {
        let source =
            Source { logger: &self.logger, module: module_path!(), file: file!(), line: line!() };
        self.shared.lines[level_index(level)].inc();
        whole_line(&self.shared.schema, level, &source, message, values)
    }
}

/// A field of a line of our own.
#[derive(Clone, Copy)]
enum Value<'a> {
    Text(&'a str),
    Count(u64),
}

impl<'a> Value<'a> {
    fn count((name, count): (&'a str, u64)) -> (&'a str, Self) {
        (name, Self::Count(count))
    }
}

fn whole_line(
    schema: &Schema,
    level: Level,
    source: &Source<'_>,
    message: &str,
    values: &[(&str, Value<'_>)],
) -> Vec<u8> {
    let frame = schema.frame(level, source);
    let mut out = schema.start.clone();
    push_rfc3339(&mut out, SystemTime::now());
    out.extend_from_slice(&frame.head);
    push_string(&mut out, message);
    out.extend_from_slice(&frame.middle);
    push_string(&mut out, source.function());
    out.extend_from_slice(&frame.end);
    for (name, value) in values {
        push_key(&mut out, &schema.key_of(name));
        match value {
            Value::Text(text) => push_string(&mut out, text),
            Value::Count(count) => {
                out.extend_from_slice(itoa::Buffer::new().format(*count).as_bytes());
            }
        }
    }
    out.extend_from_slice(&schema.tail);
    out
}

/// Queues the line about a panic. It does not go through `tracing`: the panic may have come from
/// inside a subscriber.
pub(super) fn write_panic(shared: &Shared, logger: &str, panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("panic without a message");
    let text = cut(text);
    let shown = shared.scrubber.scrub(&text);
    let (file, line) = panic.location().map_or(("", 0), |at| (at.file(), at.line()));
    let file = shared.scrubber.scrub(file);
    let source = Source { logger, module: "", file: &file, line };
    let thread = std::thread::current();
    let mut values = vec![
        ("error.type", Value::Text("panic")),
        ("error.message", Value::Text(&shown)),
        ("thread", Value::Text(thread.name().unwrap_or(""))),
    ];
    if !shared.schema.shows_file() {
        values.push(("file", Value::Text(&file)));
    }
    let out = whole_line(&shared.schema, Level::ERROR, &source, "panic", &values);
    shared.push(&out, Level::ERROR);
}
