//! The readable outcome of `microdiff evaluate`.

use microdiff_design::foreign::{Outcome, Trial};
use microdiff_design::{BASIS, ModelSummary};
use microdiff_diffusion::evaluate::Evaluation;
use std::fmt::Write;

/// Renders one table for each set of given parameters, as Markdown.
pub fn render(evaluation: &Evaluation, model: &ModelSummary) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_tables(&mut text, evaluation, model);
    text
}

/// Renders what became of foreign scans, as a Markdown table.
pub fn render_foreign(trial: &Trial, model: &ModelSummary) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_foreign(&mut text, trial, model);
    text
}

fn write_foreign(text: &mut String, trial: &Trial, model: &ModelSummary) -> std::fmt::Result {
    let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    writeln!(
        text,
        "Model {} ({}), scans of simulator {}.\n{BASIS}\n",
        model.name, model.digest, model.simulator_version
    )?;
    writeln!(text, "| scans | number | flagged | refused | caught |")?;
    writeln!(text, "|---|---:|---:|---:|---:|")?;
    let Trial { ordinary, false_alarms, outcomes } = trial;
    let alarms = percent(*false_alarms, *ordinary);
    writeln!(text, "| ordinary | {ordinary} | {false_alarms} | | {alarms:.1} % |")?;
    for outcome in outcomes {
        let Outcome { kind, scans, flagged, refused } = outcome;
        let caught = percent(flagged + refused, *scans);
        writeln!(text, "| {} | {scans} | {flagged} | {refused} | {caught:.1} % |", kind.name())?;
    }
    writeln!(
        text,
        "\nFlagged: as out of distribution. Refused: by the analysis, with an error. Of ordinary\n\
         scans at most 5 % may be caught."
    )
}

fn write_tables(
    text: &mut String,
    evaluation: &Evaluation,
    model: &ModelSummary,
) -> std::fmt::Result {
    writeln!(
        text,
        "Model {} ({}), {} held-out simulations of simulator {}, {} draws each.\n{BASIS}",
        model.name, model.digest, evaluation.rows, model.simulator_version, evaluation.samples
    )?;
    let mut given: Option<&[String]> = None;
    for marginal in &evaluation.marginals {
        if given != Some(&marginal.given) {
            given = Some(&marginal.given);
            let names = marginal.given.join(", ").replace('_', " ");
            let names = if names.is_empty() { "nothing".to_owned() } else { names };
            writeln!(text, "\nGiven {names}:\n")?;
            writeln!(
                text,
                "| regime | parameter | scans | skill | error | 50 % covers | 90 % covers | width |"
            )?;
            writeln!(text, "|---|---|---:|---:|---:|---:|---:|---:|")?;
        }
        writeln!(
            text,
            "| {} | {} | {} | {:.3} | {:.3} | {:.1} % | {:.1} % | {:.2} |",
            marginal.regime.replace('_', " "),
            marginal.parameter.replace('_', " "),
            marginal.rows,
            marginal.skill,
            marginal.mean_absolute_error,
            100.0 * marginal.coverage_50,
            100.0 * marginal.coverage_90,
            marginal.relative_width
        )?;
    }
    writeln!(
        text,
        "\nSkill: 1 - CRPS over the prior's CRPS; 0 is no better than the prior. Error: mean\n\
         distance of the median from the truth over the prior's range. Width: of the 90 %\n\
         interval over the prior's.\n\n\
         Defect class: accuracy {:.1} %, log loss {:.3}. Flagged as out of distribution: {:.1} %\n\
         of these ordinary scans.",
        100.0 * evaluation.classifier.accuracy,
        evaluation.classifier.log_loss,
        100.0 * evaluation.false_alarm_rate
    )
}
