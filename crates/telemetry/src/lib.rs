//! Telemetry.

pub mod builtin;
mod error;
pub mod metrics;
pub mod traces;

pub use error::TelemetryError;
