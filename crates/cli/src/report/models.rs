//! What `microdiff models` prints for people.

use super::mark;
use crate::commands::models::{Entry, Outcome, Verdict};
use microdiff_design::BASIS;
use microdiff_diffusion::Manifest;
use microdiff_diffusion::table::{TableManifest, Transform};
use std::fmt::Write;

/// A line for each model.
pub fn list(entries: &[Entry]) -> String {
    let mut text =
        format!("{:<24} {:<7} {:>9}  {:<12}  {}\n", "model", "for", "rows", "digest", "where");
    for entry in entries {
        let rows = entry.rows.map_or("-".to_owned(), |rows| rows.to_string());
        let digest = entry.digest.as_deref().and_then(|digest| digest.get(..12)).unwrap_or("-");
        let place =
            entry.directory.as_ref().map_or("built in".into(), |path| path.display().to_string());
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<24} {:<7} {rows:>9}  {digest:<12}  {place}",
            entry.name,
            entry.answers_for.unwrap_or("-"),
        );
        if let Some(problem) = &entry.problem {
            let _ = writeln!(text, "  cannot be used: {problem}");
        }
    }
    text
}

/// What a model of scans was made of and how good it is.
pub fn scans(manifest: &Manifest, digest: &str) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    let training = &manifest.training;
    row("model", format!("{} ({})", manifest.name, manifest.model_type));
    row("digest", digest.to_owned());
    row("format", manifest.format.clone());
    row(
        "trained on",
        format!(
            "{} simulations of {}, {} more to choose the weights",
            training.rows, training.simulator_version, training.validation_rows
        ),
    );
    row(
        "training",
        format!(
            "{} steps, step {} kept at held-out loss {:.4}, seed {}",
            training.steps, training.best_step, training.validation_loss, training.seed
        ),
    );
    row("log", training.log_sha256.clone());
    row("descriptors", manifest.descriptors.len().to_string());
    for prior in &manifest.alloys {
        let ranges: Vec<String> = prior
            .ranges
            .iter()
            .map(|(name, range)| format!("{name} {}..{}", range.low, range.high))
            .collect();
        let pair = format!("{} {}{}", prior.process, prior.alloy, mark(prior.process));
        row("prior", format!("{pair}: {}", ranges.join(", ")));
    }
    match &manifest.evaluation {
        Some(evaluation) => {
            let coverage: Vec<f64> = evaluation.marginals.iter().map(|m| m.coverage_90).collect();
            let least = coverage.iter().copied().fold(f64::INFINITY, f64::min);
            let most = coverage.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row(
                "evaluated",
                format!(
                    "{} held-out simulations; 90 % intervals cover {:.1} to {:.1} % by parameter, regime \
                 and what is given; `microdiff evaluate` has the table",
                    evaluation.rows,
                    100.0 * least,
                    100.0 * most
                ),
            );
        }
        None => row("evaluated", "never".to_owned()),
    }
    text + BASIS + "\n"
}

/// What a model of a table was made of.
pub fn table(manifest: &TableManifest, digest: &str) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    let training = &manifest.training;
    row("model", "of a table of experiments".to_owned());
    row("digest", digest.to_owned());
    row("format", manifest.format.clone());
    for column in &manifest.parameters {
        row("parameter", format!("{}: {}", printable(&column.name), prior(&column.transform)));
    }
    for column in &manifest.observables {
        row("observable", format!("{} {}..{}", printable(&column.name), column.low, column.high));
    }
    row(
        "trained on",
        format!(
            "{} rows, {} more to choose the weights; the emulator's draws {}",
            training.rows,
            training.held_out_rows,
            if training.emulator { "as well" } else { "not used" }
        ),
    );
    row(
        "training",
        format!(
            "{} networks of {} steps, seed {}",
            manifest.members, training.steps, training.seed
        ),
    );
    text + "Its draws are as good as the rows it learnt from; it records no known answer.\n"
}

/// A name from a file, without what would end the line or act on a terminal.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}

fn prior(transform: &Transform) -> String {
    let (text, declared) = match transform {
        Transform::Box { low, high, declared } => (format!("uniform {low}..{high}"), *declared),
        Transform::Scale { mean, sd, declared } => (format!("mean {mean}, sd {sd}"), *declared),
        Transform::Scores { .. } => ("the rows' own distribution".to_owned(), false),
    };
    text + if declared { ", as declared" } else { ", from the rows" }
}

/// A block for each model that was held to what it says.
pub fn verdicts(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    for verdict in verdicts {
        let _ = writeln!(text, "{}", verdict.model);
        for check in &verdict.checks {
            let outcome = match check.outcome {
                Outcome::Right => "ok",
                Outcome::Absent => "--",
                Outcome::Wrong => "WRONG",
            };
            let _ = writeln!(text, "  {outcome:<6} {:<15} {}", check.name, check.detail);
        }
    }
    text
}
