//! The polling thread: holds a session with the driver, tells what changed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::driver::{Alarms, Closed, Driver, Sample};
use super::readings::{Device, label};
use super::{GpuOptions, GpuStatus, Shared};
use crate::builtin;
use crate::metrics::{Counter, Gauge, MetricSpec, Registry};

/// Polls after which a session that misses a device is begun anew: a driver brings a device back
/// only to those who ask afresh, and cannot reset one that somebody holds open.
const POLLS_WITHOUT_A_DEVICE: u32 = 12;
/// Critical errors are asked for this often. The driver keeps only the last code for all errors
/// not yet asked for.
const LISTEN_EVERY: Duration = Duration::from_millis(100);
/// Errors that a faulty program on the device causes, by NVIDIA's catalogue of XID errors; the
/// device itself is well.
const CAUSED_BY_PROGRAMS: [u64; 6] = [13, 31, 43, 45, 68, 109];

/// What the thread does next.
#[derive(PartialEq)]
enum Next {
    Stop,
    Open,
}

/// What was last known of the driver.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    Nothing,
    Absent,
    Failing,
    Answering,
}

pub(super) struct Poller {
    registry: Registry,
    options: GpuOptions,
    shared: Arc<Shared>,
    known: Known,
    devices: Gauge,
    up: Gauge,
    last_poll: Gauge,
    took: Gauge,
    failures: Counter,
    lost: Counter,
}

/// Who listens to which device: its number and its alarms.
type Listening<'d> = Vec<(u32, Alarms<'d>)>;

impl Poller {
    pub(super) fn new(registry: &Registry, options: GpuOptions, shared: Arc<Shared>) -> Self {
        let own = |spec: &MetricSpec| spec.clone().prefixed(registry.prefix());
        let gauge = |spec: &MetricSpec| registry.gauge(&own(spec), &[]);
        let counter = |spec: &MetricSpec| registry.counter(&own(spec), &[]);
        Self {
            options,
            shared,
            known: Known::Nothing,
            devices: gauge(&builtin::GPU_DEVICES),
            up: gauge(&builtin::GPU_UP),
            last_poll: gauge(&builtin::GPU_LAST_POLL),
            took: gauge(&builtin::GPU_POLL_DURATION),
            failures: counter(&builtin::GPU_POLL_FAILURES),
            lost: counter(&builtin::GPU_LOST),
            registry: registry.clone(),
        }
    }

    /// The gauges that say whether the driver answers and how many devices do.
    pub(super) fn overall(&self) -> (Gauge, Gauge) {
        (self.up.clone(), self.devices.clone())
    }

    /// Polls until `stopped` has no sender any more.
    pub(super) fn run(mut self, stopped: &Receiver<()>) {
        loop {
            let begun = Instant::now();
            let next = match Driver::open(self.options.library.as_deref()) {
                Ok(driver) => self.session(&driver, stopped, begun),
                Err(closed) => {
                    self.without_driver(&closed);
                    self.finish_poll(begun, false);
                    pause(stopped, self.options.every)
                }
            };
            if next == Next::Stop {
                return;
            }
        }
    }

    /// Polls as long as the driver answers and misses no device for long.
    fn session(&mut self, driver: &Driver, stopped: &Receiver<()>, opened: Instant) -> Next {
        let mut begun = opened;
        let mut missing = 0;
        let mut listening = Listening::new();
        loop {
            let answered = self.poll(driver, &mut listening);
            self.finish_poll(begun, answered);
            if !answered {
                return pause(stopped, self.options.every);
            }
            if self.listen(&listening, stopped) == Next::Stop {
                return Next::Stop;
            }
            missing = if self.shared.status().lost > 0 { missing + 1 } else { 0 };
            if missing >= POLLS_WITHOUT_A_DEVICE {
                return Next::Open;
            }
            begun = Instant::now();
        }
    }

    /// Reads every device; `false` when the driver does not answer.
    fn poll<'d>(&mut self, driver: &'d Driver, listening: &mut Listening<'d>) -> bool {
        let count = match driver.count() {
            Ok(count) => count,
            Err(reason) => {
                self.turn(Known::Failing, &reason);
                self.lose_all_but(&[], &reason);
                return false;
            }
        };
        if self.known != Known::Answering {
            self.known = Known::Answering;
            let version = driver.version().unwrap_or_default();
            tracing::info!(devices = count, version, "GPU driver answers");
        }
        let mut answering = Vec::new();
        let mut trouble = String::from("the driver no longer lists it");
        for index in 0..count {
            let read = driver.identify(index).and_then(|who| Ok((who, driver.read(index)?)));
            match read {
                Ok((identity, sample)) => {
                    let number = self.show(identity, index, &sample);
                    if !listening.iter().any(|(of, _)| *of == number) {
                        listening.extend(driver.alarms(index).map(|alarms| (number, alarms)));
                    }
                    answering.push(number);
                }
                Err(reason) => trouble = reason,
            }
        }
        // What fired while the device was still on the bus is told before the device is given up.
        self.tell_alarms(listening);
        listening.retain(|(number, _)| answering.contains(number));
        self.lose_all_but(&answering, &trouble);
        true
    }

    /// Shows the readings of a device under its own number, which it keeps.
    fn show(&self, identity: String, index: u32, sample: &Sample) -> u32 {
        let mut state = self.shared.lock();
        let devices = &mut state.devices;
        let place = devices.iter().position(|device| device.identity == identity);
        let place = place.unwrap_or_else(|| {
            let taken = |number: &u32| devices.iter().any(|device| device.number == *number);
            let number = if taken(&index) { (0..).find(|n| !taken(n)) } else { Some(index) };
            devices.push(Device::new(&self.registry, identity, number.unwrap_or(index)));
            devices.len() - 1
        });
        let Some(device) = devices.get_mut(place) else { return index };
        device.show(sample);
        if !device.answers {
            device.answers = true;
            tracing::info!(device = label(device.number), uuid = device.identity, "GPU answers");
        }
        device.number
    }

    /// Takes away the readings of devices that no longer answer; counts and tells it once.
    fn lose_all_but(&self, answering: &[u32], reason: &str) {
        let mut state = self.shared.lock();
        for device in &mut state.devices {
            if device.answers && !answering.contains(&device.number) {
                device.answers = false;
                device.clear();
                self.lost.inc();
                tracing::error!(
                    device = label(device.number),
                    uuid = device.identity,
                    reason,
                    "GPU lost"
                );
            }
        }
    }

    fn without_driver(&mut self, closed: &Closed) {
        let (turned, reason) = match closed {
            // A library that was named or was there before is missed; else there simply is none.
            Closed::NoLibrary(reason)
                if self.options.library.is_none()
                    && matches!(self.known, Known::Nothing | Known::Absent) =>
            {
                (Known::Absent, reason)
            }
            Closed::NoLibrary(reason) | Closed::Failing(reason) => (Known::Failing, reason),
        };
        self.turn(turned, reason);
        self.lose_all_but(&[], reason);
    }

    /// Tells once that the driver does not answer.
    fn turn(&mut self, now: Known, reason: &str) {
        let before = std::mem::replace(&mut self.known, now);
        match (before, now) {
            (Known::Answering, Known::Failing) => {
                tracing::error!(reason, "GPU driver no longer answers");
            }
            (Known::Nothing | Known::Absent, Known::Failing) => {
                tracing::warn!(reason, "GPU driver does not answer");
            }
            _ => {}
        }
    }

    /// Writes down how a poll went.
    fn finish_poll(&self, begun: Instant, driver: bool) {
        let mut state = self.shared.lock();
        let answering = state.devices.iter().filter(|device| device.answers).count() as u32;
        let lost = state.devices.len() as u32 - answering;
        let polls = state.status.polls + 1;
        state.status = GpuStatus { polls, driver, devices: answering, lost, overdue: false };
        state.polled = Instant::now();
        self.devices.set(f64::from(answering));
        self.up.set(if driver { 1.0 } else { 0.0 });
        self.took.set(begun.elapsed().as_secs_f64());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_poll.set(now.as_secs_f64());
        if lost > 0 || self.known == Known::Failing {
            self.failures.inc();
        }
    }

    /// Waits for the next poll, with an ear to the devices.
    fn listen(&self, listening: &Listening<'_>, stopped: &Receiver<()>) -> Next {
        let end = Instant::now() + self.options.every;
        loop {
            self.tell_alarms(listening);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Open;
            }
            if pause(stopped, left.min(LISTEN_EVERY)) == Next::Stop {
                return Next::Stop;
            }
        }
    }

    fn tell_alarms(&self, listening: &Listening<'_>) {
        for (number, alarms) in listening {
            while let Some(code) = alarms.next() {
                let state = self.shared.lock();
                if let Some(device) = state.devices.iter().find(|d| d.number == *number) {
                    device.alarm(code);
                }
                let device = label(*number);
                if CAUSED_BY_PROGRAMS.contains(&code) {
                    tracing::warn!(device, xid = code, "a program failed on the GPU");
                } else {
                    tracing::error!(device, xid = code, "critical GPU error");
                }
            }
        }
    }
}

fn pause(stopped: &Receiver<()>, time: Duration) -> Next {
    match stopped.recv_timeout(time) {
        Err(RecvTimeoutError::Timeout) => Next::Open,
        _ => Next::Stop,
    }
}
