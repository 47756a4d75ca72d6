//! Rows of known parameters and measured descriptors, made by the simulator and measured by the
//! same analysis that real scans go through. Training and evaluation both start here.

use crate::DesignError;
use microdiff_diffusion::rows::{Row, RowSet};
use microdiff_domain::{Alloy, DefectClass, DomainError, Process, VoxelSize};
use microdiff_imaging::{AnalysisOptions, ImagingError, Scan, Voxels, analyze};
use microdiff_process::{BitDepth, Case, SIMULATOR_VERSION, SimulationRequest, prior, simulate};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

/// Voxel edges of simulated scans, µm, log-uniform: so that a scan holds several layers and tracks
/// and resolves the gaps between them.
pub(crate) fn voxel_um(process: Process) -> [f64; 2] {
    match process {
        Process::Lpbf => [2.0, 20.0],
        Process::Ebm => [3.0, 25.0],
        Process::Ded => [10.0, 80.0],
    }
}

/// The process and alloy of row `index`: every pair in turn, those of laser powder bed fusion twice
/// in a round, since they are asked about most and alone have measurements behind them.
pub(crate) fn pair(index: usize) -> (Process, Alloy) {
    let validated = Process::pairs().filter(|(process, _)| process.is_validated());
    let round: Vec<(Process, Alloy)> = Process::pairs().chain(validated).collect();
    round[index % round.len()]
}

/// Voxels along an axis of a simulated scan.
const AXIS: [f64; 2] = [28.0, 168.0];
/// Edge of the cube with as many voxels as a simulated scan, log-uniform.
const CUBE: [f64; 2] = [52.0, 104.0];
/// Rows simulated between two words of progress.
const CHUNK: usize = 256;

/// Simulates `count` scans of the processes and alloys in turn and measures them. Row `i` is the same whatever
/// the count and the number of threads. A scan the analysis cannot use (one that is all pore, say)
/// is drawn again. `progress` hears how many are done.
pub fn simulate_rows(
    count: usize,
    seed: u64,
    progress: &mut dyn FnMut(usize),
) -> Result<RowSet, DesignError> {
    collect_rows(count, progress, |index, attempt| measured(&draw(index, attempt, seed)?))
}

/// Row `index` of [`simulate_rows`] with the scan it was measured on, for whoever learns from voxels.
pub fn simulate_scan(index: usize, seed: u64) -> Result<(Row, Scan), DesignError> {
    first_usable(index, |index, attempt| {
        let drawn = draw(index, attempt, seed)?;
        let Simulated { voxels, class } = scan_of(&drawn)?;
        Ok(scan_row(&drawn.case, class, voxels, drawn.voxel_size))
    })
}

/// Draws what to simulate for a row; each attempt goes on where the last one ended.
fn draw(index: usize, attempt: usize, seed: u64) -> Result<SimulationRequest, DomainError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index as u64);
    let pair = pair(index);
    for _ in 0..attempt {
        request(pair, &mut rng)?;
    }
    request(pair, &mut rng)
}

/// Rows by index and attempt, on all cores.
pub(crate) fn collect_rows(
    count: usize,
    progress: &mut dyn FnMut(usize),
    row: impl Fn(usize, usize) -> Result<Result<Row, ImagingError>, DesignError> + Sync,
) -> Result<RowSet, DesignError> {
    let mut rows = Vec::with_capacity(count);
    while rows.len() < count {
        let next = rows.len()..count.min(rows.len() + CHUNK);
        let chunk: Result<Vec<Row>, DesignError> =
            next.into_par_iter().map(|index| first_usable(index, &row)).collect();
        rows.extend(chunk?);
        progress(rows.len());
    }
    Ok(RowSet { simulator_version: SIMULATOR_VERSION.to_owned(), rows })
}

/// The first attempt that the analysis can use.
fn first_usable<T>(
    index: usize,
    attempted: impl Fn(usize, usize) -> Result<Result<T, ImagingError>, DesignError>,
) -> Result<T, DesignError> {
    let mut refusal = None;
    for attempt in 0..TRIES {
        match attempted(index, attempt)? {
            Ok(made) => return Ok(made),
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.map_or(DesignError::NoRow { index }, DesignError::Scan))
}

/// Tries before a row is given up; none is expected to need more than a few.
const TRIES: usize = 100;

/// Draws a case from the training prior ([`prior::draw_mixed`]) and a scanner to look at it.
pub(crate) fn request(
    (process, alloy): (Process, Alloy),
    rng: &mut ChaCha8Rng,
) -> Result<SimulationRequest, DomainError> {
    let (case, nuisance) = prior::draw_mixed(process, alloy, rng);
    Ok(SimulationRequest {
        case,
        voxel_size: VoxelSize::micrometres(log_uniform(rng, voxel_um(process)))?,
        shape: shape(rng),
        seed: rng.random(),
        depth: if rng.random_bool(0.25) { BitDepth::U8 } else { BitDepth::U16 },
        nuisance,
    })
}

/// A box around a cube of log-uniform size: flat and tall, square and not.
fn shape(rng: &mut impl Rng) -> [usize; 3] {
    let cube = log_uniform(rng, CUBE);
    let (height, breadth) = (log_uniform(rng, [0.45, 1.4]), log_uniform(rng, [0.75, 1.33]));
    let side = cube / height.sqrt();
    [cube * height, side * breadth, side / breadth]
        .map(|axis| axis.clamp(AXIS[0], AXIS[1]).round() as usize)
}

pub(crate) fn log_uniform(rng: &mut impl Rng, [low, high]: [f64; 2]) -> f64 {
    low * (rng.random::<f64>() * (high / low).ln()).exp()
}

/// Simulates and measures; the inner error is the analysis refusing the scan.
fn measured(request: &SimulationRequest) -> Result<Result<Row, ImagingError>, DesignError> {
    let Simulated { voxels, class } = scan_of(request)?;
    Ok(row(&request.case, class, voxels, request.voxel_size))
}

/// Measures a scan with a voxel size that need not be true.
pub(crate) fn row(
    case: &Case,
    class: DefectClass,
    voxels: Voxels,
    announced: VoxelSize,
) -> Result<Row, ImagingError> {
    scan_row(case, class, voxels, announced).map(|(row, _)| row)
}

fn scan_row(
    case: &Case,
    class: DefectClass,
    voxels: Voxels,
    announced: VoxelSize,
) -> Result<(Row, Scan), ImagingError> {
    let scan = Scan::in_memory(voxels, Some(announced));
    let analysis = analyze(&scan, announced, &AnalysisOptions::default(), &mut ())?;
    let row = Row {
        process: case.process,
        alloy: case.alloy,
        spot: Some(case.spot),
        theta: case.parameters.to_array(),
        descriptors: analysis.descriptors,
        appearance: Some(analysis.appearance),
        class,
    };
    Ok((row, scan))
}

/// A simulated scan and its true dominant defect.
pub(crate) struct Simulated {
    pub voxels: Voxels,
    pub class: DefectClass,
}

/// Simulates a request.
pub(crate) fn scan_of(request: &SimulationRequest) -> Result<Simulated, DesignError> {
    let simulation = simulate(request)?;
    let class = simulation.truth.defect_class;
    let voxels = match request.depth {
        BitDepth::U16 => Voxels::U16(simulation.scan),
        BitDepth::U8 => Voxels::U8(simulation.scan_u8()?),
    };
    Ok(Simulated { voxels, class })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_comes_with_the_row_it_gives() {
        let set = simulate_rows(2, 7, &mut |_| {}).unwrap();
        let (row, scan) = simulate_scan(1, 7).unwrap();
        assert_eq!(set.rows[1], row);
        let size = scan.voxel_size.as_ref().unwrap().size;
        let again = analyze(&scan, size, &AnalysisOptions::default(), &mut ()).unwrap();
        assert_eq!(again.descriptors, row.descriptors);
    }
}
