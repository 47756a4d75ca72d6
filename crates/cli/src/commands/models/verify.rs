//! `microdiff models verify`: one line for each thing a bundle can be held to.

use super::{Opened, open};
use crate::args::ModelsVerifyArgs;
use crate::failure::Failure;
use crate::{output, report};
use microdiff_design::Designer;
use microdiff_diffusion::bundle::TRAINING_LOG;
use serde::Serialize;
use std::io::ErrorKind;
use std::path::Path;

/// What was found of one model.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// Its directory, or `built in`.
    pub model: String,
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub outcome: Outcome,
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Right,
    /// There is nothing to hold the model to; what it says elsewhere stands unproven.
    Absent,
    Wrong,
}

impl Check {
    fn new(name: &'static str, outcome: Outcome, detail: impl ToString) -> Self {
        Self { name, outcome, detail: detail.to_string() }
    }

    fn of(name: &'static str, right: bool, detail: impl ToString) -> Self {
        Self::new(name, if right { Outcome::Right } else { Outcome::Wrong }, detail)
    }
}

pub fn run(args: &ModelsVerifyArgs) -> Result<(), Failure> {
    if args.digest.is_some() && args.models.len() > 1 {
        return Err(Failure::usage("--digest is of one model; name one"));
    }
    let mut verdicts = Vec::new();
    if args.models.is_empty() {
        verdicts.push(verdict(None, args.digest.as_deref()));
    }
    for directory in &args.models {
        verdicts.push(verdict(Some(directory), args.digest.as_deref()));
    }
    if args.json {
        output::print_json(&verdicts)?;
    } else {
        output::print(&report::models::verdicts(&verdicts))?;
    }
    let wrong =
        |verdict: &&Verdict| verdict.checks.iter().any(|check| check.outcome == Outcome::Wrong);
    match verdicts.iter().filter(wrong).count() {
        0 => Ok(()),
        count => Err(Failure::data(format!("models not to be trusted: {count}"))),
    }
}

fn verdict(directory: Option<&Path>, digest: Option<&str>) -> Verdict {
    let model = directory.map_or("built in".to_owned(), |path| path.display().to_string());
    let mut checks = Vec::new();
    match open(directory) {
        Err(failure) => checks.push(Check::new("bundle", Outcome::Wrong, failure)),
        Ok(Opened::Scans(designer)) => {
            let found = designer.model().digest;
            checks.push(Check::new("bundle", Outcome::Right, "manifest and weights fit"));
            checks.extend(digest.map(|published| named(published, &found)));
            checks.push(training_log(&designer, directory));
            checks.push(canary(&designer));
            checks.push(validation(&designer));
        }
        Ok(Opened::Table { digest: found, .. }) => {
            checks.push(Check::new("bundle", Outcome::Right, "manifest and weights fit"));
            checks.extend(digest.map(|published| named(published, &found)));
            let told = "models of a table record no known answer";
            checks.push(Check::new("canary", Outcome::Absent, told));
        }
    }
    Verdict { model, checks }
}

/// Whether the model is the one whose digest was published.
fn named(published: &str, found: &str) -> Check {
    Check::of("digest", published.eq_ignore_ascii_case(found), format!("it is {found}"))
}

/// Whether the log beside the model is that of its training.
fn training_log(designer: &Designer, directory: Option<&Path>) -> Check {
    let name = "training log";
    let Some(directory) = directory else {
        return Check::new(name, Outcome::Absent, "it lies beside the source, not in the binary");
    };
    match std::fs::read(directory.join(TRAINING_LOG)) {
        Ok(log) => {
            let right = designer.manifest().training.is_log(&log);
            let told = if right { "has" } else { "does not have" };
            Check::of(name, right, format!("{TRAINING_LOG} {told} the manifest's SHA-256"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Check::new(name, Outcome::Absent, format!("no {TRAINING_LOG} there"))
        }
        Err(error) => Check::new(name, Outcome::Wrong, format!("{TRAINING_LOG}: {error}")),
    }
}

/// Whether the model still gives the answer it gave when it was made.
fn canary(designer: &Designer) -> Check {
    let name = "canary";
    match designer.canary() {
        Ok(report) => {
            let (difference, tolerance) = (report.difference, report.tolerance);
            let told = format!(
                "its answer moved by {difference:.5} of the prior's range, {tolerance} accepted"
            );
            Check::of(name, report.matched, told)
        }
        Err(error) => Check::new(name, Outcome::Wrong, error),
    }
}

/// Whether the held-out scans beside the model are those it was scored on.
fn validation(designer: &Designer) -> Check {
    let name = "validation set";
    match designer.validation() {
        Ok(set) => {
            let told =
                format!("{} held-out simulations of {}", set.cases(), set.simulator_version());
            Check::new(name, Outcome::Right, told)
        }
        Err(error) => Check::new(name, Outcome::Wrong, error),
    }
}
