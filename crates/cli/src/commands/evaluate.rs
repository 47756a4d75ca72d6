//! `microdiff evaluate`: skill and coverage of a model on simulations it has not seen.

use super::designer;
use crate::args::{EvaluateArgs, SimulationSetArgs};
use crate::failure::Failure;
use crate::{output, report};
use microdiff_design::simulate_rows;
use microdiff_diffusion::DiffusionError;
use microdiff_diffusion::evaluate::EvaluateOptions;
use microdiff_diffusion::rows::RowSet;
use microdiff_process::SIMULATOR_VERSION;
use std::io::Write;

pub fn run(args: &EvaluateArgs) -> Result<(), Failure> {
    let designer = designer(args.model.as_deref())?;
    let set = rows(&args.simulated)?;
    let options = EvaluateOptions { samples: args.samples as usize, ..Default::default() };
    let evaluation = designer.evaluate(&set.rows, &options, &mut |done, total| {
        progress("evaluated", done, total);
    })?;
    if args.json {
        output::print_json(&evaluation)
    } else {
        output::print(&report::evaluation::render(&evaluation, &designer.model()))
    }
}

/// Reads the rows if they are kept, else simulates them and keeps them if told where.
pub fn rows(args: &SimulationSetArgs) -> Result<RowSet, Failure> {
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
    let set = simulate_rows(count, args.simulation_seed, &mut |done| {
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
