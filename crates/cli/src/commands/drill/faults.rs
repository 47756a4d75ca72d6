//! How each fault is done to the sandbox from outside, kept up, and lifted.

use super::disk;
use super::gpu;
use super::habit::Habit;
use super::sandbox::Sandbox;
use super::starve::starve;
use super::traffic::{self, Effort};
use crate::failure::Failure;
use microdiff_kit::Fault;
use microdiff_telemetry::gpu::TWO_DEVICES;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A fault that lasts.
pub trait Ongoing {
    /// Called again and again while the fault lasts; most need nothing.
    fn keep_up(&mut self, _sandbox: &mut Sandbox) -> Result<(), Failure> {
        Ok(())
    }

    /// Ends it, as an operator would who has found the cause.
    fn lift(self: Box<Self>, sandbox: &mut Sandbox) -> Result<(), Failure>;
}

/// Begins a fault.
pub fn inject(fault: Fault, sandbox: &mut Sandbox) -> Result<Box<dyn Ongoing>, Failure> {
    Ok(match fault {
        Fault::ErrorBurst => Box::new(Burst { _habit: traffic::failing(sandbox.user.clone()) }),
        Fault::SlowInference => Box::new(Slow::Drained),
        Fault::Overload => Box::new(Overload::begin(sandbox)),
        Fault::WrongModel => {
            sandbox.places.turn_model_to(&sandbox.places.wrong_model())?;
            sandbox.service.start_again(&sandbox.patience)?;
            Box::new(WrongModel)
        }
        Fault::DatabaseGone => Box::new(Moved::away(sandbox.places.data().join("jobs.sqlite3"))?),
        Fault::DiskFull => {
            disk::fill(sandbox.service.pid(), &sandbox.places.data())?;
            Box::new(DiskFull)
        }
        Fault::GpuMemory => scripted(sandbox, &TWO_DEVICES.replace("0.used 4000", "0.used 15900"))?,
        Fault::GpuLost => {
            scripted(sandbox, &format!("{TWO_DEVICES}1.error 15\n1.xid 79\n1.xid_serial 1\n"))?
        }
        Fault::GpuHang => scripted(sandbox, "hang 1\ndevices 2\n")?,
        Fault::GpuFailing => scripted(
            sandbox,
            &TWO_DEVICES
                .replace("0.temperature 64", "0.temperature 96")
                .replace("0.uncorrected 0", "0.uncorrected 7"),
        )?,
        Fault::CollectorDown => {
            sandbox.collector.turn_down(true);
            Box::new(CollectorDown)
        }
        Fault::ProcessKilled => {
            sandbox.service.kill();
            Box::new(Killed)
        }
        Fault::CrashLoop => Box::new(CrashLoop::begin(sandbox)?),
        Fault::LogStalled => {
            sandbox.service.stall_log(true);
            sandbox.traffic.pace(READS_THAT_FILL_THE_LOG);
            Box::new(LogStalled)
        }
    })
}

/// Reads that make as many access lines as the log's queue and its pipe hold within seconds.
const READS_THAT_FILL_THE_LOG: u32 = 60;
/// Reads that thin out the errors of a burst, as a day of ordinary use would.
const READS_AFTER_A_BURST: u32 = 400;

struct Burst {
    _habit: Habit,
}

impl Ongoing for Burst {
    fn lift(self: Box<Self>, sandbox: &mut Sandbox) -> Result<(), Failure> {
        sandbox.traffic.pace(READS_AFTER_A_BURST);
        Ok(())
    }
}

/// Designs at a time; a burn rate of the latency objective needs more than ten within an hour of
/// the rules, and more than 25 within six.
pub const BATCH: usize = 14;
/// Longer than the objective's 10 s, from the first of a batch.
const SLOW: Duration = Duration::from_millis(11_500);

/// Batches of designs that take longer than they should, one after another.
enum Slow {
    /// No design runs.
    Drained,
    /// The process hardly runs.
    Starving { _starved: Habit, since: Instant, ids: Vec<String> },
    /// What was slow comes to its end.
    Draining { ids: Vec<String> },
}

impl Ongoing for Slow {
    fn keep_up(&mut self, sandbox: &mut Sandbox) -> Result<(), Failure> {
        match self {
            Self::Drained => {
                let submit = |_| sandbox.user.submit(Effort::LARGE);
                let ids = (0..BATCH).filter_map(submit).collect();
                let starved = starve(sandbox.service.pid());
                *self = Self::Starving { _starved: starved, since: Instant::now(), ids };
            }
            Self::Starving { since, ids, .. } if since.elapsed() > SLOW => {
                *self = Self::Draining { ids: std::mem::take(ids) };
            }
            Self::Starving { .. } => {}
            Self::Draining { ids } => {
                let runs = |id: &String| {
                    sandbox
                        .user
                        .state(id)
                        .is_some_and(|state| state == "queued" || state == "running")
                };
                ids.retain(runs);
                if ids.is_empty() {
                    *self = Self::Drained;
                }
            }
        }
        Ok(())
    }

    fn lift(self: Box<Self>, _: &mut Sandbox) -> Result<(), Failure> {
        Ok(())
    }
}

/// One enormous design on a starved process, and a flood of small ones behind it.
///
/// Fields end in the order in which they stand: the process runs before the flood is waited for.
struct Overload {
    _starved: Habit,
    _flood: Habit,
}

impl Overload {
    fn begin(sandbox: &Sandbox) -> Self {
        sandbox.user.submit(Effort::enormous());
        let starved = starve(sandbox.service.pid());
        Self { _starved: starved, _flood: traffic::flooding(sandbox.user.clone()) }
    }
}

impl Ongoing for Overload {
    fn lift(self: Box<Self>, _: &mut Sandbox) -> Result<(), Failure> {
        Ok(())
    }
}

struct WrongModel;

impl Ongoing for WrongModel {
    fn lift(self: Box<Self>, sandbox: &mut Sandbox) -> Result<(), Failure> {
        sandbox.places.turn_model_to(&sandbox.places.right_model())?;
        sandbox.service.start_again(&sandbox.patience)
    }
}

/// A file that is not where it belongs.
struct Moved {
    from: PathBuf,
    to: PathBuf,
}

impl Moved {
    fn away(from: PathBuf) -> Result<Self, Failure> {
        let to = from.with_extension("away");
        rename(&from, &to)?;
        Ok(Self { from, to })
    }
}

fn rename(from: &std::path::Path, to: &std::path::Path) -> Result<(), Failure> {
    std::fs::rename(from, to)
        .map_err(|error| Failure::internal(format!("cannot move {}: {error}", from.display())))
}

impl Ongoing for Moved {
    fn lift(self: Box<Self>, _: &mut Sandbox) -> Result<(), Failure> {
        rename(&self.to, &self.from)
    }
}

struct DiskFull;

impl Ongoing for DiskFull {
    fn lift(self: Box<Self>, sandbox: &mut Sandbox) -> Result<(), Failure> {
        disk::free(sandbox.service.pid(), &sandbox.places.data())
    }
}

struct Scripted;

fn scripted(sandbox: &Sandbox, script: &str) -> Result<Box<dyn Ongoing>, Failure> {
    gpu::script(sandbox.gpus()?, script)?;
    Ok(Box::new(Scripted))
}

impl Ongoing for Scripted {
    fn lift(self: Box<Self>, sandbox: &mut Sandbox) -> Result<(), Failure> {
        gpu::script(sandbox.gpus()?, TWO_DEVICES)
    }
}

struct CollectorDown;

impl Ongoing for CollectorDown {
    fn lift(self: Box<Self>, sandbox: &mut Sandbox) -> Result<(), Failure> {
        sandbox.collector.turn_down(false);
        Ok(())
    }
}

struct Killed;

impl Ongoing for Killed {
    fn lift(self: Box<Self>, sandbox: &mut Sandbox) -> Result<(), Failure> {
        sandbox.service.start_again(&sandbox.patience)
    }
}

/// A design that never comes to its end, because the process is killed under it each time.
struct CrashLoop {
    killed: Instant,
}

/// Long enough for the design to be begun again and for two scrapes to see the new process.
const LIFE: Duration = Duration::from_secs(2);

impl CrashLoop {
    fn begin(sandbox: &Sandbox) -> Result<Self, Failure> {
        let id = sandbox.user.submit(Effort::enormous());
        id.ok_or_else(|| Failure::internal("the design to be killed was not accepted"))?;
        Ok(Self { killed: Instant::now() })
    }
}

impl Ongoing for CrashLoop {
    fn keep_up(&mut self, sandbox: &mut Sandbox) -> Result<(), Failure> {
        if self.killed.elapsed() > LIFE {
            sandbox.service.start_again(&sandbox.patience)?;
            self.killed = Instant::now();
        }
        Ok(())
    }

    fn lift(self: Box<Self>, _: &mut Sandbox) -> Result<(), Failure> {
        // It is left running.
        Ok(())
    }
}

struct LogStalled;

impl Ongoing for LogStalled {
    fn lift(self: Box<Self>, sandbox: &mut Sandbox) -> Result<(), Failure> {
        sandbox.service.stall_log(false);
        Ok(())
    }
}
