//! `microdiff analyze`: scan → pores.

use crate::args::AnalyzeArgs;
use crate::failure::Failure;
use crate::{output, report};
use microdiff_design::DesignError;
use microdiff_imaging::{Analysis, AnalysisOptions, ImagingError, Scan, analyze, io};
use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    sha256: &'a str,
    source_type: &'a str,
    voxel_size_source: &'a str,
    #[serde(flatten)]
    analysis: &'a Analysis,
}

pub fn run(args: &AnalyzeArgs) -> Result<(), Failure> {
    let (scan, analysis) = measure(args).map_err(DesignError::Scan)?;
    let voxel_size_source = scan.voxel_size.as_ref().map_or("", |known| known.text.as_str());
    if args.json {
        output::print_json(&Document {
            schema: "microdiff.analysis/1",
            sha256: &scan.sha256,
            source_type: scan.source_type,
            voxel_size_source,
            analysis: &analysis,
        })
    } else {
        output::print(&report::analysis::render(&analysis, voxel_size_source))
    }
}

fn measure(args: &AnalyzeArgs) -> Result<(Scan, Analysis), ImagingError> {
    let options = io::ReadOptions {
        voxel_size: args.scan.voxel_size,
        data_files: true,
        ..Default::default()
    };
    let scan = io::read_scan(&args.scan.scan, &options)?;
    let voxel_size = scan.require_voxel_size()?;
    let analysis = analyze(&scan, voxel_size, &AnalysisOptions::default(), &mut ())?;
    Ok((scan, analysis))
}
