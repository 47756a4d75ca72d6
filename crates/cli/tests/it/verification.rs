//! Running `microdiff observability verify` and reading its document.

use crate::binary::microdiff;
use crate::service::Service;
use serde_json::Value;
use std::process::{Command, Output};

/// The command with JSON asked for, for a service's own address.
pub fn command(service: &Service, timeout: &str, more: &[&str]) -> Command {
    let api = service.ready["api"].as_str().expect("an address");
    let mut command = microdiff();
    command.args(["observability", "verify", "--json", "--timeout", timeout]);
    command.args(["--service", &format!("http://{api}")]).args(more);
    command
}

pub fn verify(service: &Service, timeout: &str, more: &[&str]) -> Output {
    command(service, timeout, more).output().expect("the binary starts")
}

/// What it found.
#[derive(Debug)]
pub struct Rows(Vec<Value>);

/// Reads the document; the exit code must be that of its faults.
pub fn rows(output: Output) -> Rows {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let document: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"));
    assert_eq!(document["schema"], "microdiff.verification/1");
    let rows = Rows(document["checks"].as_array().expect("checks").clone());
    let right = rows.faults().is_empty();
    assert_eq!(document["right"], right, "{document:#}");
    assert_eq!(output.status.code(), Some(i32::from(!right)), "{told}");
    rows
}

impl Rows {
    /// Systems and checks that are not right, with those that were not asked left out.
    pub fn faults(&self) -> Vec<String> {
        let wrong = |row: &&Value| row["state"] != "ok" && row["state"] != "not_asked";
        let name = |row: &Value| {
            let part = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            format!("{} {}", part("system"), part("check"))
        };
        self.0.iter().filter(wrong).map(name).collect()
    }

    /// State of a check, by its system; of a system that was not asked without a check.
    pub fn state(&self, system: &str, check: &str) -> &str {
        let is = |row: &&Value| {
            row["system"] == system && row["check"].as_str().unwrap_or_default() == check
        };
        let row = self.0.iter().find(is);
        row.unwrap_or_else(|| panic!("no {system} {check}: {self:#?}"))["state"]
            .as_str()
            .expect("a state")
    }

    pub fn told(&self, check: &str) -> &str {
        self.text(check, "told")
    }

    pub fn advice(&self, check: &str) -> &str {
        self.text(check, "advice")
    }

    fn text(&self, check: &str, key: &str) -> &str {
        let row = self.0.iter().find(|row| row["check"] == check);
        row.and_then(|row| row[key].as_str())
            .unwrap_or_else(|| panic!("no {key} of {check}: {self:#?}"))
    }
}
