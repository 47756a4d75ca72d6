//! `microdiff design`: scan → posterior.

use super::designer;
use crate::args::DesignArgs;
use crate::failure::Failure;
use crate::{output, report};
use microdiff_design::{Design, DesignRequest};
use microdiff_domain::{KnownParameters, Parameter};
use std::fmt::Write;

pub fn run(args: &DesignArgs) -> Result<(), Failure> {
    let request = DesignRequest {
        alloy: args.alloy,
        process: args.process,
        known: KnownParameters::parse(&args.known, args.alloy).map_err(Failure::usage)?,
        spot: args.spot,
        voxel_size: args.scan.voxel_size,
        samples: args.samples,
        steps: args.steps,
        seed: args.seed,
    };
    let design = designer(args.model.as_deref())?.design(&args.scan.scan, &request, &mut ())?;
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
