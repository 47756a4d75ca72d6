//! Which drill proves which alert, and why the other alerts have none.
//!
//! A drill does one bounded fault to a running service and expects alerts of it. The table is what
//! `microdiff drill` lists and runs, what the guide and the runbooks quote, and what tests hold
//! against the rule files: every alert is in a drill or has its reason. How a fault is done is the
//! command's.

use crate::WATCHDOG;

/// What is done to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Requests and designs fail.
    ErrorBurst,
    /// The process is starved of the processor while it infers.
    SlowInference,
    /// More designs than it can do.
    Overload,
    /// The model answers wrongly.
    WrongModel,
    /// The database is gone.
    DatabaseGone,
    /// The disk is full.
    DiskFull,
    /// The memory of a GPU is full.
    GpuMemory,
    /// A GPU is lost.
    GpuLost,
    /// The driver of the GPUs hangs.
    GpuHang,
    /// A GPU overheats and its memory fails.
    GpuFailing,
    /// The collector of spans is down.
    CollectorDown,
    /// The process is killed and stays away.
    ProcessKilled,
    /// The process is killed again and again.
    CrashLoop,
    /// Nobody reads the log.
    LogStalled,
}

/// A fault with the alerts that must fire because of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drill {
    /// What an operator calls it.
    pub name: &'static str,
    /// Which fault it is.
    pub fault: Fault,
    /// What is injected, in a sentence.
    pub injects: &'static str,
    /// The alerts that must fire, and clear once it is over.
    pub expects: &'static [&'static str],
    /// Times faster that the rules run unless told otherwise.
    pub compression: u32,
}

/// The usual speed: a minute of the rules is a second.
const MINUTES_TO_SECONDS: u32 = 60;

/// An alert without a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undrilled {
    /// Its name.
    pub alert: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// Every drill.
pub const DRILLS: &[Drill] = &[
    Drill {
        name: "error-burst",
        fault: Fault::ErrorBurst,
        injects: "clients hang up while they wait for their answer, and scans arrive that cannot be read",
        expects: &[
            "HighErrorRate",
            "DesignFailureRateHigh",
            "AvailabilityBudgetBurnFast",
            "AvailabilityBudgetBurn",
            "AvailabilityBudgetBurnSlow",
            "InstanceBudgetBurn",
            "FlightRecordsLost",
        ],
        compression: MINUTES_TO_SECONDS,
    },
    Drill {
        name: "slow-inference",
        fault: Fault::SlowInference,
        injects: "the process is stopped most of the time (SIGSTOP, SIGCONT) while it infers",
        expects: &["ModelInferenceLatency", "LatencyBudgetBurnFast", "LatencyBudgetBurn"],
        compression: MINUTES_TO_SECONDS,
    },
    Drill {
        name: "overload",
        fault: Fault::Overload,
        injects: "one enormous design, then more designs than the queue holds, on a starved process",
        expects: &["QueueNearlyFull", "QueueRejecting", "QueueStuck"],
        compression: MINUTES_TO_SECONDS,
    },
    Drill {
        name: "wrong-model",
        fault: Fault::WrongModel,
        injects: "a restart with a bundle that is whole, and whose weights are a fifth too large",
        expects: &["ModelCanaryFailing", "HealthCheckFailing"],
        compression: MINUTES_TO_SECONDS,
    },
    Drill {
        name: "database-gone",
        fault: Fault::DatabaseGone,
        injects: "the database file is moved away under the running service",
        expects: &["HealthCheckFailing", "HealthCheckStale"],
        compression: MINUTES_TO_SECONDS,
    },
    Drill {
        name: "disk-full",
        fault: Fault::DiskFull,
        injects: "the file system of the data directory shrinks until nothing is left of it",
        expects: &["StorageSpaceLow", "HealthCheckFailing", "LogWriteFailing"],
        compression: MINUTES_TO_SECONDS,
    },
    Drill {
        name: "gpu-memory",
        fault: Fault::GpuMemory,
        injects: "a stand-in for the driver's library reports 99 % of a device's memory in use",
        expects: &["GPUMemoryHigh", "GPUMemoryExhausted"],
        compression: MINUTES_TO_SECONDS,
    },
    Drill {
        name: "gpu-lost",
        fault: Fault::GpuLost,
        injects: "a stand-in for the driver's library reports XID 79 and loses one of two devices",
        expects: &["GPULost", "GPUCriticalError", "GPUPollFailing", "HealthCheckDegraded"],
        compression: MINUTES_TO_SECONDS,
    },
    Drill {
        name: "gpu-hang",
        fault: Fault::GpuHang,
        injects: "a stand-in for the driver's library stops answering",
        expects: &["GPUPollStale", "HealthCheckFailing"],
        // Devices are read once a second at most, which must stay well below the limit of an age.
        compression: 20,
    },
    Drill {
        name: "gpu-failing",
        fault: Fault::GpuFailing,
        injects: "a stand-in for the driver's library reports 96 °C and uncorrected memory errors",
        expects: &["GPUHot", "GPUMemoryErrors"],
        compression: MINUTES_TO_SECONDS,
    },
    Drill {
        name: "collector-down",
        fault: Fault::CollectorDown,
        injects: "the collector that the service sends its spans to hangs up on it",
        expects: &["CollectorDown", "SpansLost"],
        compression: MINUTES_TO_SECONDS,
    },
    Drill {
        name: "process-killed",
        fault: Fault::ProcessKilled,
        injects: "the process is killed (SIGKILL) and started again only when the alerts fire",
        expects: &["ServiceDown", "ScrapeFailing"],
        compression: MINUTES_TO_SECONDS,
    },
    Drill {
        name: "crash-loop",
        fault: Fault::CrashLoop,
        injects: "the process is killed (SIGKILL) in the middle of a design, as often as it is started",
        expects: &["ServiceRestarting", "DesignGivenUp"],
        compression: MINUTES_TO_SECONDS,
    },
    Drill {
        name: "log-stalled",
        fault: Fault::LogStalled,
        injects: "whoever reads the service's standard output stops reading",
        expects: &["LogLinesDropped"],
        compression: MINUTES_TO_SECONDS,
    },
];

/// Every alert that no drill expects.
pub const UNDRILLED: &[Undrilled] = &[
    Undrilled {
        alert: WATCHDOG,
        reason: "it always fires; every drill waits for it before anything is injected",
    },
    Undrilled {
        alert: "RuntimeStalled",
        reason: "what stops the runtime from outside stops the thread that would notice, too",
    },
    Undrilled {
        alert: "RequestLatencyHigh",
        reason: "a process starved until reads take seconds misses its scrapes at the speed of a drill",
    },
    Undrilled {
        alert: "InferenceLatencyTrend",
        reason: "it compares with the day before, which takes 24 minutes at the speed of a drill",
    },
    Undrilled {
        alert: "LatencyBudgetBurnSlow",
        reason: "LatencyBudgetBurn over longer windows, which take four minutes at the speed of a drill",
    },
    Undrilled {
        alert: "ErrorBudgetLow",
        reason: "it fires in error-burst and clears as the budget's days go by, which no drill compresses",
    },
    Undrilled {
        alert: "TrafficTrend",
        reason: "it compares with the week before, which takes three hours at the speed of a drill",
    },
    Undrilled {
        alert: "DescriptorDrift",
        reason: "it compares with the day before, which takes 24 minutes at the speed of a drill",
    },
    Undrilled {
        alert: "QueueWaitLong",
        reason: "a design would have to wait for five minutes of real time",
    },
    Undrilled {
        alert: "OutOfDistributionHigh",
        reason: "no fault of the service: it depends on the scans that people send",
    },
    Undrilled {
        alert: "PosteriorPredictiveFlagged",
        reason: "no fault of the service: it depends on the scans that people send",
    },
    Undrilled {
        alert: "PosteriorPredictiveErrorHigh",
        reason: "no fault of the service: it depends on the scans that people send",
    },
    Undrilled {
        alert: "ModelAccuracyLow",
        reason: "it needs a scoring of the whole validation set, minutes of computing",
    },
    Undrilled {
        alert: "ModelEvaluationFailing",
        reason: "it looks back over seven hours and would clear after seven minutes of a drill",
    },
    Undrilled {
        alert: "ModelEvaluationStale",
        reason: "it waits for twelve hours, which take twelve minutes at the speed of a drill",
    },
    Undrilled {
        alert: "GPUMemoryErrorsCorrected",
        reason: "it looks back over a day and would clear after 24 minutes of a drill",
    },
    Undrilled {
        alert: "StorageWillFill",
        reason: "it follows a trend over six hours; disk-full is the end of that trend",
    },
    Undrilled {
        alert: "DatabaseConnectionsExhausted",
        reason: "it needs a statement that holds its connection for minutes; the service has none",
    },
    Undrilled {
        alert: "AuditWritesFailing",
        reason: "on a full disk submissions are refused before a record is lost; it takes a disk that fails for the audit log alone",
    },
    Undrilled {
        alert: "AuditSilent",
        reason: "designs that end without a record are a fault of the program, no fault from outside",
    },
    Undrilled {
        alert: "SeriesOverflow",
        reason: "every label is a closed set, so only a fault of the program makes a series too many",
    },
    Undrilled {
        alert: "SeriesRefused",
        reason: "a handle that the catalogue lacks is a fault of the program; tests find none",
    },
];

impl Drill {
    /// The drill of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        DRILLS.iter().find(|drill| drill.name == name)
    }
}

impl Undrilled {
    /// Why an alert has no drill; `None` for one that has.
    #[must_use]
    pub fn of(alert: &str) -> Option<&'static Self> {
        UNDRILLED.iter().find(|undrilled| undrilled.alert == alert)
    }
}
