//! `microdiff train --simulations`: simulate, fit, evaluate on simulations of another seed, write the bundle.

use super::evaluate::{kept_rows, progress, rows};
use crate::args::{SimulationSetArgs, TrainArgs};
use crate::failure::Failure;
use crate::output;
use microdiff_design::foreign::simulate_shown;
use microdiff_design::{Designer, record_phantom, record_validation};
use microdiff_diffusion::bundle::TRAINING_LOG;
use microdiff_diffusion::evaluate::{EvaluateOptions, evaluate};
use microdiff_diffusion::training::{LogLine, TrainedBundle, TrainingOptions, train};
use std::path::Path;

/// Draws for each held-out scan of the evaluation.
const EVALUATION_SAMPLES: usize = 512;

pub fn run(args: &TrainArgs, simulated: &SimulationSetArgs) -> Result<(), Failure> {
    let training = rows(simulated)?;
    let held_out = rows(&held_out(args, simulated))?;
    let shown = kept_rows(&shown(args, simulated), &simulate_shown)?;
    let options = TrainingOptions {
        name: args.name.clone(),
        steps: args.steps as usize,
        seed: args.seed,
        ..Default::default()
    };
    let failed = |error| Failure::internal(format!("training failed: {error}"));
    let trained = train(&training, &shown.rows, &options, &mut |line: &LogLine| {
        progress("trained", line.step, options.steps);
    })
    .map_err(failed)?;
    let model = trained.open().map_err(failed)?;
    let options = EvaluateOptions { samples: EVALUATION_SAMPLES, ..Default::default() };
    let evaluation = evaluate(&model, &held_out.rows, &options, &mut |done, total| {
        progress("evaluated", done, total);
    })
    .map_err(failed)?;
    let trained = trained.with_evaluation(evaluation).map_err(failed)?;
    write(&args.output, &trained)?;
    let held_out_seed = simulated.simulation_seed.wrapping_add(1);
    record_validation(&args.output, &held_out, held_out_seed, &mut |done, total| {
        progress("scored", done, total);
    })?;
    let model = Designer::open(&args.output)?.model();
    output::print(&format!("{}: model {}\n", args.output.display(), model.digest))
}

/// The foreign scans to be shown: the same seed, and a row file of their own beside the other.
fn shown(args: &TrainArgs, simulated: &SimulationSetArgs) -> SimulationSetArgs {
    SimulationSetArgs {
        simulations: args.shown,
        rows: simulated.rows.as_ref().map(|path| path.with_extension("shown.rows")),
        ..*simulated
    }
}

/// The evaluation's simulations: the next seed, and a row file of its own beside the other.
fn held_out(args: &TrainArgs, simulated: &SimulationSetArgs) -> SimulationSetArgs {
    SimulationSetArgs {
        simulations: args.held_out,
        simulation_seed: simulated.simulation_seed.wrapping_add(1),
        rows: simulated.rows.as_ref().map(|path| path.with_extension("held-out.rows")),
    }
}

fn write(directory: &Path, trained: &TrainedBundle) -> Result<(), Failure> {
    let failed = |error| Failure::internal(format!("cannot write the bundle: {error}"));
    let log = trained.log_text().map_err(failed)?;
    trained.files.write(directory).map_err(failed)?;
    output::write_file(&directory.join(TRAINING_LOG), log.as_bytes())?;
    Ok(record_phantom(directory)?)
}
