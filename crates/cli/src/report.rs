//! Readable reports on a terminal: plain text, at most 100 columns, no colour codes.

pub mod analysis;
pub mod design;
pub mod evaluation;
mod histogram;
pub mod models;
pub mod prediction;
pub mod target;

use microdiff_domain::Process;

/// What stands after a process whose figures rest on no measurement.
fn mark(process: Process) -> &'static str {
    if process.is_validated() { "" } else { " (unvalidated)" }
}
