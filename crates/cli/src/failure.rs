//! What went wrong, whose side it is on, and the exit code that says so.

use std::io::Write;
use std::process::ExitCode;

/// A command that did not do its job.
#[derive(Debug)]
pub struct Failure {
    side: Side,
    text: String,
}

/// Answers `--help` and `--version`, and says in one line what is wrong with anything else.
pub fn misread(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A closed stdout leaves only the exit code.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let told: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let told = told.join(" ");
    Failure::usage(told.strip_prefix("error: ").unwrap_or(&told)).report()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Internal,
    Usage,
    Data,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
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
        // One line, and none of what a file name might do to a terminal.
        let line: String =
            self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // A closed stderr leaves only the exit code to tell of the failure.
        let _ = writeln!(std::io::stderr(), "microdiff: error: {line}");
        match self.side {
            Side::Internal => ExitCode::from(1),
            Side::Usage => ExitCode::from(2),
            Side::Data => ExitCode::from(3),
        }
    }
}
