//! microdiff-telemetry
