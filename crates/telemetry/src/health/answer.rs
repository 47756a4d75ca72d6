//! The probes' answers, made from memory.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::check::Policy;
use super::state::{Check, DRAINING, Health, LOADING, READY};
use crate::clock::rfc3339;

/// An answer to a probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// 200 or 503.
    pub status: StatusCode,
    /// The body.
    pub body: Value,
    /// What `Retry-After` says, in seconds; only with 503.
    pub retry_after: Option<u64>,
}

/// What the checks come to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overall {
    Healthy,
    Degraded,
    Unhealthy,
}

impl Overall {
    const fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// The word of draft-inadarei-api-health-check-06.
    const fn draft_word(self) -> &'static str {
        match self {
            Self::Healthy => "pass",
            Self::Degraded => "warn",
            Self::Unhealthy => "fail",
        }
    }
}

impl Check {
    /// `ok`, `degraded`, `failed`, `disabled` or, before the first result, `unknown`.
    fn word(&self) -> &'static str {
        match self.options.policy {
            Policy::Disabled => "disabled",
            _ => self.memory().word(),
        }
    }

    fn passes(&self) -> bool {
        matches!(self.word(), "ok" | "degraded" | "disabled")
    }
}

impl Health {
    /// `/health` and `/livez`: alive unless the runtime stands still. Looks at no dependency.
    #[must_use]
    pub fn liveness(&self) -> Answer {
        let alive = !self.inner.stalled();
        let word = if alive { "healthy" } else { "unhealthy" };
        let body = json!({
            "status": word,
            "timestamp": rfc3339(SystemTime::now()),
            "version": self.inner.version,
        });
        self.answer(alive, body)
    }

    /// `/health/detailed`: 200 when healthy or degraded, 503 when unhealthy.
    #[must_use]
    pub fn detailed(&self) -> Answer {
        let overall = self.overall();
        let checks: Map<String, Value> = self
            .inner
            .checks
            .iter()
            .map(|check| (check.options.name.clone(), Value::Bool(check.passes())))
            .collect();
        let components: Vec<Value> =
            self.inner.checks.iter().map(|check| self.component(check)).collect();
        let body = json!({
            "status": overall.word(),
            "checks": checks,
            "components": components,
            "timestamp": rfc3339(SystemTime::now()),
        });
        self.answer(overall != Overall::Unhealthy, body)
    }

    /// The detailed answer in the form of `application/health+json`.
    #[must_use]
    pub fn detailed_draft(&self) -> Answer {
        let overall = self.overall();
        let checks: Map<String, Value> = self
            .inner
            .checks
            .iter()
            .map(|check| {
                let memory = check.memory();
                let status = match check.word() {
                    "failed" | "unknown" => "fail",
                    "degraded" => "warn",
                    _ => "pass",
                };
                let mut entry = Map::from_iter([("status".to_owned(), json!(status))]);
                if let Some(at) = memory.ran_at {
                    entry.insert("time".to_owned(), json!(rfc3339(at)));
                }
                if let (true, Some(note)) = (status != "pass", &memory.note) {
                    entry.insert("output".to_owned(), json!(self.inner.scrubber.scrub(note)));
                }
                (check.options.name.clone(), json!([entry]))
            })
            .collect();
        let body = json!({
            "status": overall.draft_word(),
            "version": self.inner.version,
            "serviceId": self.inner.service,
            "checks": checks,
        });
        self.answer(overall != Overall::Unhealthy, body)
    }

    /// `/readyz`: 503 while loading, draining, or while a required check fails.
    #[must_use]
    pub fn readiness(&self) -> Answer {
        let reason = match self.inner.phase() {
            LOADING => Some("loading"),
            DRAINING => Some("draining"),
            _ if self.inner.stalled() => Some("failing"),
            _ if self.overall() == Overall::Unhealthy => Some("failing"),
            _ => None,
        };
        self.probe(reason)
    }

    /// `/startupz`: 503 until loading is over.
    #[must_use]
    pub fn startup(&self) -> Answer {
        let loading = self.inner.phase() < READY;
        self.probe(loading.then_some("loading"))
    }

    fn probe(&self, reason: Option<&str>) -> Answer {
        let body = json!({
            "status": reason.unwrap_or("ready"),
            "timestamp": rfc3339(SystemTime::now()),
        });
        self.answer(reason.is_none(), body)
    }

    fn answer(&self, good: bool, body: Value) -> Answer {
        let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let retry_after = (!good).then(|| self.inner.retry_after.as_secs().max(1));
        Answer { status, body, retry_after }
    }

    fn overall(&self) -> Overall {
        let mut overall = Overall::Healthy;
        for check in &self.inner.checks {
            match (check.options.policy, check.word()) {
                (Policy::Required, "failed" | "unknown") => return Overall::Unhealthy,
                (_, "failed" | "unknown" | "degraded") => overall = Overall::Degraded,
                _ => {}
            }
        }
        overall
    }

    fn component(&self, check: &Check) -> Value {
        let memory = check.memory();
        let mut entry = json!({
            "name": check.options.name,
            "status": check.word(),
            "policy": check.options.policy.as_str(),
        });
        let Some(map) = entry.as_object_mut() else { return entry };
        if let Some(at) = memory.ran_at {
            let age = SystemTime::now().duration_since(at).unwrap_or_default();
            map.insert("last_run".to_owned(), json!(rfc3339(at)));
            map.insert("age_seconds".to_owned(), json!(age.as_secs_f64()));
            map.insert("duration_ms".to_owned(), json!(memory.took.as_secs_f64() * 1e3));
            map.insert("streak".to_owned(), json!(memory.streak));
        }
        if let Some(at) = memory.succeeded_at {
            map.insert("last_success".to_owned(), json!(rfc3339(at)));
        }
        if let Some(note) = &memory.note {
            map.insert("reason".to_owned(), json!(self.inner.scrubber.scrub(note)));
        }
        entry
    }
}
