//! Counters that all routes share: answers by status code, failures by type.

use std::sync::OnceLock;

use crate::builtin;
use crate::metrics::{Counter, MetricSpec, Registry};

/// Status codes have three digits.
const CODES: usize = 1000;

/// The handles of `responses_total` and `request_errors_total`.
pub(super) struct Outcomes {
    registry: Registry,
    responses: MetricSpec,
    by_status: Box<[OnceLock<Counter>]>,
    by_error: Vec<(&'static str, Counter)>,
    other_error: Counter,
}

impl Outcomes {
    /// Resolves the usual status codes and every error type there may be.
    pub(super) fn new(registry: &Registry, error_types: &[&'static str]) -> Self {
        let own = |spec: &MetricSpec| spec.clone().prefixed(registry.prefix());
        let errors = own(&builtin::REQUEST_ERRORS);
        let counter = |error_type| registry.counter(&errors, &[error_type]);
        let known = builtin::ERROR_TYPES.iter().chain(error_types);
        let outcomes = Self {
            registry: registry.clone(),
            responses: own(&builtin::RESPONSES),
            by_status: (0..CODES).map(|_| OnceLock::new()).collect(),
            by_error: known.map(|error_type| (*error_type, counter(error_type))).collect(),
            other_error: counter("other"),
        };
        for status in builtin::STATUS_CODES {
            outcomes.status(*status);
        }
        outcomes
    }

    fn status(&self, status: u16) -> Option<&Counter> {
        let cell = self.by_status.get(usize::from(status))?;
        let resolve = || self.registry.counter(&self.responses, &[&status.to_string()]);
        Some(cell.get_or_init(resolve))
    }

    /// Counts an answer. A code outside the usual ones is resolved when it is first seen.
    pub(super) fn count_status(&self, status: u16) {
        if let Some(counter) = self.status(status) {
            counter.inc();
        }
    }

    /// Counts a failure; a type that nobody declared counts as `other`.
    pub(super) fn count_error(&self, error_type: &str) {
        let known = self.by_error.iter().find(|(known, _)| *known == error_type);
        known.map_or(&self.other_error, |(_, counter)| counter).inc();
    }
}
