//! `microdiff design`: scan → posterior, or observation → posterior with a model of a table, or
//! target → settings.

use super::{designer, table_mode, target};
use crate::args::DesignArgs;
use crate::failure::Failure;
use crate::{output, report};
use microdiff_design::{Design, DesignRequest};
use microdiff_domain::{KnownParameters, Parameter, Process};
use std::fmt::Write;

pub fn run(args: &DesignArgs) -> Result<(), Failure> {
    if let Some(observation) = &args.observation {
        return table_mode::design(args, observation);
    }
    if let (Some(target), Some(alloy)) = (&args.search.target, args.alloy) {
        return target::run(args, target, alloy);
    }
    let (Some(scan), Some(alloy)) = (&args.scan, args.alloy) else {
        return Err(Failure::usage("design needs a scan and --alloy"));
    };
    if let Some(directory) = &args.model {
        table_mode::refuse_scan(directory)?;
    }
    let process = args.process.unwrap_or(Process::Lpbf);
    let request = DesignRequest {
        alloy,
        process,
        known: KnownParameters::parse(&args.known, process, alloy).map_err(Failure::usage)?,
        spot: args.spot,
        machine: args.machine,
        voxel_size: args.voxel_size,
        samples: args.samples,
        steps: args.steps,
        seed: args.seed,
    };
    request.check().map_err(Failure::usage)?;
    let designer = designer(args.model.as_deref())?.with_data_files();
    let design = designer.design(scan, &request, &mut ())?;
    if let Some(path) = &args.draws {
        output::write_file(path, csv(&design).as_bytes())?;
    }
    if args.json {
        output::print_json(&design.document)
    } else {
        output::print(&report::design::render(&design))
    }
}

/// One draw a line under the parameters' names with units.
fn csv(design: &Design) -> String {
    let mut text = Parameter::ALL.map(Parameter::key).join(",") + "\n";
    for draw in &design.draws {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{},{},{},{},{}", draw[0], draw[1], draw[2], draw[3], draw[4]);
    }
    text
}
