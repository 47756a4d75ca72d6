//! What was found, as a table for people and as the document `microdiff.verification/1`.

use super::sent::Sent;
use super::verdict::{Fault, Verdict};
use crate::args::System;
use serde::Serialize;

/// Name and version of the document.
const SCHEMA: &str = "microdiff.verification/1";

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema: &'static str,
    service: String,
    trace_id: Option<String>,
    job_id: Option<String>,
    right: bool,
    checks: Vec<Row>,
}

/// One check of one system; a system that was not asked has one row and no check.
#[derive(Debug, Serialize)]
struct Row {
    system: System,
    check: Option<&'static str>,
    state: State,
    told: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Missing,
    Unreachable,
    NotChecked,
    NotAsked,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Unreachable => "unreachable",
            Self::NotChecked => "not checked",
            Self::NotAsked => "not asked",
        }
    }
}

impl Report {
    pub(super) fn new(service: String, sent: Option<&Sent>) -> Self {
        Self {
            schema: SCHEMA,
            service,
            trace_id: sent.map(Sent::trace_id),
            job_id: sent.map(|sent| sent.job_id.clone()),
            right: true,
            checks: Vec::new(),
        }
    }

    /// Takes the verdicts of one system; `None` when it was not asked.
    pub(super) fn add(&mut self, system: System, verdicts: Option<Vec<(&'static str, Verdict)>>) {
        let Some(verdicts) = verdicts else {
            let (state, told) = (State::NotAsked, "no URL was given".to_owned());
            self.checks.push(Row { system, check: None, state, told, advice: None });
            return;
        };
        for (check, verdict) in verdicts {
            let row = Row::new(system, check, verdict);
            self.right &= row.state == State::Ok;
            self.checks.push(row);
        }
    }

    /// Whose checks were not right; `None` when all were.
    pub(super) fn faults(&self) -> Option<String> {
        if self.right {
            return None;
        }
        let wrong = |row: &&Row| !matches!(row.state, State::Ok | State::NotAsked);
        let mut systems: Vec<&str> =
            self.checks.iter().filter(wrong).map(|row| row.system.name()).collect();
        systems.dedup();
        Some(format!("checks are not right: {}", systems.join(", ")))
    }

    /// The table; each advice once, below the first row that it is for.
    pub(super) fn table(&self) -> String {
        let mut text = format!("design   {}\n", self.job_id.as_deref().unwrap_or("none"));
        text += &format!("trace    {}\n", self.trace_id.as_deref().unwrap_or("none"));
        text += &format!("service  {}\n\n", self.service);
        let mut given: Option<&str> = None;
        for row in &self.checks {
            let (system, check) = (row.system.name(), row.check.unwrap_or("-"));
            let told = harmless(&row.told);
            text += &format!("{system:<13}  {check:<13}  {:<11}  {told}\n", row.state.word());
            if let Some(advice) = row.advice.as_deref().filter(|advice| given != Some(*advice)) {
                text += &format!("{:>15}to fix: {}\n", "", harmless(advice));
                given = Some(advice);
            }
        }
        text
    }
}

impl Row {
    fn new(system: System, check: &'static str, verdict: Verdict) -> Self {
        let (state, told, advice) = match verdict {
            Verdict::Right(told) => (State::Ok, told, None),
            Verdict::NotChecked(told) => (State::NotChecked, told, None),
            Verdict::Awaited(Fault { told, advice }) | Verdict::Wrong(Fault { told, advice }) => {
                (State::Missing, told, Some(advice))
            }
            Verdict::Unreachable(Fault { told, advice }) => {
                (State::Unreachable, told, Some(advice))
            }
        };
        Self { system, check: Some(check), state, told, advice }
    }
}

/// Without what another system's words might do to a terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Verdict {
        Verdict::Unreachable(Fault { told: "refused".into(), advice: "start it".into() })
    }

    #[test]
    fn a_table_has_a_row_for_each_check_and_each_advice_once() {
        let mut report = Report::new("http://s".into(), None);
        report
            .add(System::Service, Some(vec![("design", Verdict::Right("an\u{1b}swered".into()))]));
        assert_eq!(report.faults(), None);
        report.add(System::Jaeger, None);
        assert_eq!(report.faults(), None, "what was not asked is not wrong");
        report.add(System::Prometheus, Some(vec![("targets", silent()), ("rules", silent())]));
        let table = report.table();
        assert_eq!(table.matches("to fix: start it").count(), 1, "{table}");
        assert_eq!(table.lines().filter(|line| line.contains("unreachable")).count(), 2);
        assert!(table.contains("an swered") && table.contains("not asked"), "{table}");
        assert_eq!(report.faults().as_deref(), Some("checks are not right: prometheus"));
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["checks"][2]["state"], "unreachable");
        assert_eq!(json["right"], false);
    }

    #[test]
    fn what_could_not_be_checked_is_not_right() {
        let mut report = Report::new("http://s".into(), None);
        report.add(System::Jaeger, Some(vec![("trace", Verdict::NotChecked("no design".into()))]));
        assert!(report.faults().is_some());
    }
}
