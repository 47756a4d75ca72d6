//! Which traces the kit's Collector keeps: the policies of its tail sampling, and its choice among
//! ordinary traces done again, so that one can be made that it is sure to keep.
//!
//! The choice is that of the Collector's `tail_sampling` processor (contrib 0.149.0,
//! `internal/sampling/probabilistic.go`): the 64-bit FNV-1a hash of salt and trace id, against a
//! share of all numbers. A test holds the two equal on a real Collector.

use serde::Deserialize;
use std::time::Duration;

use crate::{File, KitError};

/// The configuration within the kit.
const FILE: &str = "otel-collector/collector.yaml";

/// The policies of tail sampling.
#[derive(Debug, Clone, PartialEq)]
pub struct TailSampling {
    salt: String,
    percentage: f64,
    slow: Duration,
}

#[derive(Deserialize)]
struct Configuration {
    processors: Processors,
}

#[derive(Deserialize)]
struct Processors {
    tail_sampling: Policies,
}

#[derive(Deserialize)]
struct Policies {
    policies: Vec<Policy>,
}

#[derive(Deserialize)]
struct Policy {
    probabilistic: Option<Probabilistic>,
    latency: Option<Latency>,
}

#[derive(Deserialize)]
struct Probabilistic {
    sampling_percentage: f64,
    hash_salt: String,
}

#[derive(Deserialize)]
struct Latency {
    threshold_ms: u64,
}

impl TailSampling {
    /// The policies of a kit.
    ///
    /// # Errors
    /// [`KitError::Unreadable`] when the kit's Collector has no such policies.
    pub fn of_kit(files: &[File]) -> Result<Self, KitError> {
        let refuse = |reason: &str| KitError::Unreadable {
            file: FILE.to_owned(),
            reason: reason.lines().next().unwrap_or_default().to_owned(),
        };
        let file = files.iter().find(|file| file.path == FILE);
        let file = file.ok_or_else(|| refuse("it is not in the kit"))?;
        let read: Configuration =
            serde_saphyr::from_str(file.text()?).map_err(|error| refuse(&error.to_string()))?;
        let policies = read.processors.tail_sampling.policies;
        let share = policies.iter().find_map(|policy| policy.probabilistic.as_ref());
        let share = share.ok_or_else(|| refuse("it has no probabilistic policy"))?;
        let slow = policies.iter().find_map(|policy| policy.latency.as_ref());
        let slow = slow.ok_or_else(|| refuse("it has no latency policy"))?;
        Ok(Self {
            salt: share.hash_salt.clone(),
            percentage: share.sampling_percentage,
            slow: Duration::from_millis(slow.threshold_ms),
        })
    }

    /// Longer than this, and a trace is kept for it.
    #[must_use]
    pub const fn slow(&self) -> Duration {
        self.slow
    }

    /// The share of ordinary traces that is kept, in percent.
    #[must_use]
    pub const fn percentage(&self) -> f64 {
        self.percentage
    }

    /// Whether an ordinary trace is kept.
    #[must_use]
    pub fn keeps(&self, trace_id: u128) -> bool {
        self.rank(trace_id) as f64 <= u64::MAX as f64 * (self.percentage / 100.0)
    }

    /// Where a trace stands among all: the lower, the smaller a share may be that still has it.
    #[must_use]
    pub fn rank(&self, trace_id: u128) -> u64 {
        // FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let bytes = self.salt.bytes().chain(trace_id.to_be_bytes());
        bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn the_hash_is_fnv_1a() {
        // Salt and id together are `foobar` and zeros; the value is that of an independent FNV-1a.
        let sampling =
            TailSampling { salt: "foobar".into(), percentage: 10.0, slow: Duration::from_secs(1) };
        assert_eq!(sampling.rank(0), 0x4709_0cc8_e559_21e8);
    }

    #[test]
    fn the_kits_share_is_the_one_kept() {
        let sampling = TailSampling::of_kit(&crate::files()).expect("policies");
        let all = 20_000_u128;
        // As far apart as random ids, the same in each run.
        let id =
            |number: u128| (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let kept = (0..all).filter(|number| sampling.keeps(id(*number))).count() as f64;
        let share = kept / all as f64 * 100.0;
        assert!((share - sampling.percentage()).abs() < 1.0, "{share} %");
        assert!(sampling.slow() >= Duration::from_secs(1));
    }

    #[test]
    fn a_kit_without_policies_is_refused() {
        let file = |text: &'static str| {
            vec![File { path: FILE.to_owned(), bytes: Cow::Borrowed(text.as_bytes()) }]
        };
        for text in ["", "processors: {}", "processors: {tail_sampling: {policies: []}}"] {
            assert!(TailSampling::of_kit(&file(text)).is_err(), "{text}");
        }
        assert!(TailSampling::of_kit(&[]).is_err());
    }
}
