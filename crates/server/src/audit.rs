//! What this service puts on record: every design from its scan to its answer, what an operator
//! did, and when the service ran with which model and settings.
//!
//! A submission is on record before its job is, and its end before anybody can read the answer, so
//! no answer exists without its record. A record may exist without its job: when the process died
//! between the two, or when `design.refused` follows it.

use crate::ServerError;
use crate::config::{AuditPolicy, Config};
use crate::jobs::JobRequest;
use crate::problem::Problem;
use crate::store::{Job, NewJob, Outcome};
use microdiff_domain::hex;
use microdiff_telemetry::Telemetry;
use microdiff_telemetry::audit::{Audit, AuditError, AuditOptions, CallerKey, UserId};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for a record to be on the disk: a disk that hangs is one that fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// The service's audit log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AuditLog {
    log: Audit,
    callers: CallerKey,
    policy: AuditPolicy,
    model_digest: Arc<str>,
}

impl AuditLog {
    /// Opens the log that `config` names and puts the start of the service on record.
    pub(crate) fn open(
        config: &Config,
        telemetry: &Telemetry,
        model_digest: &str,
    ) -> Result<Self, ServerError> {
        let fault = |source| ServerError::System { what: "key of callers", source };
        let key_file = config.audit.key_file(&config.data_dir);
        let callers = CallerKey::open(&key_file).map_err(fault)?;
        let options = AuditOptions {
            segment_bytes: config.audit.segment_bytes,
            retention: config.audit.retention(),
            ..AuditOptions::new(config.audit.dir(&config.data_dir))
        };
        let log = Self {
            log: Audit::start(options, telemetry)?,
            callers,
            policy: config.audit.policy,
            model_digest: model_digest.into(),
        };
        let settings = toml::to_string(config).unwrap_or_default();
        log.record(
            "service.started",
            json!({
                "version": telemetry.version(),
                "model_digest": model_digest,
                "config_sha256": digest(settings.as_bytes()),
                "retention_days": config.audit.retention_days,
            }),
        );
        Ok(log)
    }

    /// The keyed hash of the caller at an address.
    pub(crate) fn caller(&self, address: IpAddr) -> UserId {
        self.callers.user_id("ip", address.to_canonical().to_string().as_bytes())
    }

    /// Whether submissions cannot be accepted now.
    pub(crate) fn is_blocking(&self) -> bool {
        self.policy == AuditPolicy::Required && self.log.is_failing()
    }

    /// Whether the log cannot be written.
    pub(crate) fn is_failing(&self) -> bool {
        self.log.is_failing()
    }

    /// Puts a submission on record; what is refused must not be accepted.
    pub(crate) async fn submitted(&self, job: &NewJob, scan_sha256: &str) -> Result<(), Problem> {
        let fields = json!({
            "job_id": job.id.to_string(),
            "caller": job.caller,
            "request_id": job.request_id,
            "trace_id": trace_id(job.traceparent.as_deref()),
            "scan_sha256": scan_sha256,
            "scan_bytes": job.scan_bytes,
            "scan_name": job.scan_name,
            "model_digest": self.model_digest.as_ref(),
            "seed": job.request.seed,
            "request": asked(&job.request),
        });
        match (self.durably("design.submitted", object(fields)).await, self.policy) {
            (Ok(()), _) => Ok(()),
            (Err(error), AuditPolicy::Required) => {
                tracing::error!(error = %error, job_id = %job.id, "a submission is refused: it cannot be put on record");
                // A disk that hangs may take the submission after all.
                self.refused(job, "audit_unavailable");
                Err(Problem::audit_unavailable())
            }
            (Err(error), AuditPolicy::BestEffort) => {
                tracing::error!(error = %error, job_id = %job.id, "a submission is not on record");
                Ok(())
            }
        }
    }

    /// A submission on record that came to nothing.
    pub(crate) fn refused(&self, job: &NewJob, reason: &str) {
        let fields =
            json!({ "job_id": job.id.to_string(), "caller": job.caller, "reason": reason });
        self.record("design.refused", fields);
    }

    /// Puts the end of a design on record before it is told. A record that cannot be written now is
    /// written when the disk allows: the answer is not held back for it. One that a hanging disk
    /// still has is not given again, or it would be on record twice.
    pub(crate) async fn ended(&self, job: &Job, outcome: &Outcome) {
        let mut fields = object(json!({
            "job_id": job.id.to_string(),
            "caller": job.caller,
            "request_id": job.request_id,
            "trace_id": trace_id(job.traceparent.as_deref()),
            "attempt": job.attempts,
            "model_digest": self.model_digest.as_ref(),
            "seed": job.request.seed,
            "request": asked(&job.request),
        }));
        let (event, more) = match outcome {
            Outcome::Succeeded(text) => ("design.completed", answer(text)),
            Outcome::Failed(failure) => {
                ("design.failed", json!({ "code": failure.code, "kind": failure.kind }))
            }
        };
        fields.extend(object(more));
        match tokio::time::timeout(PATIENCE, self.log.record_durably(event, fields.clone())).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => self.log.record(event, fields),
            Err(_) => tracing::warn!(event, job_id = %job.id, "the disk of the audit log hangs"),
        }
    }

    /// Puts something on record that nobody waits for.
    pub(crate) fn record(&self, event: &str, fields: Value) {
        self.log.record(event, object(fields));
    }

    /// Puts the end of the service on record and closes the log.
    pub(crate) fn close(&self, deadline: Duration) -> bool {
        self.record("service.stopped", json!({ "version": env!("CARGO_PKG_VERSION") }));
        self.log.close(deadline)
    }

    async fn durably(&self, event: &str, fields: Map<String, Value>) -> Result<(), AuditError> {
        tokio::time::timeout(PATIENCE, self.log.record_durably(event, fields))
            .await
            .unwrap_or_else(|_| Err(AuditError::Disk("no answer in time".into())))
    }
}

fn asked(request: &JobRequest) -> Value {
    serde_json::to_value(request).unwrap_or_default()
}

/// What an answer is known by: its digest, its scan's, and the middle of each parameter.
fn answer(text: &str) -> Value {
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    let medians: Map<String, Value> = document["posterior"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, quantiles)| (key.clone(), quantiles["median"].clone()))
        .collect();
    json!({
        "answer_sha256": digest(text.as_bytes()),
        "scan_sha256": document["scan"]["sha256"],
        "parameters": medians,
        "out_of_distribution": document["out_of_distribution"]["flagged"],
    })
}

fn trace_id(traceparent: Option<&str>) -> &str {
    traceparent.and_then(|text| text.split('-').nth(1)).unwrap_or_default()
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
