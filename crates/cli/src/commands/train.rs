//! `microdiff train`: a model from a table; in builds with the feature `train`, from simulated scans.

use super::table_mode;
use crate::args::TrainArgs;
use crate::failure::Failure;

pub fn run(args: &TrainArgs) -> Result<(), Failure> {
    #[cfg(feature = "train")]
    if let Some(simulated) = &args.simulated {
        return super::train_scans::run(args, simulated);
    }
    match &args.table {
        Some(path) => table_mode::train(args, path),
        None => Err(Failure::usage("train needs --table")),
    }
}
