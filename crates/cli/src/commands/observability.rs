//! `microdiff observability`: the monitoring kit that this binary carries, written out, the proof
//! that a kit names only what this binary emits, and the proof that it works in the real systems.

mod verify;

use crate::args::{KitCheckArgs, KitExportArgs, ObservabilityCommand};
use crate::failure::Failure;
use crate::output;
use microdiff_kit::{Catalogue, KitError, Occupied, Report, check, export, files, read};

pub fn run(command: &ObservabilityCommand) -> Result<(), Failure> {
    match command {
        ObservabilityCommand::Export(args) => run_export(args),
        ObservabilityCommand::Check(args) => run_check(args),
        ObservabilityCommand::Verify(args) => verify::run(args),
    }
}

fn run_export(args: &KitExportArgs) -> Result<(), Failure> {
    let occupied = if args.force { Occupied::Overwrite } else { Occupied::Refuse };
    let count = export(&args.directory, occupied).map_err(|error| match error {
        KitError::Occupied { .. } => Failure::usage(format!(
            "{error}; name another directory, or --force to write over the kit's files in it"
        )),
        error => Failure::internal(error),
    })?;
    output::print(&format!("{count} files in {}\n", args.directory.display()))
}

/// Prints what was looked at and a line for each fault; any fault is exit code 1.
fn run_check(args: &KitCheckArgs) -> Result<(), Failure> {
    let kit = match &args.dir {
        Some(directory) => read(directory).map_err(Failure::usage)?,
        None => files(),
    };
    let report = check(&kit, Catalogue::of_service()).map_err(Failure::internal)?;
    if report.alerts == 0 || report.panels == 0 {
        return Err(Failure::usage("no alerts or no dashboards there; give the folder of a kit"));
    }
    output::print(&summary(&report))?;
    match report.findings.len() {
        0 => Ok(()),
        count => {
            Err(Failure::internal(format!("the kit does not fit this binary: faults {count}")))
        }
    }
}

fn summary(report: &Report) -> String {
    let (alerts, recordings, panels) = (report.alerts, report.recordings, report.panels);
    let mut text = format!("alerts {alerts}, recording rules {recordings}, panels {panels}\n");
    for finding in &report.findings {
        text += &format!("{}: {}: {}\n", finding.file, finding.place, finding.fault);
    }
    if report.findings.is_empty() {
        text += "every metric, label and label value in them is in the catalogue\n";
    }
    text
}
