//! `microdiff simulate`: a virtual part under a virtual scanner, with its ground truth beside it.

use crate::args::SimulateArgs;
use crate::failure::Failure;
use crate::output;
use microdiff_domain::{BedTemperature, DomainError, ProcessParameters, SpotDiameter};
use microdiff_imaging::io;
use microdiff_process::{BitDepth, Case, Nuisance, Simulation, SimulationRequest, simulate};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::path::Path;

pub fn run(args: &SimulateArgs) -> Result<(), Failure> {
    let case = case(args).map_err(Failure::usage)?;
    let nuisance = if args.nominal {
        Nuisance::nominal(case.process)
    } else {
        Nuisance::draw(case.process, case.alloy, &mut ChaCha8Rng::seed_from_u64(args.seed))
    };
    let request = SimulationRequest {
        case,
        voxel_size: args.voxel_size,
        shape: args.shape,
        seed: args.seed,
        depth: if args.depth == "8" { BitDepth::U8 } else { BitDepth::U16 },
        nuisance,
    };
    check_place(&args.output)?;
    let simulation = simulate(&request).map_err(Failure::usage)?;
    write(&args.output, &request, &simulation)?;
    let truth = &simulation.truth;
    output::print(&format!(
        "{}: {} porosity {:.3} % ({} with seed {}{})\n",
        args.output.display(),
        truth.defect_class.name().replace('_', " "),
        100.0 * truth.porosity,
        truth.simulator,
        truth.seed,
        if truth.process.is_validated() { "" } else { ", unvalidated" }
    ))
}

/// The setting, with the usual spot and bed where none is given.
fn case(args: &SimulateArgs) -> Result<Case, DomainError> {
    args.process.check(args.alloy)?;
    let [spot_um, bed_c] = args.process.usual_spot_um_and_bed_c(args.alloy);
    let bed = args.bed_temperature.map_or_else(|| BedTemperature::celsius(bed_c), Ok)?;
    Ok(Case {
        process: args.process,
        alloy: args.alloy,
        parameters: ProcessParameters {
            laser_power: args.power,
            scan_speed: args.speed,
            layer_thickness: args.layer,
            hatch_spacing: args.hatch,
            bed_temperature: bed,
        },
        spot: args.spot.map_or_else(|| SpotDiameter::micrometres(spot_um), Ok)?,
    })
}

/// Refuses a place that cannot take the three files before any is written.
fn check_place(output: &Path) -> Result<(), Failure> {
    let refuse =
        |reason: &str| Err(Failure::usage(format!("cannot write {}: {reason}", output.display())));
    if output.exists() && !output.is_file() {
        return refuse("it is there and is not a file");
    }
    let extension = output.extension().map(|extension| extension.to_ascii_lowercase());
    if !extension.is_some_and(|extension| extension == "tif" || extension == "tiff") {
        return refuse("it ends in neither .tif nor .tiff");
    }
    match output.parent() {
        _ if output.file_name().is_none() => refuse("it is not the name of a file"),
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            refuse("its directory does not exist")
        }
        _ => Ok(()),
    }
}

/// Writes the three files or none. The scan comes last: whoever finds it finds its truth too.
fn write(
    output: &Path,
    request: &SimulationRequest,
    simulation: &Simulation,
) -> Result<(), Failure> {
    let labels = output.with_extension("labels.tif");
    let truth = output.with_extension("truth.json");
    let json = output::json(&simulation.truth)? + "\n";
    io::write_tiff_u8(&labels, &simulation.labels, Some(request.voxel_size))
        .map_err(Failure::internal)?;
    output::write_file(&truth, json.as_bytes())
        .and_then(|()| write_scan(output, request, simulation))
        .inspect_err(|_| {
            // Truth without its scan is of no use; what cannot be removed was not written.
            let _ = std::fs::remove_file(&labels);
            let _ = std::fs::remove_file(&truth);
        })
}

fn write_scan(
    output: &Path,
    request: &SimulationRequest,
    simulation: &Simulation,
) -> Result<(), Failure> {
    match request.depth {
        BitDepth::U16 => io::write_tiff_u16(output, &simulation.scan, Some(request.voxel_size)),
        BitDepth::U8 => {
            let narrow = simulation.scan_u8().map_err(Failure::internal)?;
            io::write_tiff_u8(output, &narrow, Some(request.voxel_size))
        }
    }
    .map_err(Failure::internal)
}
