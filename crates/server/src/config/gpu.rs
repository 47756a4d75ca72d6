use super::within;
use crate::ServerError;
use microdiff_telemetry::gpu::GpuOptions;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// How GPUs are watched. Whether one is required is for `health.gpu` to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GpuConfig {
    /// The NVML library; the system's `libnvidia-ml.so.1` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<PathBuf>,
    /// Seconds between two polls.
    pub every_seconds: u64,
    /// Seconds after which a poll that has not come back counts as a driver that hangs.
    pub deadline_seconds: u64,
}

impl Default for GpuConfig {
    fn default() -> Self {
        Self { library: None, every_seconds: 5, deadline_seconds: 30 }
    }
}

impl GpuConfig {
    pub(super) fn check(&self) -> Result<(), ServerError> {
        within("gpu.every_seconds", self.every_seconds, 1, 3600)?;
        within("gpu.deadline_seconds", self.deadline_seconds, 1, 3600)
    }

    pub(crate) fn options(&self) -> GpuOptions {
        GpuOptions {
            every: Duration::from_secs(self.every_seconds),
            deadline: Duration::from_secs(self.deadline_seconds),
            library: self.library.clone().map(PathBuf::into_os_string),
        }
    }
}
