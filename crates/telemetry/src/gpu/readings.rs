//! The series of one device.

use super::driver::Sample;
use crate::builtin;
use crate::metrics::{Counter, Gauge, MetricSpec, ObservedCounter, Registry};

/// A device that answered at least once.
pub(super) struct Device {
    /// Its UUID, or its index where it has none.
    pub(super) identity: String,
    /// The N of `cuda:N`.
    pub(super) number: u32,
    /// Whether it answered the last poll.
    pub(super) answers: bool,
    used: Gauge,
    total: Gauge,
    free: Gauge,
    utilisation: Gauge,
    temperature: Gauge,
    power: Gauge,
    energy: ObservedCounter,
    ecc: [ObservedCounter; 2],
    /// In the order of [`builtin::XIDS`].
    xids: Vec<Counter>,
    last_xid: Gauge,
}

impl Device {
    /// Declares the series of a device; readings are absent until it is first shown.
    pub(super) fn new(registry: &Registry, identity: String, number: u32) -> Self {
        let name = label(number);
        let own = |spec: &MetricSpec| spec.clone().prefixed(registry.prefix());
        let gauge = |spec: &MetricSpec| registry.gauge(&own(spec), &[&name]);
        let ecc = |kind| registry.observed_counter(&own(&builtin::GPU_ECC), &[&name, kind]);
        let xid = |code: &&str| registry.counter(&own(&builtin::GPU_XID), &[&name, code]);
        Self {
            identity,
            number,
            answers: false,
            used: gauge(&builtin::GPU_MEMORY_USED),
            total: gauge(&builtin::GPU_MEMORY_TOTAL),
            free: gauge(&builtin::GPU_MEMORY_FREE),
            utilisation: gauge(&builtin::GPU_UTILISATION),
            temperature: gauge(&builtin::GPU_TEMPERATURE),
            power: gauge(&builtin::GPU_POWER),
            energy: registry.observed_counter(&own(&builtin::GPU_ENERGY), &[&name]),
            ecc: ["corrected", "uncorrected"].map(ecc),
            xids: builtin::XIDS.iter().map(xid).collect(),
            last_xid: gauge(&builtin::GPU_LAST_XID),
        }
    }

    /// Shows what was read; what the device does not have is absent.
    pub(super) fn show(&self, sample: &Sample) {
        let [used, total, free] = sample.memory.map_or([None; 3], |memory| memory.map(Some));
        for (gauge, value) in [
            (&self.used, used),
            (&self.total, total),
            (&self.free, free),
            (&self.utilisation, sample.utilisation),
            (&self.temperature, sample.temperature),
            (&self.power, sample.power),
        ] {
            value.map_or_else(|| gauge.clear(), |value| gauge.set(value));
        }
        let [corrected, uncorrected] = &self.ecc;
        for (counter, total) in [
            (&self.energy, sample.energy),
            (corrected, sample.ecc[0]),
            (uncorrected, sample.ecc[1]),
        ] {
            total.map_or_else(|| counter.clear(), |total| counter.set(total));
        }
    }

    /// Takes the readings away: a device that is gone has no temperature. What happened to it
    /// stays.
    pub(super) fn clear(&self) {
        self.show(&Sample::default());
    }

    /// Counts a critical error.
    pub(super) fn alarm(&self, code: u64) {
        let text = code.to_string();
        let place = builtin::XIDS.iter().position(|known| **known == text);
        // `other` is the last of the set.
        let counter = place.map_or_else(|| self.xids.last(), |place| self.xids.get(place));
        if let Some(counter) = counter {
            counter.inc();
        }
        self.last_xid.set(code as f64);
    }
}

/// The value of the label `device`.
pub(super) fn label(number: u32) -> String {
    format!("cuda:{number}")
}
