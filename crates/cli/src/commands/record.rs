//! `microdiff record`: what a running service checks a model against, written beside the model.

use super::evaluate::{progress, rows};
use crate::args::RecordArgs;
use crate::failure::Failure;
use crate::output;
use microdiff_design::{Designer, record_validation};

pub fn run(args: &RecordArgs) -> Result<(), Failure> {
    // Before the simulations, which take minutes.
    super::designer(Some(&args.model))?;
    let simulations = rows(&args.simulated)?;
    let seed = args.simulated.simulation_seed;
    record_validation(&args.model, &simulations, seed, &mut |done, total| {
        progress("scored", done, total);
    })?;
    let designer = Designer::open(&args.model)?;
    let set = designer.validation()?;
    let mut text = format!("{}: {} cases, {}\n", args.model.display(), set.cases(), set.digest());
    for score in set.recorded() {
        let regime = score.regime.map_or("all", |class| class.name()).replace('_', " ");
        text += &format!(
            "{regime:<15} {:>4} scans   skill {:.3}   90 % covers {:.1} %\n",
            score.cases,
            score.skill,
            100.0 * score.coverage_90
        );
    }
    output::print(&text)
}
