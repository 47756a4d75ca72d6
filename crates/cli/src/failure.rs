//! What went wrong, whose side it is on, and the exit code that says so.

use std::io::Write;
use std::process::ExitCode;

/// A command that did not do its job.
#[derive(Debug)]
pub struct Failure {
    side: Side,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Internal,
    Usage,
    Data,
}

impl Failure {
    /// The command line asks for something impossible; exit code 2.
    pub fn usage(cause: impl std::fmt::Display) -> Self {
        Self { side: Side::Usage, text: cause.to_string() }
    }

    /// A file cannot be used for what it was given for; exit code 3.
    pub fn data(cause: impl std::fmt::Display) -> Self {
        Self { side: Side::Data, text: cause.to_string() }
    }

    /// Neither the user's words nor the user's data are to blame; exit code 1.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self { side: Side::Internal, text: cause.to_string() }
    }

    /// Prints one line on stderr and gives the exit code.
    pub fn report(&self) -> ExitCode {
        let line = self.text.replace(['\n', '\r'], " ");
        // A closed stderr leaves only the exit code to tell of the failure.
        let _ = writeln!(std::io::stderr(), "microdiff: error: {line}");
        match self.side {
            Side::Internal => ExitCode::from(1),
            Side::Usage => ExitCode::from(2),
            Side::Data => ExitCode::from(3),
        }
    }
}
