use super::within;
use crate::ServerError;
use serde::{Deserialize, Serialize};

/// What the flight recorder keeps of failed, refused, slow, strange and a few ordinary designs, and
/// of requests that failed beside one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlightConfig {
    /// Records in all; each class has its own share of them.
    pub capacity: usize,
    /// Bytes in all; each class has its own share of them.
    pub bytes: usize,
    /// Whether the records are written to `flight-*.json` in the data directory when the service
    /// stops and when it panics.
    pub persist: bool,
    /// Such files that stay; the oldest go.
    pub files: usize,
}

impl Default for FlightConfig {
    fn default() -> Self {
        Self { capacity: 256, bytes: 1024 * 1024, persist: true, files: 8 }
    }
}

impl FlightConfig {
    pub(super) fn check(&self) -> Result<(), ServerError> {
        // Every class holds one at least.
        let classes = crate::flight::CLASSES.len() as u64;
        within("flight.capacity", self.capacity as u64, classes, 65_536)?;
        within("flight.bytes", self.bytes as u64, 64 * 1024, 1 << 30)?;
        within("flight.files", self.files as u64, 1, 1000)
    }
}
