use std::time::Duration;

use serde_json::{Map, Value, json};

use super::ring::Tally;

/// The spans over which burn rates are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BurnWindow {
    /// Five minutes.
    FiveMinutes,
    /// Half an hour.
    HalfHour,
    /// One hour.
    Hour,
    /// Six hours.
    SixHours,
    /// Three days.
    ThreeDays,
}

impl BurnWindow {
    /// Every span, shortest first.
    pub const ALL: [Self; 5] =
        [Self::FiveMinutes, Self::HalfHour, Self::Hour, Self::SixHours, Self::ThreeDays];
    pub(super) const LONGEST: Self = Self::ThreeDays;

    /// Its name in reports and in the label `window`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::HalfHour => "30m",
            Self::Hour => "1h",
            Self::SixHours => "6h",
            Self::ThreeDays => "3d",
        }
    }

    /// Its length.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        match self {
            Self::FiveMinutes => 300,
            Self::HalfHour => 1800,
            Self::Hour => 3600,
            Self::SixHours => 6 * 3600,
            Self::ThreeDays => 3 * 86_400,
        }
    }

    pub(super) fn of(self, tally: Tally, target: f64) -> Burn {
        Burn { window: self, tally, rate: bad_share(tally) / (1.0 - target) }
    }
}

/// How fast the budget was spent over one span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burn {
    /// The span.
    pub window: BurnWindow,
    /// The events in it.
    pub tally: Tally,
    /// The share of bad events over the share that the target allows; 0 without events.
    pub rate: f64,
}

/// How one objective stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectiveReport {
    /// Its name.
    pub name: &'static str,
    /// What counts as bad.
    pub definition: String,
    /// The promised share of good events.
    pub target: f64,
    /// The window of the budget.
    pub window: Duration,
    /// The events of the window.
    pub tally: Tally,
    /// Burn rates, in the order of [`BurnWindow::ALL`].
    pub burns: [Burn; BurnWindow::ALL.len()],
}

impl ObjectiveReport {
    /// The share of good events in the window; `None` without events.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        (self.tally.total > 0).then(|| 1.0 - bad_share(self.tally))
    }

    /// The share of the budget that is left: 1 untouched, 0 spent, below 0 overspent.
    #[must_use]
    pub fn budget_remaining(&self) -> f64 {
        1.0 - bad_share(self.tally) / (1.0 - self.target)
    }

    /// Seconds until the budget is spent if the burn rate of the last hour goes on and nothing bad
    /// leaves the window meanwhile: the earliest moment, not the likely one. `None` while nothing
    /// burns; 0 when it is spent.
    #[must_use]
    pub fn exhausted_in_seconds(&self) -> Option<f64> {
        let hour = self.burns.iter().find(|burn| burn.window == BurnWindow::Hour)?;
        let seconds = self.budget_remaining().max(0.0) * self.window.as_secs_f64() / hour.rate;
        (hour.rate > 0.0).then_some(seconds)
    }

    /// Whether one bad event alone spends the whole budget, so that the figures say little.
    #[must_use]
    pub fn is_low_traffic(&self) -> bool {
        (self.tally.total as f64) < self.events_for_one_bad()
    }

    /// The report as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let burns: Map<String, Value> = self
            .burns
            .iter()
            .map(|burn| {
                let Tally { total, bad } = burn.tally;
                let told = json!({ "rate": burn.rate, "total": total, "bad": bad });
                (burn.window.name().to_owned(), told)
            })
            .collect();
        let note = self.is_low_traffic().then(|| {
            let needed = self.events_for_one_bad().ceil();
            format!("fewer than {needed} events in the window: one bad event spends the budget")
        });
        json!({
            "objective": self.name,
            "definition": self.definition,
            "target": self.target,
            "window_seconds": self.window.as_secs(),
            "total": self.tally.total,
            "bad": self.tally.bad,
            "ratio": self.ratio(),
            "error_budget_remaining_ratio": self.budget_remaining(),
            "burn_rate": burns,
            "exhausted_in_seconds": self.exhausted_in_seconds(),
            "low_traffic": self.is_low_traffic(),
            "note": note,
        })
    }

    fn events_for_one_bad(&self) -> f64 {
        1.0 / (1.0 - self.target)
    }
}

fn bad_share(tally: Tally) -> f64 {
    if tally.total == 0 { 0.0 } else { tally.bad as f64 / tally.total as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(total: u64, bad: u64, hour: Tally) -> ObjectiveReport {
        ObjectiveReport {
            name: "availability",
            definition: String::new(),
            target: 0.99,
            window: Duration::from_secs(28 * 86_400),
            tally: Tally { total, bad },
            burns: BurnWindow::ALL.map(|window| window.of(hour, 0.99)),
        }
    }

    #[test]
    fn figures_that_can_be_worked_out_by_hand() {
        // 10,000 events allow 100 bad ones; 25 have happened, and 2 % of the last hour's.
        let report = report(10_000, 25, Tally { total: 100, bad: 2 });
        assert_eq!(report.ratio(), Some(0.9975));
        assert!((report.budget_remaining() - 0.75).abs() < 1e-12);
        assert!((report.burns[2].rate - 2.0).abs() < 1e-12);
        let days = report.exhausted_in_seconds().unwrap() / 86_400.0;
        assert!((days - 0.75 * 28.0 / 2.0).abs() < 1e-9, "{days}");
        assert!(!report.is_low_traffic());
    }

    #[test]
    fn without_events_nothing_is_spent_and_nothing_is_claimed() {
        let report = report(0, 0, Tally::default());
        assert_eq!((report.ratio(), report.budget_remaining()), (None, 1.0));
        assert_eq!(report.exhausted_in_seconds(), None);
        assert!(report.is_low_traffic());
        assert_eq!(report.json()["ratio"], Value::Null);
        assert_eq!(report.json()["burn_rate"]["5m"]["rate"], 0.0);
    }

    #[test]
    fn a_spent_budget_is_exhausted_now() {
        let report = report(1000, 20, Tally { total: 10, bad: 1 });
        assert!(report.budget_remaining() < 0.0);
        assert_eq!(report.exhausted_in_seconds(), Some(0.0));
    }
}
