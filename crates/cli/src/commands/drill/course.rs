//! The course of a drill: quiet, fault, alerts, end of the fault, quiet again.

use super::faults;
use super::report::{Expected, Report};
use super::sandbox::{Sandbox, compression};
use crate::args::DrillArgs;
use crate::failure::Failure;
use crate::output;
use microdiff_kit::{Compression, Drill, Rule, WATCHDOG, files, memory, rules, waits};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long nothing may stir before the fault.
const QUIET: Duration = Duration::from_secs(4);
/// Given for the quiet to come: the service has just started.
const CALM: Duration = Duration::from_secs(180);
/// What checks, scrapes and a busy machine add to what the rules say.
const SLACK: Duration = Duration::from_secs(120);
/// No alert is waited for longer than this, in either direction.
const LONGEST: Duration = Duration::from_secs(600);

/// How long the expected alerts are given.
struct Limits {
    fire: Duration,
    clear: Duration,
}

impl Limits {
    fn of(drill: &Drill, args: &DrillArgs, compression: &Compression) -> Result<Self, Failure> {
        let rules = rules(&files()).map_err(Failure::internal)?;
        let expected = |rule: &&Rule| drill.expects.contains(&rule.name());
        let longest = |time: fn(&Rule, &[Rule]) -> Duration| {
            let times = rules.iter().filter(expected).map(|rule| time(rule, &rules));
            compression.of(times.max().unwrap_or_default())
        };
        let wait = longest(|rule, _| waits(rule));
        let patience = args.patience.map(Duration::from_secs);
        Ok(Self {
            fire: patience.unwrap_or((wait * 2 + SLACK).min(LONGEST)),
            clear: (longest(memory) + SLACK).min(LONGEST),
        })
    }
}

/// What was seen of alerts since the fault began.
#[derive(Default)]
struct Seen {
    fired: BTreeMap<String, Duration>,
    cleared: BTreeMap<String, Duration>,
    others: BTreeSet<String>,
}

/// Does the drill in a sandbox that runs.
pub fn run(drill: &Drill, args: &DrillArgs, sandbox: &mut Sandbox) -> Result<Report, Failure> {
    let limits = Limits::of(drill, args, &compression(args, drill))?;
    let tell = |text: &str| if args.json { Ok(()) } else { output::print(&format!("{text}\n")) };
    tell("waiting for quiet")?;
    until_quiet(drill, sandbox)?;
    let mut seen = Seen::default();
    let begun = Instant::now();
    let ongoing = if args.without_fault {
        tell("injecting nothing")?;
        None
    } else {
        tell(&format!("injecting: {}", drill.injects))?;
        Some(faults::inject(drill.fault, sandbox)?)
    };
    let ongoing = until_fired(drill, sandbox, ongoing, &limits, |active| {
        seen.note(drill, active, begun, &tell)
    })?;
    let lifted = Instant::now();
    if let Some(ongoing) = ongoing {
        tell("lifting the fault")?;
        ongoing.lift(sandbox)?;
    }
    // What has not fired is not waited for to clear.
    let patience = sandbox.patience.clone();
    patience.until(limits.clear, || {
        let firing = active(sandbox)?;
        seen.note(drill, &firing, begun, &tell)?;
        seen.clear(&firing, lifted, &tell)?;
        Ok((seen.cleared.len() == seen.fired.len()).then_some(()))
    })?;
    Ok(seen.report(drill, args))
}

fn active(sandbox: &Sandbox) -> Result<BTreeSet<String>, Failure> {
    Ok(sandbox.prometheus.active()?.firing)
}

/// Both targets are scraped, the watchdog fires, and nothing that is expected is even pending.
fn until_quiet(drill: &Drill, sandbox: &Sandbox) -> Result<(), Failure> {
    let mut since = Instant::now();
    let mut stirring = BTreeSet::new();
    let quiet = sandbox.patience.until(CALM, || {
        let active = sandbox.prometheus.active()?;
        stirring = active.firing.union(&active.pending).cloned().collect();
        let evaluates = active.firing.contains(WATCHDOG);
        let expected = drill.expects.iter().any(|alert| stirring.contains(*alert));
        if !evaluates || expected || sandbox.prometheus.targets_up()? < 2 {
            since = Instant::now();
        }
        Ok((since.elapsed() > QUIET).then_some(()))
    })?;
    quiet.ok_or_else(|| {
        let stirring: Vec<String> = stirring.into_iter().collect();
        Failure::internal(format!("no quiet before the drill: {}", stirring.join(", ")))
    })
}

type Fault = Option<Box<dyn faults::Ongoing>>;

/// Keeps the fault up until every expected alert has fired, or its time is over.
fn until_fired(
    drill: &Drill,
    sandbox: &mut Sandbox,
    mut fault: Fault,
    limits: &Limits,
    mut note: impl FnMut(&BTreeSet<String>) -> Result<usize, Failure>,
) -> Result<Fault, Failure> {
    let patience = sandbox.patience.clone();
    patience.until(limits.fire, || {
        if let Some(fault) = &mut fault {
            fault.keep_up(sandbox)?;
        }
        let fired = note(&active(sandbox)?)?;
        Ok((fired == drill.expects.len()).then_some(()))
    })?;
    Ok(fault)
}

impl Seen {
    /// Takes note of what fires; returns how many of the expected alerts have.
    fn note(
        &mut self,
        drill: &Drill,
        firing: &BTreeSet<String>,
        begun: Instant,
        tell: &impl Fn(&str) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        for alert in firing.iter().filter(|alert| *alert != WATCHDOG) {
            if !drill.expects.contains(&alert.as_str()) {
                self.others.insert(alert.clone());
            } else if !self.fired.contains_key(alert) {
                let after = begun.elapsed();
                tell(&format!("{alert} fires after {:.1} s", after.as_secs_f64()))?;
                self.fired.insert(alert.clone(), after);
            }
        }
        Ok(self.fired.len())
    }

    /// Takes note of what no longer fires since the fault was lifted; one that comes back has not
    /// cleared.
    fn clear(
        &mut self,
        firing: &BTreeSet<String>,
        lifted: Instant,
        tell: &impl Fn(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for alert in self.fired.keys() {
            if firing.contains(alert) {
                self.cleared.remove(alert);
            } else if !self.cleared.contains_key(alert) {
                let after = lifted.elapsed();
                tell(&format!("{alert} clears after {:.1} s", after.as_secs_f64()))?;
                self.cleared.insert(alert.clone(), after);
            }
        }
        Ok(())
    }

    fn report(self, drill: &Drill, args: &DrillArgs) -> Report {
        let seconds = |times: &BTreeMap<String, Duration>, alert: &str| {
            times.get(alert).map(Duration::as_secs_f64)
        };
        let expected = drill.expects.iter().map(|alert| Expected {
            alert: (*alert).to_owned(),
            fired_after_seconds: seconds(&self.fired, alert),
            cleared_after_seconds: seconds(&self.cleared, alert),
        });
        Report {
            drill: drill.name.to_owned(),
            compression: compression(args, drill).factor,
            injected: !args.without_fault,
            expected: expected.collect(),
            others: self.others.into_iter().collect(),
        }
    }
}
