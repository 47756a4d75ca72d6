use super::within;
use crate::ServerError;
use serde::{Deserialize, Serialize};

/// What a failing check does to the service's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckPolicy {
    /// Failing makes the service unhealthy and not ready.
    Required,
    /// Failing makes the service degraded; it stays ready.
    Optional,
    /// Not run; counts as true.
    Disabled,
}

/// When a check runs and how its results turn. A file may set any of the fields; the others keep
/// the default of that check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckConfig {
    /// What failing means.
    pub policy: CheckPolicy,
    /// Seconds between two runs.
    pub every_seconds: u64,
    /// Seconds after which a run has failed.
    pub deadline_seconds: u64,
    /// Failures in a row that turn the check.
    pub fail_after: u32,
    /// Successes in a row that turn it back.
    pub recover_after: u32,
}

/// The four health checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "HealthPatch")]
pub struct HealthConfig {
    /// A round trip to the job database, migrations current.
    pub database: CheckConfig,
    /// A GPU is present. Disabled by default: inference runs on the CPU.
    pub gpu: CheckConfig,
    /// The known-answer canary through the loaded model.
    pub model: CheckConfig,
    /// The data directory can be written and read back, and has room.
    pub storage: CheckConfig,
}

const fn check(policy: CheckPolicy, every: u64, deadline: u64) -> CheckConfig {
    CheckConfig {
        policy,
        every_seconds: every,
        deadline_seconds: deadline,
        fail_after: 2,
        recover_after: 1,
    }
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            database: check(CheckPolicy::Required, 5, 2),
            gpu: check(CheckPolicy::Disabled, 15, 5),
            // A canary costs a small design, so it is rare; it waits behind a running job.
            model: check(CheckPolicy::Required, 300, 60),
            storage: check(CheckPolicy::Required, 15, 5),
        }
    }
}

/// What a file says of a check: each field may be left out.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CheckPatch {
    policy: Option<CheckPolicy>,
    every_seconds: Option<u64>,
    deadline_seconds: Option<u64>,
    fail_after: Option<u32>,
    recover_after: Option<u32>,
}

impl CheckPatch {
    fn over(self, base: CheckConfig) -> CheckConfig {
        CheckConfig {
            policy: self.policy.unwrap_or(base.policy),
            every_seconds: self.every_seconds.unwrap_or(base.every_seconds),
            deadline_seconds: self.deadline_seconds.unwrap_or(base.deadline_seconds),
            fail_after: self.fail_after.unwrap_or(base.fail_after),
            recover_after: self.recover_after.unwrap_or(base.recover_after),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HealthPatch {
    database: CheckPatch,
    gpu: CheckPatch,
    model: CheckPatch,
    storage: CheckPatch,
}

impl From<HealthPatch> for HealthConfig {
    fn from(patch: HealthPatch) -> Self {
        let base = Self::default();
        Self {
            database: patch.database.over(base.database),
            gpu: patch.gpu.over(base.gpu),
            model: patch.model.over(base.model),
            storage: patch.storage.over(base.storage),
        }
    }
}

impl HealthConfig {
    /// The names of the checks: sections of the configuration, and values of the label `check`.
    pub const CHECKS: [&str; 4] = ["database", "gpu", "model", "storage"];

    pub(super) fn check(&self) -> Result<(), ServerError> {
        let checks = [&self.database, &self.gpu, &self.model, &self.storage];
        for (name, check) in Self::CHECKS.into_iter().zip(checks) {
            let field = |field| format!("health.{name}.{field}");
            within(&field("every_seconds"), check.every_seconds, 1, 86_400)?;
            within(&field("deadline_seconds"), check.deadline_seconds, 1, 3600)?;
            within(&field("fail_after"), u64::from(check.fail_after), 1, 100)?;
            within(&field("recover_after"), u64::from(check.recover_after), 1, 100)?;
        }
        Ok(())
    }
}
