//! A request → a scan, its labels and its truth: the virtual build and the virtual CT.
//!
//! Layers of parallel tracks melt columns of voxels; what stays unmelted is filled with loose
//! powder; keyhole and gas pores are set into the metal; a scanner blurs, shades and adds noise.
//! The build direction is axis 0, upwards. Contour tracks, supports, part edges and the turning
//! points of the laser are absent on purpose: the volume is a crop from inside a part.

mod ct;
mod melt;
mod pores;
mod powder;
mod tracks;
mod truth;

use crate::melt_pool::forward;
use crate::predict::{Condition, Setting};
use crate::random::{Stream, stream, uniform};
use crate::{Case, Nuisance, ProcessError};
use microdiff_domain::{Process, Volume, VoxelSize};
use serde::{Deserialize, Serialize};
use tracks::Build;
pub use truth::{DENSE_BELOW, DefectShares, GroundTruth, ScanPattern};

/// Version of the physics and of the random streams; it changes whenever the bytes do.
pub const SIMULATOR_VERSION: &str = "fusion-2";

/// Largest number of voxels of one simulation. At 4 bytes a voxel for the volumes kept this is
/// 4 GiB.
pub const MAX_VOXELS: usize = 1 << 30;

/// Accepted voxel edges, µm. Above 25 µm neither powder nor layers of a powder bed are resolved and
/// the number of powder grains per voxel has no useful bound; directed energy has thick layers and
/// no powder.
pub fn voxel_size_um(process: Process) -> [f64; 2] {
    match process {
        Process::Lpbf | Process::Ebm => [0.5, 25.0],
        Process::Ded => [0.5, 100.0],
    }
}

/// Label of metal, and of powder inside a void.
pub const LABEL_METAL: u8 = 0;
/// Label of space that no track melted.
pub const LABEL_LACK_OF_FUSION: u8 = 1;
/// Label of a keyhole pore.
pub const LABEL_KEYHOLE: u8 = 2;
/// Label of a gas pore.
pub const LABEL_GAS: u8 = 3;
/// Label of space that would have been melted had the tracks not balled.
pub const LABEL_BALLING: u8 = 4;

/// Slices worked on together. Fixed, so that nothing depends on the number of threads.
const SLAB: usize = 32;

/// Grey values of the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BitDepth {
    /// 0 to 255.
    U8,
    /// 0 to 65535.
    U16,
}

/// Everything a simulation depends on.
#[derive(Debug, Clone)]
pub struct SimulationRequest {
    /// Process, alloy, machine setting and spot.
    pub case: Case,
    /// Voxel edge, within [`voxel_size_um`].
    pub voxel_size: VoxelSize,
    /// Voxels along (z, y, x); at most [`MAX_VOXELS`] in all.
    pub shape: [usize; 3],
    /// Seed of every random stream.
    pub seed: u64,
    /// Grey values of the scan.
    pub depth: BitDepth,
    /// Model error, fluctuation and scanner.
    pub nuisance: Nuisance,
}

/// A virtual part under a virtual scanner.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// Reconstructed grey values; at 8 bits within 0 to 255.
    pub scan: Volume<u16>,
    /// Cause of each void voxel: 0 metal, 1 lack of fusion, 2 keyhole, 3 gas, 4 balling. Powder
    /// inside a void is metal. A voxel is void when less than half of it is metal.
    pub labels: Volume<u8>,
    /// What is true of the part.
    pub truth: GroundTruth,
}

impl Simulation {
    /// The scan in 8 bit; what was quantised to more is held at 255.
    pub fn scan_u8(&self) -> Result<Volume<u8>, ProcessError> {
        in_u8(&self.scan)
    }
}

/// A scan in 8 bit; what was quantised to more is held at 255.
pub fn in_u8(scan: &Volume<u16>) -> Result<Volume<u8>, ProcessError> {
    let grey = scan.data().iter().map(|&grey| grey.min(255) as u8).collect();
    Ok(Volume::new(scan.shape(), grey)?)
}

/// Builds and scans a part.
///
/// # Errors
/// [`ProcessError::Shape`] and [`ProcessError::VoxelSize`] for a volume that cannot be simulated,
/// [`ProcessError::Domain`] for an alloy the process has no model of, [`ProcessError::Setting`] for
/// a setting none of its machines is run at,
/// [`ProcessError::Nuisance`] for a nuisance value outside what the model can represent.
pub fn simulate(request: &SimulationRequest) -> Result<Simulation, ProcessError> {
    check(request)?;
    let nuisance = &request.nuisance;
    let pool = forward(&request.case, nuisance);
    let pattern = draw_pattern(request.seed);
    let build = Build::new(request, &pool, &pattern);

    let mut grid = melt::melt(&build);
    powder::fill(&mut grid, &build);
    let mut pores = std::mem::take(&mut grid.pores);
    pores.extend(pores::gas(&build));
    pores::carve(&mut grid, &build, &pores);
    drop(pores);

    let scan = ct::scan(&grid.metal, request);
    let truth = truth::measure(request, &pool, pattern, &grid);
    Ok(Simulation {
        scan: Volume::new(request.shape, scan)?,
        labels: Volume::new(request.shape, grid.labels)?,
        truth,
    })
}

/// Scans a body that nobody printed, given by the metal in 255ths of each voxel, as the request
/// would have its part scanned.
///
/// # Errors
/// As [`simulate`]; [`ProcessError::Domain`] when the metal is not of the request's shape.
pub fn scan_body(metal: Vec<u8>, request: &SimulationRequest) -> Result<Volume<u16>, ProcessError> {
    check(request)?;
    let metal = Volume::new(request.shape, metal)?;
    Ok(Volume::new(request.shape, ct::scan(metal.data(), request))?)
}

/// The part on its voxels: metal in 255ths of a voxel, the cause of each void, and pores that are
/// still to be carved.
struct Grid {
    metal: Vec<u8>,
    labels: Vec<u8>,
    pores: Vec<pores::Pore>,
}

fn check(request: &SimulationRequest) -> Result<(), ProcessError> {
    let voxels = request.shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    if !voxels.is_some_and(|voxels| (1..=MAX_VOXELS).contains(&voxels)) {
        return Err(ProcessError::Shape { shape: request.shape, limit: MAX_VOXELS });
    }
    let [low, high] = voxel_size_um(request.case.process);
    let value = request.voxel_size.get();
    if !(low..=high).contains(&value) {
        return Err(ProcessError::VoxelSize { value, low, high });
    }
    let case = &request.case;
    let [power, speed, layer, hatch, bed] = case.parameters.to_array();
    let setting = Setting {
        power_w: Some(power),
        speed_mm_s: Some(speed),
        spot_um: Some(case.spot.get()),
        layer_um: Some(layer),
        hatch_um: Some(hatch),
        bed_c: Some(bed),
    };
    case.process.check(case.alloy)?;
    // The units bound every process at once; each accepts less.
    Condition::new(case.alloy, case.process, &setting)?;
    request.nuisance.check()
}

fn draw_pattern(seed: u64) -> ScanPattern {
    let rng = &mut stream(seed, Stream::Pattern, 0);
    ScanPattern {
        start_angle_deg: uniform(rng, 0.0, 360.0),
        rotation_deg: 67.0,
        layer_phase: uniform(rng, 0.0, 1.0),
    }
}
