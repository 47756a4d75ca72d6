//! Telemetry.

pub mod builtin;
mod clock;
mod error;
pub mod logs;
pub mod metrics;
pub mod redaction;
pub mod traces;

pub use clock::rfc3339;
pub use error::TelemetryError;
