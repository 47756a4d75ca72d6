//! The thread that writes, and the lines this crate writes about itself.

use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::Level;

use super::file::RotatedFile;
use super::json::{cut, push_key, push_string};
use super::layer::Shared;
use crate::TelemetryError;
use crate::clock::push_rfc3339;
use crate::metrics::Counter;

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) stdout: bool,
    pub(super) file: Option<RotatedFile>,
    /// Failed writes to stdout and to the file.
    pub(super) errors: [Counter; 2],
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
        let mut buffer = Vec::with_capacity(64 * 1024);
        loop {
            buffer.clear();
            let batch = self.shared.queue.take(&mut buffer);
            let taken = buffer.len();
            let lost: u64 = batch.dropped.iter().sum();
            if lost > 0 {
                self.report_loss(&mut buffer, lost, batch.dropped[0]);
            }
            self.write(&buffer);
            self.shared.queue.handled(taken);
            if batch.last {
                return;
            }
        }
    }

    fn write(&mut self, lines: &[u8]) {
        if self.stdout {
            let mut stdout = std::io::stdout().lock();
            if stdout.write_all(lines).and_then(|()| stdout.flush()).is_err() {
                self.errors[0].inc();
            }
        }
        if let Some(file) = &mut self.file
            && file.write(lines, SystemTime::now()).is_err()
        {
            self.errors[1].inc();
        }
    }

    fn report_loss(&self, out: &mut Vec<u8>, lost: u64, errors: u64) {
        let source = Source { logger: &self.logger, module: module_path!(), line: line!() };
        begin(out, Level::WARN, &source, "log lines were dropped because the writer was behind");
        push_key(out, "dropped");
        out.extend_from_slice(itoa::Buffer::new().format(lost).as_bytes());
        push_key(out, "dropped_errors");
        out.extend_from_slice(itoa::Buffer::new().format(errors).as_bytes());
        out.extend_from_slice(&self.shared.tail);
    }
}

struct Source<'a> {
    logger: &'a str,
    module: &'a str,
    line: u32,
}

fn begin(out: &mut Vec<u8>, level: Level, source: &Source<'_>, message: &str) {
    out.extend_from_slice(b"{\"timestamp\":\"");
    push_rfc3339(out, SystemTime::now());
    out.extend_from_slice(b"\",\"level\":\"");
    out.extend_from_slice(level.as_str().as_bytes());
    out.push(b'"');
    let function = source.module.rsplit("::").next().unwrap_or("");
    for (key, text) in [
        ("logger", source.logger),
        ("message", message),
        ("module", source.module),
        ("function", function),
    ] {
        push_key(out, key);
        push_string(out, text);
    }
    push_key(out, "line");
    out.extend_from_slice(itoa::Buffer::new().format(source.line).as_bytes());
}

/// Queues the line about a panic. It does not go through `tracing`: the panic may have come from
/// inside a subscriber.
pub(super) fn write_panic(shared: &Shared, logger: &str, panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("panic without a message");
    let text = cut(text);
    let shown = shared.scrubber.scrub(&text);
    let (module, line) = panic.location().map_or(("", 0), |at| (at.file(), at.line()));
    let mut out = Vec::new();
    begin(&mut out, Level::ERROR, &Source { logger, module: "", line }, "panic");
    for (key, text) in [
        ("error.type", "panic"),
        ("error.message", shown.as_ref()),
        ("file", shared.scrubber.scrub(module).as_ref()),
        ("thread", std::thread::current().name().unwrap_or("")),
    ] {
        push_key(&mut out, key);
        push_string(&mut out, text);
    }
    out.extend_from_slice(&shared.tail);
    shared.push(&out, Level::ERROR);
}
