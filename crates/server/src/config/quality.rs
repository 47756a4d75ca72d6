use super::within;
use crate::ServerError;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How the model is watched while it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QualityConfig {
    /// Whether the model is scored on its validation set once the service is ready, in one
    /// thread that stands back for designs.
    pub evaluate: bool,
    /// Seconds between two scorings; 0 scores once.
    pub every_seconds: u64,
    /// Answered designs that the drift of descriptors is measured over.
    pub drift_window: usize,
}

impl Default for QualityConfig {
    fn default() -> Self {
        Self { evaluate: true, every_seconds: 21_600, drift_window: 256 }
    }
}

impl QualityConfig {
    pub(super) fn check(&self) -> Result<(), ServerError> {
        within("quality.every_seconds", self.every_seconds, 0, 31_536_000)?;
        within("quality.drift_window", self.drift_window as u64, 30, 4096)
    }

    /// Time between two scorings; `None` scores once.
    pub(crate) fn every(&self) -> Option<Duration> {
        (self.every_seconds > 0).then(|| Duration::from_secs(self.every_seconds))
    }
}
