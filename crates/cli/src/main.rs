//! The `microdiff` binary. Boot story: read the arguments, run one command, tell the outcome by
//! exit code: 0 done, 1 internal failure, 2 wrong usage, 3 unusable data.

mod args;
mod commands;
mod csv_table;
mod failure;
mod form;
mod http;
mod output;
mod page;
mod plot;
mod report;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match args::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::misread(&error),
    };
    let outcome = match arguments.command {
        args::Command::Design(args) => commands::design::run(&args),
        args::Command::Predict(args) => commands::predict::run(&args),
        args::Command::Map(args) => commands::map::run(&args),
        args::Command::Analyze(args) => commands::analyze::run(&args),
        args::Command::Simulate(args) => commands::simulate::run(&args),
        args::Command::Evaluate(args) => commands::evaluate::run(&args),
        args::Command::ValidatePhysics(args) => commands::validate_physics::run(&args),
        args::Command::Record(args) => commands::record::run(&args),
        args::Command::Train(args) => commands::train::run(&args),
        args::Command::Models(args) => commands::models::run(&args.command),
        args::Command::Replay(args) => commands::replay::run(&args),
        args::Command::Audit(args) => commands::audit::run(&args.command),
        args::Command::Observability(args) => commands::observability::run(&args.command),
        args::Command::Drill(args) => commands::drill::run(&args),
        args::Command::Healthcheck(args) => commands::healthcheck::run(&args),
        args::Command::Serve(args) => commands::serve::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
