//! Where lines go, and what is known of each place: whether it fails, and what it has missed.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::time::SystemTime;

use super::file::{RotatedFile, Trouble, count_lines, write_counted};
use super::pretty::Pretty;
use crate::metrics::Counter;

/// What lines are written to.
pub(super) enum Out {
    Stdout(Stdout),
    File(RotatedFile),
}

/// Standard output past the buffer of the library, so that it is known what went out.
pub(super) struct Stdout {
    file: File,
    pretty: Option<Pretty>,
    /// A line broke off; the next one begins on a line of its own.
    torn: bool,
}

impl Stdout {
    pub(super) fn new(pretty: Option<Pretty>) -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self { file, pretty, torn: false })
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), Trouble> {
        let rendered = match &mut self.pretty {
            Some(pretty) => pretty.render(lines),
            None => lines,
        };
        // Whoever prints through the library meanwhile waits, and its lines stay whole.
        let mut lock = io::stdout().lock();
        let _ = lock.flush();
        let missed = |(written, error): (usize, io::Error), rendered: &[u8]| {
            let out = rendered.get(..written).unwrap_or(rendered);
            let lost = count_lines(rendered) - count_lines(out);
            (Trouble { lost, error }, written > 0 && !out.ends_with(b"\n"))
        };
        if self.torn {
            let ended = write_counted(&mut self.file, b"\n");
            ended.map_err(|(_, error)| Trouble { lost: count_lines(rendered), error })?;
            self.torn = false;
        }
        write_counted(&mut self.file, rendered).map_err(|failure| {
            let (trouble, torn) = missed(failure, rendered);
            self.torn = torn;
            trouble
        })
    }
}

/// One place and its record.
pub(super) struct Sink {
    pub(super) name: &'static str,
    pub(super) out: Out,
    pub(super) errors: Counter,
    pub(super) unwritten: Counter,
    /// What it failed of, since it failed.
    pub(super) failing: Option<String>,
    /// Whether the log says so.
    pub(super) announced: bool,
    /// Lines it has missed since it failed.
    pub(super) lost: u64,
}

impl Sink {
    pub(super) fn new(name: &'static str, out: Out, errors: Counter, unwritten: Counter) -> Self {
        Self { name, out, errors, unwritten, failing: None, announced: false, lost: 0 }
    }

    pub(super) fn write(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let result = match &mut self.out {
            Out::Stdout(stdout) => stdout.write(lines),
            Out::File(file) => file.write(lines, SystemTime::now()),
        };
        match result {
            Ok(()) => self.failing = None,
            Err(trouble) => self.note(&trouble),
        }
    }

    pub(super) fn reopen(&mut self) {
        if let Out::File(file) = &mut self.out
            && let Err(error) = file.reopen()
        {
            self.note(&Trouble { lost: 0, error });
        }
    }

    fn note(&mut self, trouble: &Trouble) {
        self.errors.inc();
        self.unwritten.add(trouble.lost);
        self.lost += trouble.lost;
        self.failing = Some(trouble.error.to_string());
    }
}
