//! `microdiff evaluate`: skill and calibration of a model on simulations it has not seen, and the model
//! beside what else could be done with the simulations it was trained on.

mod export;

use super::designer;
use crate::args::{EvaluateArgs, SimulationSetArgs};
use crate::failure::Failure;
use crate::{output, page, report};
use microdiff_design::{DesignError, Designer, simulate_rows};
use microdiff_diffusion::DiffusionError;
use microdiff_diffusion::evaluate::{Comparison, EvaluateOptions, Evaluation};
use microdiff_diffusion::rows::RowSet;
use microdiff_process::SIMULATOR_VERSION;
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    evaluation: Evaluation,
    /// With `--against`.
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Comparison>,
}

pub fn run(args: &EvaluateArgs) -> Result<(), Failure> {
    let designer = designer(args.model.as_deref())?;
    let set = rows(&args.simulated)?;
    if let Some(count) = args.foreign {
        return foreign(args, count as usize, &designer, &set);
    }
    let options = EvaluateOptions { samples: args.samples as usize, ..Default::default() };
    let comparison = match &args.against {
        Some(path) => Some(against(&designer, &set, path, &options, args.export.as_deref())?),
        None => None,
    };
    let evaluation = designer.evaluate(&set.rows, &options, &mut |done, total| {
        progress("evaluated", done, total);
    })?;
    let mut text = report::evaluation::render(&evaluation, &designer.model());
    if let Some(comparison) = &comparison {
        text += &report::evaluation::render_comparison(comparison);
    }
    show(args, "evaluate", &text, &Report { evaluation, comparison })
}

/// Puts the text into its section of a page, prints the document, or else prints the text.
fn show(
    args: &EvaluateArgs,
    command: &str,
    text: &str,
    document: &impl Serialize,
) -> Result<(), Failure> {
    if let Some(path) = &args.page {
        page::replace(path, command, text)?;
    }
    match (args.json, &args.page) {
        (true, _) => output::print_json(document),
        (false, None) => output::print(text),
        (false, Some(_)) => Ok(()),
    }
}

fn against(
    designer: &Designer,
    held_out: &RowSet,
    path: &Path,
    options: &EvaluateOptions,
    directory: Option<&Path>,
) -> Result<Comparison, Failure> {
    let training = RowSet::read(path).map_err(Failure::data)?;
    if let Some(directory) = directory {
        export::write(designer, directory, &training, held_out)?;
    }
    let mut told = |done, total| progress("compared", done, total);
    Ok(designer.compare(&held_out.rows, &training.rows, options, &mut told)?)
}

/// Tries the out-of-distribution check. The foreign scans have the seed of the simulations.
fn foreign(
    args: &EvaluateArgs,
    count: usize,
    designer: &Designer,
    set: &RowSet,
) -> Result<(), Failure> {
    let drawn = (count, args.simulated.simulation_seed);
    let trial = designer.try_foreign(&set.rows, drawn, &mut |done, total| {
        progress("tried kind", done, total);
    })?;
    let text = report::evaluation::render_foreign(&trial, &designer.model());
    show(args, "evaluate --foreign", &text, &trial)
}

/// Reads the rows if they are kept, else simulates them and keeps them if told where.
pub fn rows(args: &SimulationSetArgs) -> Result<RowSet, Failure> {
    kept_rows(args, &simulate_rows)
}

/// Simulates so many rows from a seed; hears how many are done.
pub type SimulateRows = dyn Fn(usize, u64, &mut dyn FnMut(usize)) -> Result<RowSet, DesignError>;

/// The same of rows made by `simulate`.
pub fn kept_rows(args: &SimulationSetArgs, simulate: &SimulateRows) -> Result<RowSet, Failure> {
    let count = args.simulations as usize;
    if let Some(path) = args.rows.as_deref().filter(|path| path.exists()) {
        let set = RowSet::read(path).map_err(Failure::data)?;
        if set.rows.len() != count || set.simulator_version != SIMULATOR_VERSION {
            return Err(Failure::data(format!(
                "{} holds {} rows of simulator {}, not {count} of {SIMULATOR_VERSION}",
                path.display(),
                set.rows.len(),
                set.simulator_version
            )));
        }
        return Ok(set);
    }
    let set = simulate(count, args.simulation_seed, &mut |done| {
        progress("simulated", done, count);
    })?;
    if let Some(path) = &args.rows {
        let bytes = set.to_bytes().map_err(|error: DiffusionError| Failure::internal(error))?;
        output::write_file(path, &bytes)?;
    }
    Ok(set)
}

/// Progress is for a person watching: it goes to stderr and its loss is no error.
pub fn progress(what: &str, done: usize, total: usize) {
    let _ = writeln!(std::io::stderr(), "{what} {done} of {total}");
}
