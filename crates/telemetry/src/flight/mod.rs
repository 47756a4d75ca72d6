//! The flight recorder: the last requests worth a look, kept in memory with what it takes to look.
//!
//! A service names classes (failed, slow, …) and hands over a [`FlightRecord`] with the reasons it
//! is worth keeping. Each class has its own share of places and bytes, so a flood of one evicts
//! nothing of another. Keeping one costs a short lock of its class and no formatting: records become
//! JSON when they are asked for, and every text passes the [`crate::redaction::Scrubber`] then.
//! [`FlightFiles`] writes the whole to a file for when the process ends.
//!
//! Deliberately absent: headers, bodies, names of files (a service puts into the details what it can
//! answer for), and durability: what was not written when the process is killed is lost.

mod files;
mod record;
mod recorder;

pub use files::FlightFiles;
pub use record::{FlightDetails, FlightRecord};
pub use recorder::{ClassCount, FlightClass, FlightOptions, FlightRecorder, Keep};
