use super::within;
use crate::ServerError;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the service promises; the admin listener tells how far it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SloConfig {
    /// Share of API requests that must not end in a server error, a timeout or a client that left.
    pub availability: f64,
    /// Seconds that an inference may take. A slower one is kept by the flight recorder.
    pub latency_seconds: f64,
    /// Share of inferences that must not take longer.
    pub latency_ratio: f64,
    /// Days over which both are judged.
    pub window_days: u64,
}

impl Default for SloConfig {
    fn default() -> Self {
        Self { availability: 0.995, latency_seconds: 10.0, latency_ratio: 0.95, window_days: 28 }
    }
}

impl SloConfig {
    pub(super) fn check(&self) -> Result<(), ServerError> {
        // A promise of all or of less than half leaves no budget worth a rate.
        inside("slo.availability", self.availability, 0.5, 0.999_999)?;
        inside("slo.latency_seconds", self.latency_seconds, 0.001, 3600.0)?;
        inside("slo.latency_ratio", self.latency_ratio, 0.5, 0.999_999)?;
        within("slo.window_days", self.window_days, 1, 90)
    }

    pub(crate) fn latency(&self) -> Duration {
        Duration::try_from_secs_f64(self.latency_seconds).unwrap_or(Duration::MAX)
    }

    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs(self.window_days.saturating_mul(86_400))
    }
}

fn inside(field: &str, value: f64, low: f64, high: f64) -> Result<(), ServerError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(ServerError::Config(format!("{field} = {value} is outside {low} to {high}")))
}
