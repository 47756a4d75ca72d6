//! The readable outcome of `microdiff evaluate`, as Markdown.

use microdiff_design::foreign::{Counts, Trial};
use microdiff_design::{BASIS, ModelSummary};
use microdiff_diffusion::evaluate::{Comparison, Evaluation, Marginal};
use microdiff_domain::{Parameter, Process};
use std::fmt::{Result, Write};

/// Renders a table for each set of given values, and one of the tests of calibration.
pub fn render(evaluation: &Evaluation, model: &ModelSummary) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_head(&mut text, evaluation, model);
    for marginals in evaluation.marginals.chunk_by(|a, b| a.given == b.given) {
        let _ = write_marginals(&mut text, marginals);
    }
    let _ = write_calibration(&mut text, evaluation);
    let _ = write_tail(&mut text, evaluation);
    text
}

/// Renders the model beside the prior and the nearest simulations.
pub fn render_comparison(comparison: &Comparison) -> String {
    let mut text = String::new();
    let _ = write_comparison(&mut text, comparison);
    text
}

/// Renders what became of foreign scans, as a Markdown table.
pub fn render_foreign(trial: &Trial, model: &ModelSummary) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_foreign(&mut text, trial, model);
    text
}

fn write_foreign(text: &mut String, trial: &Trial, model: &ModelSummary) -> Result {
    let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    writeln!(
        text,
        "Model {} ({}), scans of simulator {}.\n{BASIS}\n",
        model.name, model.digest, model.simulator_version
    )?;
    writeln!(text, "| scans | shown | number | flagged | refused | caught |")?;
    writeln!(text, "|---|---|---:|---:|---:|---:|")?;
    let Trial { ordinary, false_alarms, outcomes } = trial;
    let alarms = percent(*false_alarms, *ordinary);
    writeln!(text, "| ordinary | | {ordinary} | {false_alarms} | | {alarms:.1} % |")?;
    for outcome in outcomes {
        let shown = if outcome.shown { "others" } else { "never" };
        let mut line = |name: &str, shown: &str, counts: Counts| {
            let Counts { scans, flagged, refused } = counts;
            let caught = percent(flagged + refused, scans);
            writeln!(text, "| {name} | {shown} | {scans} | {flagged} | {refused} | {caught:.1} % |")
        };
        line(outcome.kind.name(), shown, outcome.all)?;
        for part in &outcome.subsets {
            line(&format!("– of them {}", part.subset.name()), "", part.counts)?;
        }
    }
    writeln!(
        text,
        "\nShown: whether the check learnt from other scans of the kind. Flagged: as out of\n\
         distribution. Refused: by the analysis, with an error. Of ordinary scans at most 5 % may\n\
         be caught."
    )
}

fn write_head(text: &mut String, evaluation: &Evaluation, model: &ModelSummary) -> Result {
    writeln!(
        text,
        "Model {} ({}), {} held-out simulations of simulator {}, {} draws each.\n{BASIS}",
        model.name, model.digest, evaluation.rows, model.simulator_version, evaluation.samples
    )
}

/// Figures of electron beams and directed energy rest on no measurement at all.
fn shown(process: Process) -> String {
    if process.is_validated() { process.to_string() } else { format!("{process}, *unvalidated*") }
}

fn given(names: &[String]) -> String {
    let names = names.join(", ").replace('_', " ");
    if names.is_empty() { "nothing".to_owned() } else { names }
}

/// One line for each process and regime, one cell for each parameter.
fn write_marginals(text: &mut String, marginals: &[Marginal]) -> Result {
    let Some(first) = marginals.first() else { return Ok(()) };
    writeln!(text, "\nGiven {}:\n", given(&first.given))?;
    write!(text, "| process | regime | scans |")?;
    for p in Parameter::ALL {
        write!(text, " {} |", p.name().replace('_', " "))?;
    }
    writeln!(text, "\n|---|---|---:|{}", "---:|".repeat(Parameter::ALL.len()))?;
    let same = |a: &Marginal, b: &Marginal| (a.process, &a.regime) == (b.process, &b.regime);
    for line in marginals.chunk_by(same) {
        let Marginal { process, regime, rows, .. } = &line[0];
        write!(text, "| {} | {} | {rows} |", shown(*process), regime.replace('_', " "))?;
        for p in Parameter::ALL {
            match line.iter().find(|marginal| marginal.parameter == p.name()) {
                Some(marginal) => write!(text, " {} |", cell(marginal))?,
                None => write!(text, " given |")?,
            }
        }
        writeln!(text)?;
    }
    Ok(())
}

fn cell(marginal: &Marginal) -> String {
    format!(
        "{:.3}; {:.0}, **{:.1} %**; {:.2}",
        marginal.skill,
        100.0 * marginal.coverage_50,
        100.0 * marginal.coverage_90,
        marginal.relative_width
    )
}

fn write_calibration(text: &mut String, evaluation: &Evaluation) -> Result {
    writeln!(text, "\nCalibration, all regimes together:\n")?;
    write!(text, "| given | process | scans |")?;
    for p in Parameter::ALL {
        write!(text, " {} |", p.name().replace('_', " "))?;
    }
    writeln!(text, " TARP |\n|---|---|---:|{}", "---:|".repeat(Parameter::ALL.len() + 1))?;
    for test in &evaluation.calibration {
        let (process, rows) = (shown(test.process), test.tarp.count);
        write!(text, "| {} | {process} | {rows} |", given(&test.given))?;
        for p in Parameter::ALL {
            match test.ranks.get(p.name()) {
                Some(ranks) => write!(text, " {:.3} |", ranks.p_value)?,
                None => write!(text, " given |")?,
            }
        }
        writeln!(text, " {:.3} of {:.3} |", test.tarp.deviation, test.tarp.limit())?;
    }
    Ok(())
}

fn write_tail(text: &mut String, evaluation: &Evaluation) -> Result {
    writeln!(
        text,
        "\nA cell of the first tables: skill, that is 1 - CRPS over the prior's CRPS (0 is no better\n\
         than the prior); how many of the true values the 50 % interval covers, and the **90 %**\n\
         interval; mean width of the 90 % interval over the prior's. A cell of the last: p-value of\n\
         the ranks of the true values among the draws (simulation-based calibration); TARP: largest\n\
         distance of coverage from credibility, and what 1 of 20 calibrated models exceeds.\n\n\
         Defect class: accuracy {:.1} %, log loss {:.3}. Flagged as out of distribution: {:.1} %\n\
         of these ordinary scans.",
        100.0 * evaluation.classifier.accuracy,
        evaluation.classifier.log_loss,
        100.0 * evaluation.false_alarm_rate
    )
}

fn write_comparison(text: &mut String, comparison: &Comparison) -> Result {
    writeln!(
        text,
        "\nMean CRPS, in the position within the prior's range (0 is exact), beside the prior and the\n\
         nearest {} of the same {} simulations (the number of neighbours that does best here):\n",
        comparison.neighbours, comparison.simulations
    )?;
    writeln!(text, "| process | regime | parameter | scans | prior | nearest | **model** |")?;
    writeln!(text, "|---|---|---|---:|---:|---:|---:|")?;
    for score in &comparison.scores {
        writeln!(
            text,
            "| {} | {} | {} | {} | {:.4} | {:.4} | **{:.4}** |",
            shown(score.process),
            score.regime.replace('_', " "),
            score.parameter.replace('_', " "),
            score.rows,
            score.prior,
            score.nearest,
            score.posterior
        )?;
    }
    Ok(())
}
