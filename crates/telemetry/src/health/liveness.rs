//! The liveness answer as bytes: the one probe that is asked most, written without a tree.

use std::time::SystemTime;

use super::state::Health;
use crate::clock::push_rfc3339;

impl Health {
    /// Whether the process is alive, and the body of [`Health::liveness`].
    pub(crate) fn liveness_bytes(&self) -> (bool, Vec<u8>) {
        let alive = !self.inner.stalled();
        let mut body = Vec::with_capacity(128);
        body.extend_from_slice(b"{\"status\":\"");
        body.extend_from_slice(if alive { b"healthy" } else { b"unhealthy" });
        body.extend_from_slice(b"\",\"timestamp\":\"");
        push_rfc3339(&mut body, SystemTime::now());
        body.extend_from_slice(b"\",\"version\":");
        // Writing text into memory cannot fail.
        let _ = serde_json::to_writer(&mut body, &self.inner.version);
        body.push(b'}');
        (alive, body)
    }

    /// What `Retry-After` says with a 503, in seconds.
    pub(crate) fn retry_after_seconds(&self) -> u64 {
        self.inner.retry_after.as_secs().max(1)
    }
}
