//! GPU readings through NVML, polled in a thread of their own and never on a scrape.
//!
//! The library is looked for at run time. Without it there are 0 devices, which is no error; it is
//! looked for again with each poll, so that a driver loaded later is found. A device that stops
//! answering loses its readings (absent, not stale) and is counted and logged once.
//!
//! Deliberately absent so far: ECC and XID counts.

use std::ffi::OsString;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;

use crate::metrics::{Counter, Gauge, MetricSpec, ObservedCounter, Registry};
use crate::{TelemetryError, builtin};

/// How GPUs are polled.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// The time between polls.
    pub every: Duration,
    /// The NVML library, where it is not the system's usual one.
    pub library: Option<OsString>,
}

impl Default for GpuOptions {
    /// Every five seconds, with the system's library.
    fn default() -> Self {
        Self { every: Duration::from_secs(5), library: None }
    }
}

/// What the last poll found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuStatus {
    /// Polls so far; 0: not known yet.
    pub polls: u64,
    /// Whether the driver answered.
    pub driver: bool,
    /// Devices that answered.
    pub devices: u32,
}

/// Polls GPUs into a registry of its own until it is dropped.
pub struct GpuMonitor {
    registry: Registry,
    status: Arc<Mutex<GpuStatus>>,
    _stop: mpsc::Sender<()>,
}

impl GpuMonitor {
    /// Starts polling; metrics are named under `prefix`.
    ///
    /// # Errors
    /// [`TelemetryError::System`] when no thread can be started. A missing library is no error.
    pub fn start(prefix: &str, options: GpuOptions) -> Result<Self, TelemetryError> {
        let registry = Registry::new(prefix, &builtin::gpu_specs(prefix))?;
        let status = Arc::new(Mutex::new(GpuStatus::default()));
        let (stop, stopped) = mpsc::channel();
        let mut poller = Poller::new(&registry, options.library, Arc::clone(&status));
        std::thread::Builder::new()
            .name("gpu-poll".to_owned())
            .spawn(move || {
                loop {
                    poller.poll();
                    if stopped.recv_timeout(options.every) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            })
            .map_err(|source| TelemetryError::System { what: "GPU polling thread", source })?;
        Ok(Self { registry, status, _stop: stop })
    }

    /// The GPU metrics, for a listener or path of their own.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What the last poll found.
    #[must_use]
    pub fn status(&self) -> GpuStatus {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Poller {
    registry: Registry,
    library: Option<OsString>,
    nvml: Option<Nvml>,
    status: Arc<Mutex<GpuStatus>>,
    devices: Gauge,
    up: Gauge,
    last_poll: Gauge,
    lost: Counter,
    /// By index; a device keeps its place when it is gone.
    readings: Vec<Readings>,
}

struct Readings {
    answered: bool,
    used: Gauge,
    total: Gauge,
    free: Gauge,
    utilisation: Gauge,
    temperature: Gauge,
    power: Gauge,
    energy: ObservedCounter,
}

impl Poller {
    fn new(registry: &Registry, library: Option<OsString>, status: Arc<Mutex<GpuStatus>>) -> Self {
        let own = |spec: &MetricSpec| spec.clone().prefixed(registry.prefix());
        Self {
            library,
            nvml: None,
            status,
            devices: registry.gauge(&own(&builtin::GPU_DEVICES), &[]),
            up: registry.gauge(&own(&builtin::GPU_UP), &[]),
            last_poll: registry.gauge(&own(&builtin::GPU_LAST_POLL), &[]),
            lost: registry.counter(&own(&builtin::GPU_LOST), &[]),
            readings: Vec::new(),
            registry: registry.clone(),
        }
    }

    fn poll(&mut self) {
        if self.nvml.is_none() {
            self.nvml = match &self.library {
                Some(path) => Nvml::builder().lib_path(path).init(),
                None => Nvml::init(),
            }
            .ok();
        }
        let count = self.nvml.as_ref().and_then(|nvml| nvml.device_count().ok());
        for index in self.readings.len()..count.unwrap_or(0) as usize {
            self.readings.push(Readings::new(&self.registry, index));
        }
        let mut answering = 0;
        for (index, readings) in (0_u32..).zip(&mut self.readings) {
            let answers = match &self.nvml {
                Some(nvml) if count.is_some() => readings.read(nvml, index),
                _ => false,
            };
            answering += u32::from(answers);
            if readings.answered && !answers {
                self.lost.inc();
                readings.clear();
                tracing::error!(device = %device_name(index as usize), "GPU no longer answers");
            }
            readings.answered = answers;
        }
        if count.is_none() {
            // A driver that stopped answering is loaded anew with the next poll.
            self.nvml = None;
        }
        self.devices.set(f64::from(answering));
        self.up.set(if count.is_some() { 1.0 } else { 0.0 });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_poll.set(now.as_secs_f64());
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        *status =
            GpuStatus { polls: status.polls + 1, driver: count.is_some(), devices: answering };
    }
}

fn device_name(index: usize) -> String {
    format!("cuda:{index}")
}

impl Readings {
    fn new(registry: &Registry, index: usize) -> Self {
        let device = device_name(index);
        let own = |spec: &MetricSpec| spec.clone().prefixed(registry.prefix());
        let gauge = |spec: &MetricSpec| {
            let gauge = registry.gauge(&own(spec), &[&device]);
            gauge.clear();
            gauge
        };
        Self {
            answered: false,
            used: gauge(&builtin::GPU_MEMORY_USED),
            total: gauge(&builtin::GPU_MEMORY_TOTAL),
            free: gauge(&builtin::GPU_MEMORY_FREE),
            utilisation: gauge(&builtin::GPU_UTILISATION),
            temperature: gauge(&builtin::GPU_TEMPERATURE),
            power: gauge(&builtin::GPU_POWER),
            energy: registry.observed_counter(&own(&builtin::GPU_ENERGY), &[&device]),
        }
    }

    /// Takes the readings; `false` when the device does not answer. A reading that this device
    /// does not have is absent.
    fn read(&self, nvml: &Nvml, index: u32) -> bool {
        let Ok(device) = nvml.device_by_index(index) else { return false };
        let Ok(memory) = device.memory_info() else { return false };
        self.used.set(memory.used as f64);
        self.total.set(memory.total as f64);
        self.free.set(memory.free as f64);
        let busy = device.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0);
        set(&self.utilisation, busy);
        let celsius = device.temperature(TemperatureSensor::Gpu).ok().map(f64::from);
        set(&self.temperature, celsius);
        let milliwatts = device.power_usage().ok().map(f64::from);
        set(&self.power, milliwatts.map(|mw| mw / 1e3));
        if let Ok(millijoules) = device.total_energy_consumption() {
            self.energy.set(millijoules as f64 / 1e3);
        }
        true
    }

    fn clear(&self) {
        for gauge in
            [&self.used, &self.total, &self.free, &self.utilisation, &self.temperature, &self.power]
        {
            gauge.clear();
        }
    }
}

fn set(gauge: &Gauge, value: Option<f64>) {
    match value {
        Some(value) => gauge.set(value),
        None => gauge.clear(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Format;

    #[test]
    fn no_library_means_no_devices_and_no_error() {
        let registry = Registry::new("t", &builtin::gpu_specs("t")).unwrap();
        let status = Arc::new(Mutex::new(GpuStatus::default()));
        let library = Some(OsString::from("libthere-is-none.so"));
        let mut poller = Poller::new(&registry, library, Arc::clone(&status));
        poller.poll();
        assert_eq!(*status.lock().unwrap(), GpuStatus { polls: 1, driver: false, devices: 0 });
        let page = registry.encode(Format::Text);
        assert!(page.contains("\nt_gpu_devices 0\n") && page.contains("\nt_gpu_up 0\n"));
        assert!(!page.contains("cuda:"));
        assert_eq!(registry.refused(), 0);
    }
}
