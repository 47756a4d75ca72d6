//! What a call site holds: a resolved series, ready to be written to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::shards::Run;

/// Marks a gauge or observed counter that shows nothing. A NaN that no arithmetic produces.
pub(super) const ABSENT: u64 = 0x7ff8_dead_dead_dead;

/// A number that only grows.
#[derive(Clone)]
pub struct Counter {
    /// `None` when the registry refused the series: counts nowhere.
    pub(super) run: Option<Run>,
}

impl Counter {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `amount`.
    #[inline]
    pub fn add(&self, amount: u64) {
        if let Some(run) = &self.run {
            run.with_own(|own| own.add(0, amount));
        }
    }

    /// The present total over all threads; for tests and for state pages, not for hot paths.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.run.as_ref().map_or(0, Run::sum)
    }
}

/// A number that goes up and down.
#[derive(Clone)]
pub struct Gauge {
    pub(super) bits: Arc<AtomicU64>,
}

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds `amount`, which may be negative. A gauge that shows nothing starts at 0.
    pub fn add(&self, amount: f64) {
        let _ = self.bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
            let now = if bits == ABSENT { 0.0 } else { f64::from_bits(bits) };
            Some((now + amount).to_bits())
        });
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1.0);
    }

    /// Subtracts one.
    pub fn dec(&self) {
        self.add(-1.0);
    }

    /// Shows nothing until it is set again: a device that is gone has no temperature.
    pub fn clear(&self) {
        self.bits.store(ABSENT, Ordering::Relaxed);
    }

    /// The present value; `None` while it shows nothing.
    #[must_use]
    pub fn get(&self) -> Option<f64> {
        let bits = self.bits.load(Ordering::Relaxed);
        (bits != ABSENT).then(|| f64::from_bits(bits))
    }

    /// Adds one now and subtracts it when the returned guard is dropped, however that happens.
    #[must_use]
    pub fn hold(&self) -> GaugeHold {
        self.inc();
        GaugeHold(self.clone())
    }
}

/// One unit held in a [`Gauge`].
pub struct GaugeHold(Gauge);

impl Drop for GaugeHold {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A counter whose total is kept elsewhere (by the kernel, by a driver) and copied in.
#[derive(Clone)]
pub struct ObservedCounter {
    pub(super) bits: Arc<AtomicU64>,
}

impl ObservedCounter {
    /// Copies the total in. A lower total is taken as it is: the source was reset.
    pub fn set(&self, total: f64) {
        self.bits.store(total.to_bits(), Ordering::Relaxed);
    }

    /// Shows nothing until it is set again: whoever counted is gone.
    pub fn clear(&self) {
        self.bits.store(ABSENT, Ordering::Relaxed);
    }
}
