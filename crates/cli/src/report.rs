//! Readable reports on a terminal: plain text, at most 100 columns, no colour codes.

pub mod analysis;
pub mod design;
pub mod evaluation;
mod histogram;
pub mod models;
pub mod prediction;
pub mod target;
