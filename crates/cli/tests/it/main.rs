//! The real binary, as a user runs it.

mod analyze;
mod bad_input;
mod binary;
mod design;
mod help;
mod serve;
mod simulate;
