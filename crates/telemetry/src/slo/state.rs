use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::report::{BurnWindow, ObjectiveReport};
use super::ring::{Ring, Tally};
use crate::builtin;
use crate::metrics::Registry;

/// Tells the time since 1970 UTC.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The wall clock as it was when this was called, going on at the pace of the monotonic one: a step
/// of the wall clock neither loses nor repeats a bucket.
#[must_use]
pub fn steady_clock() -> Clock {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let started = Instant::now();
    Arc::new(move || wall + started.elapsed())
}

/// Width of the fine buckets, seconds, and how far back they reach: the longest burn window that is
/// read from them.
pub(super) const FINE: (u64, u64) = (60, 6 * 3600);
/// Width of the coarse buckets, seconds.
pub(super) const COARSE: u64 = 300;

/// One objective: what share of events is to be good.
pub struct ObjectiveOptions {
    /// Its name in reports and in the label `objective`.
    pub name: &'static str,
    /// What counts as bad, in words. Saved counts of another definition are not taken over.
    pub definition: String,
    /// The share of good events that is promised, above 0 and below 1.
    pub target: f64,
    /// Totals counted elsewhere, to be read once a second; none for events that come by
    /// [`Meter::record`]. They may only grow.
    pub totals: Option<Totals>,
}

type Totals = Box<dyn Fn() -> Tally + Send + Sync>;

/// What to keep.
pub struct SloOptions {
    /// The window the budgets are for; at least three days are kept, for the longest burn rate.
    pub window: Duration,
    /// The objectives.
    pub objectives: Vec<ObjectiveOptions>,
    /// Tells the time; [`steady_clock`] but for tests.
    pub clock: Clock,
}

/// The objectives of a service. Cheap to clone; clones are the same state.
#[derive(Clone)]
pub struct Slo {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) window: u64,
    pub(super) clock: Clock,
    pub(super) objectives: Vec<Objective>,
}

pub(super) struct Objective {
    pub(super) options: ObjectiveOptions,
    meter: Meter,
    history: Mutex<History>,
}

pub(super) struct History {
    pub(super) fine: Ring,
    pub(super) coarse: Ring,
    /// The newest moment seen; time never goes back behind it.
    pub(super) latest: u64,
    /// The totals as they were read last.
    read: Tally,
}

/// Counts the events of one objective. Cheap to clone; clones count together.
#[derive(Clone, Default)]
pub struct Meter {
    pending: Arc<[AtomicU64; 2]>,
}

impl Meter {
    /// Counts one event.
    #[inline]
    pub fn record(&self, bad: bool) {
        let [total, missed] = &*self.pending;
        total.fetch_add(1, Ordering::Relaxed);
        if bad {
            // Whoever sees this addition sees the one above it, so bad never exceeds total.
            missed.fetch_add(1, Ordering::Release);
        }
    }

    fn take(&self) -> Tally {
        let [total, missed] = &*self.pending;
        let bad = missed.swap(0, Ordering::Acquire);
        Tally { total: total.swap(0, Ordering::Relaxed), bad }
    }
}

impl Slo {
    /// Begins to keep the objectives; nothing has happened yet.
    #[must_use]
    pub fn new(options: SloOptions) -> Self {
        let window = options.window.as_secs().max(1);
        let kept = window.max(BurnWindow::LONGEST.seconds());
        let objectives = options.objectives.into_iter().map(|options| {
            let read = options.totals.as_ref().map_or(Tally::default(), |totals| totals());
            let history = History {
                fine: Ring::new(FINE.0, FINE.1),
                coarse: Ring::new(COARSE, kept),
                latest: 0,
                read,
            };
            Objective { options, meter: Meter::default(), history: Mutex::new(history) }
        });
        let objectives = objectives.collect();
        Self { inner: Arc::new(Inner { window, clock: options.clock, objectives }) }
    }

    /// What counts the events of an objective; `None` if there is none of this name.
    #[must_use]
    pub fn meter(&self, objective: &str) -> Option<Meter> {
        let found = self.inner.objectives.iter().find(|held| held.options.name == objective)?;
        Some(found.meter.clone())
    }

    /// Puts what was counted since the last call into the bucket of now. Call it every second.
    pub fn advance(&self) {
        let now = (self.inner.clock)().as_secs();
        for objective in &self.inner.objectives {
            objective.advance(now);
        }
    }

    /// How each objective stands now.
    #[must_use]
    pub fn report(&self) -> Vec<ObjectiveReport> {
        self.advance();
        let report = |objective: &Objective| objective.report(self.inner.window);
        self.inner.objectives.iter().map(report).collect()
    }

    /// Shows the state as gauges of `registry`, read at each scrape.
    pub fn show(&self, registry: &Registry) {
        let row = |spec: crate::metrics::MetricSpec| spec.prefixed(registry.prefix());
        let [ratio, budget, burn] =
            [builtin::SLO_RATIO, builtin::SLO_BUDGET, builtin::SLO_BURN].map(row);
        let gauges: Vec<_> = self
            .inner
            .objectives
            .iter()
            .map(|objective| {
                let name = objective.options.name;
                let burns =
                    BurnWindow::ALL.map(|window| registry.gauge(&burn, &[name, window.name()]));
                (registry.gauge(&ratio, &[name]), registry.gauge(&budget, &[name]), burns)
            })
            .collect();
        let slo = self.clone();
        registry.on_scrape(move || {
            for (report, (ratio, budget, burns)) in slo.report().iter().zip(&gauges) {
                match report.ratio() {
                    Some(share) => ratio.set(share),
                    None => ratio.clear(),
                }
                budget.set(report.budget_remaining());
                for (gauge, burn) in burns.iter().zip(&report.burns) {
                    gauge.set(burn.rate);
                }
            }
        });
    }
}

impl Objective {
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, now: u64) {
        let mut history = self.history();
        let mut tally = self.meter.take();
        if let Some(totals) = &self.options.totals {
            let totals = totals();
            let read = std::mem::replace(&mut history.read, totals);
            let total = totals.total.saturating_sub(read.total);
            // Two totals that are read one after the other may be out of step by a few events.
            tally += Tally { total, bad: totals.bad.saturating_sub(read.bad).min(total) };
        }
        history.latest = history.latest.max(now);
        let now = history.latest;
        history.fine.add(now, tally);
        history.coarse.add(now, tally);
    }

    fn report(&self, window: u64) -> ObjectiveReport {
        let history = self.history();
        let now = history.latest;
        let burns = BurnWindow::ALL.map(|burn| {
            let ring = if burn.seconds() <= FINE.1 { &history.fine } else { &history.coarse };
            burn.of(ring.sum(now, burn.seconds()), self.options.target)
        });
        ObjectiveReport {
            name: self.options.name,
            definition: self.options.definition.clone(),
            target: self.options.target,
            window: Duration::from_secs(window),
            tally: history.coarse.sum(now, window),
            burns,
        }
    }
}
