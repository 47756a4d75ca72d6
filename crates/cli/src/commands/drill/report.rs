//! What a drill found, for a person and for a machine.

use crate::failure::Failure;
use crate::output;
use microdiff_kit::{DRILLS, UNDRILLED};
use serde::Serialize;

/// The outcome of a drill.
#[derive(Debug, Serialize)]
pub struct Report {
    pub drill: String,
    /// Times faster that the rules ran; the seconds below are real ones.
    pub compression: u32,
    /// Whether anything was injected.
    pub injected: bool,
    pub expected: Vec<Expected>,
    /// Alerts that fired beside the expected ones.
    pub others: Vec<String>,
}

/// What an expected alert did.
#[derive(Debug, Serialize)]
pub struct Expected {
    pub alert: String,
    /// Since the fault began; absent when it never fired.
    pub fired_after_seconds: Option<f64>,
    /// Since the fault was lifted; absent when it fires to the end.
    pub cleared_after_seconds: Option<f64>,
}

impl Report {
    /// Prints it; any alert that did not fire, or did not clear, is exit code 1.
    pub fn conclude(&self, json: bool) -> Result<(), Failure> {
        if json {
            output::print_json(self)?;
        } else {
            output::print(&self.text())?;
        }
        let faults = self.faults();
        if faults.is_empty() {
            return Ok(());
        }
        Err(Failure::internal(format!("drill {} failed: {}", self.drill, faults.join("; "))))
    }

    fn faults(&self) -> Vec<String> {
        let fault = |expected: &Expected| {
            let alert = &expected.alert;
            match (expected.fired_after_seconds, expected.cleared_after_seconds) {
                (None, _) => Some(format!("{alert} did not fire")),
                (Some(_), None) => Some(format!("{alert} did not clear")),
                _ => None,
            }
        };
        self.expected.iter().filter_map(fault).collect()
    }

    fn text(&self) -> String {
        let seconds = |time: Option<f64>| time.map_or("never".to_owned(), |t| format!("{t:.1} s"));
        let mut text = format!(
            "\n{:<32}{:>12}{:>15}\n",
            format!("drill {}", self.drill),
            "fired after",
            "cleared after"
        );
        for expected in &self.expected {
            text += &format!(
                "{:<32}{:>12}{:>15}\n",
                expected.alert,
                seconds(expected.fired_after_seconds),
                seconds(expected.cleared_after_seconds)
            );
        }
        let others =
            if self.others.is_empty() { "none".to_owned() } else { self.others.join(", ") };
        text + &format!(
            "others that fired: {others}\nrules ran {} times faster\n",
            self.compression
        )
    }
}

/// The table of drills, and of the alerts that have none.
pub fn list(json: bool) -> Result<(), Failure> {
    if json {
        let drills = DRILLS.iter().map(|drill| {
            serde_json::json!({
                "drill": drill.name, "injects": drill.injects, "expects": drill.expects,
            })
        });
        let without = UNDRILLED
            .iter()
            .map(|one| serde_json::json!({ "alert": one.alert, "reason": one.reason }));
        return output::print_json(&serde_json::json!({
            "drills": drills.collect::<Vec<_>>(), "without": without.collect::<Vec<_>>(),
        }));
    }
    let mut text = String::new();
    for drill in DRILLS {
        let (name, injects) = (drill.name, drill.injects);
        text += &format!("{name:<16}{injects}\n{:<16}expects {}\n", "", drill.expects.join(", "));
    }
    text += "\nAlerts without a drill:\n";
    for undrilled in UNDRILLED {
        text += &format!("{:<30}{}\n", undrilled.alert, undrilled.reason);
    }
    output::print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(fired: Option<f64>, cleared: Option<f64>) -> Report {
        let expected = vec![Expected {
            alert: "A".to_owned(),
            fired_after_seconds: fired,
            cleared_after_seconds: cleared,
        }];
        let (drill, others) = ("d".to_owned(), vec!["B".to_owned()]);
        Report { drill, compression: 60, injected: true, expected, others }
    }

    #[test]
    fn only_an_alert_that_fired_and_cleared_is_none_to_report() {
        assert_eq!(report(Some(1.0), Some(2.0)).faults(), Vec::<String>::new());
        assert_eq!(report(None, None).faults(), ["A did not fire"]);
        assert_eq!(report(Some(1.0), None).faults(), ["A did not clear"]);
        let text = report(Some(1.0), None).text();
        assert!(text.contains("1.0 s") && text.contains("never") && text.contains("fired: B"));
    }
}
