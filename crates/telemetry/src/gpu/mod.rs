//! GPU readings through NVML, polled in a thread of their own and never on a scrape.
//!
//! The library is looked for at run time. Without it there are 0 devices, which is no error; it is
//! looked for again with each poll, so that a driver loaded later is found. A device that stops
//! answering is an event: counted, logged once, its readings absent rather than stale, until it
//! answers again. So is a driver that dies, and a driver that hangs: NVML then never returns, so
//! lateness is judged by whoever reads, not by the polling thread.
//!
//! A device is known by its UUID and keeps the label it was first seen under (`cuda:N`, N in the
//! driver's order, which is that of the PCI bus), even when the driver counts anew without a lost
//! neighbour.
//!
//! Deliberately absent: resetting, configuring or choosing devices.

mod driver;
mod poller;
mod readings;
mod stand_in;

use std::ffi::OsString;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::Registry;
use crate::{TelemetryError, builtin};
use poller::Poller;
use readings::Device;

pub use stand_in::{StandIn, TWO_DEVICES};

/// How GPUs are polled.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// The time between polls.
    pub every: Duration,
    /// How long a poll may take before the driver counts as not answering.
    pub deadline: Duration,
    /// The NVML library, where it is not the system's usual one.
    pub library: Option<OsString>,
}

impl Default for GpuOptions {
    /// Every five seconds, thirty for a poll, with the system's library.
    fn default() -> Self {
        Self { every: Duration::from_secs(5), deadline: Duration::from_secs(30), library: None }
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
    /// Devices that answered once and do not now.
    pub lost: u32,
    /// Whether the poll that is due has not come back within its deadline. The other fields are
    /// then what was last known.
    pub overdue: bool,
}

/// Polls GPUs into a registry of its own until it is dropped.
pub struct GpuMonitor {
    registry: Registry,
    shared: Arc<Shared>,
    _stop: mpsc::Sender<()>,
}

/// What the polling thread leaves for others to read. Never locked during a call into NVML.
struct Shared {
    state: Mutex<State>,
    /// Between the ends of two polls, at most.
    patience: Duration,
}

struct State {
    status: GpuStatus,
    polled: Instant,
    devices: Vec<Device>,
}

impl Shared {
    fn new(options: &GpuOptions) -> Self {
        let state =
            State { status: GpuStatus::default(), polled: Instant::now(), devices: Vec::new() };
        Self { state: Mutex::new(state), patience: options.every + options.deadline }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> GpuStatus {
        let state = self.lock();
        GpuStatus { overdue: state.polled.elapsed() > self.patience, ..state.status }
    }

    /// Takes back what a thread that hangs in the driver cannot: readings that are no longer true.
    fn clear_if_overdue(&self, up: &crate::metrics::Gauge, count: &crate::metrics::Gauge) {
        if self.status().overdue {
            up.set(0.0);
            count.set(0.0);
            self.lock().devices.iter().for_each(Device::clear);
        }
    }
}

impl GpuMonitor {
    /// Starts polling; metrics are named under `prefix`.
    ///
    /// # Errors
    /// [`TelemetryError::System`] when no thread can be started. A missing library is no error.
    pub fn start(prefix: &str, options: GpuOptions) -> Result<Self, TelemetryError> {
        let registry = Registry::new(prefix, &builtin::gpu_specs(prefix))?;
        let shared = Arc::new(Shared::new(&options));
        let (stop, stopped) = mpsc::channel();
        let poller = Poller::new(&registry, options, Arc::clone(&shared));
        let (up, count) = poller.overall();
        let late = Arc::clone(&shared);
        registry.on_scrape(move || late.clear_if_overdue(&up, &count));
        // Events go where the starting thread's go: a service may have a subscriber of its own.
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        std::thread::Builder::new()
            .name("gpu-poll".to_owned())
            .spawn(move || {
                tracing::dispatcher::with_default(&dispatch, || poller.run(&stopped));
            })
            .map_err(|source| TelemetryError::System { what: "GPU polling thread", source })?;
        Ok(Self { registry, shared, _stop: stop })
    }

    /// The GPU metrics, for a listener or path of their own.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What the last poll found.
    #[must_use]
    pub fn status(&self) -> GpuStatus {
        self.shared.status()
    }
}
