//! From the NVML library to plain numbers. Knows NVML's errors, knows no metric.

use std::ffi::OsStr;

use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, EventSet, Nvml};

/// Where the system keeps the library.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// Without these no session can be held. The wrapper calls the first two unchecked.
const NEEDED: [&[u8]; 4] = [
    b"nvmlShutdown\0",
    b"nvmlInit_v2\0",
    b"nvmlDeviceGetCount_v2\0",
    b"nvmlDeviceGetHandleByIndex_v2\0",
];
/// Without these there are no events. The wrapper calls the first unchecked.
const FOR_EVENTS: [&[u8]; 4] = [
    b"nvmlEventSetFree\0",
    b"nvmlEventSetCreate\0",
    b"nvmlEventSetWait_v2\0",
    b"nvmlDeviceRegisterEvents\0",
];

/// Why there is no session.
#[derive(Debug)]
pub(super) enum Closed {
    /// No library: this machine has no driver.
    NoLibrary(String),
    /// The library is there, and it or the driver behind it does not work.
    Failing(String),
}

/// An open session.
pub(super) struct Driver {
    nvml: Nvml,
    has_events: bool,
}

/// One look at one device. A reading that the device does not have is `None`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// Used, total and free bytes.
    pub(super) memory: Option<[f64; 3]>,
    /// Share of time busy, 0 to 1.
    pub(super) utilisation: Option<f64>,
    /// Degrees Celsius.
    pub(super) temperature: Option<f64>,
    /// Watts.
    pub(super) power: Option<f64>,
    /// Joules since the driver was loaded.
    pub(super) energy: Option<f64>,
    /// Memory errors in the life of the device: corrected, uncorrected.
    pub(super) ecc: [Option<f64>; 2],
}

/// Critical errors of one device, kept by the driver until asked for.
pub(super) struct Alarms<'d>(EventSet<'d>);

impl Driver {
    /// Loads the library and begins a session.
    pub(super) fn open(library: Option<&OsStr>) -> Result<Self, Closed> {
        let path = library.unwrap_or(OsStr::new(LIBRARY));
        let has_events = look(path)?;
        let nvml = Nvml::builder().lib_path(path).init();
        let nvml = nvml.map_err(|error| Closed::Failing(error.to_string()))?;
        Ok(Self { nvml, has_events })
    }

    /// Number of devices, those that do not answer included.
    pub(super) fn count(&self) -> Result<u32, String> {
        self.nvml.device_count().map_err(|error| error.to_string())
    }

    /// Version of the driver, as `550.54.15`.
    pub(super) fn version(&self) -> Option<String> {
        self.nvml.sys_driver_version().ok()
    }

    /// What identifies the device at `index` of this session; the error when it does not answer.
    pub(super) fn identify(&self, index: u32) -> Result<String, String> {
        let device = self.device(index)?;
        match optional(device.uuid())? {
            Some(uuid) => Ok(uuid),
            None => Ok(format!("index {index}")),
        }
    }

    /// Takes the readings; the error when the device does not answer.
    pub(super) fn read(&self, index: u32) -> Result<Sample, String> {
        let device = self.device(index)?;
        let memory = match device.memory_info() {
            Ok(memory) => Some([memory.used, memory.total, memory.free].map(|n| n as f64)),
            // Every device has memory: what fails for another reason than age has stopped working.
            Err(error) if is_absent(&error) => None,
            Err(error) => return Err(error.to_string()),
        };
        let ecc = |kind| {
            let total = device.total_ecc_errors(kind, EccCounter::Aggregate);
            optional(total).map(|total| total.map(|n| n as f64))
        };
        let busy = optional(device.utilization_rates())?;
        Ok(Sample {
            memory,
            utilisation: busy.map(|rates| f64::from(rates.gpu) / 100.0),
            temperature: optional(device.temperature(TemperatureSensor::Gpu))?.map(f64::from),
            power: optional(device.power_usage())?.map(|milliwatts| f64::from(milliwatts) / 1e3),
            energy: optional(device.total_energy_consumption())?.map(|mj| mj as f64 / 1e3),
            ecc: [ecc(MemoryError::Corrected)?, ecc(MemoryError::Uncorrected)?],
        })
    }

    /// Starts listening for critical errors of a device; `None` where it has no such events.
    pub(super) fn alarms(&self, index: u32) -> Option<Alarms<'_>> {
        if !self.has_events {
            return None;
        }
        // A set for each device: a failed registration takes its whole set with it, and an event
        // of a device that fell off the bus could not be told apart by asking that device.
        let set = self.nvml.create_event_set().ok()?;
        let device = self.nvml.device_by_index(index).ok()?;
        device.register_events(EventTypes::CRITICAL_XID_ERROR, set).ok().map(Alarms)
    }

    fn device(&self, index: u32) -> Result<Device<'_>, String> {
        self.nvml.device_by_index(index).map_err(|error| error.to_string())
    }
}

impl Alarms<'_> {
    /// The code of the next critical error, if there was one; does not wait. 999 is the driver's
    /// own "unknown".
    pub(super) fn next(&self) -> Option<u64> {
        // Asked again later, a set that fails for good only stays silent.
        match self.0.wait(0).ok()?.event_data? {
            XidError::Value(code) => Some(code),
            XidError::Unknown => Some(999),
        }
    }
}

/// Looks whether the library can be used at all; says whether it has events.
fn look(path: &OsStr) -> Result<bool, Closed> {
    // SAFETY: loading a library runs its initialisers. This is the library that the operator or
    // the system's loader names as NVML, and the wrapper loads the same one next.
    let library = unsafe { libloading::Library::new(path) };
    let library = library.map_err(|error| Closed::NoLibrary(error.to_string()))?;
    let has = |name: &&[u8]| {
        // SAFETY: the symbol is only looked up, never called or read through this type.
        unsafe { library.get::<*const ()>(name) }.is_ok()
    };
    match NEEDED.iter().find(|name| !has(name)) {
        Some(name) => {
            let name = String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(name));
            Err(Closed::Failing(format!("the library lacks {name}")))
        }
        None => Ok(FOR_EVENTS.iter().all(has)),
    }
}

/// A reading that a device may lack: absent unless the device itself is gone.
fn optional<T>(reading: Result<T, NvmlError>) -> Result<Option<T>, String> {
    match reading {
        Ok(value) => Ok(Some(value)),
        Err(error @ (NvmlError::GpuLost | NvmlError::ResetRequired)) => Err(error.to_string()),
        Err(_) => Ok(None),
    }
}

/// Whether the error says that there is no such reading, rather than that something broke.
fn is_absent(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::NotSupported
            | NvmlError::FunctionNotFound
            | NvmlError::FailedToLoadSymbol(_)
            | NvmlError::NoPermission
            | NvmlError::NoData
    )
}
