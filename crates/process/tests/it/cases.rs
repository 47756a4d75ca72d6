use microdiff_domain::{Alloy, Process, ProcessParameters, SpotDiameter, VoxelSize};
use microdiff_process::{BitDepth, Case, Nuisance, SimulationRequest};

/// A laser setting, spot 100 µm, at θ = (W, mm/s, µm layer, µm hatch, °C).
pub fn laser(alloy: Alloy, theta: [f64; 5]) -> Case {
    Case {
        process: Process::Lpbf,
        alloy,
        parameters: ProcessParameters::from_array(theta).unwrap(),
        spot: SpotDiameter::micrometres(100.0).unwrap(),
    }
}

/// Ti-6Al-4V at θ = (W, mm/s, µm layer, µm hatch, °C), nominal nuisance, spot 100 µm.
pub fn titanium(theta: [f64; 5], voxel_um: f64, shape: [usize; 3]) -> SimulationRequest {
    SimulationRequest {
        case: laser(Alloy::Ti6Al4V, theta),
        voxel_size: VoxelSize::micrometres(voxel_um).unwrap(),
        shape,
        seed: 7,
        depth: BitDepth::U16,
        nuisance: Nuisance::nominal(Process::Lpbf),
    }
}

pub const DENSE: [f64; 5] = [280.0, 1200.0, 30.0, 140.0, 80.0];
pub const UNFUSED: [f64; 5] = [100.0, 2500.0, 90.0, 200.0, 25.0];
pub const KEYHOLING: [f64; 5] = [350.0, 300.0, 30.0, 140.0, 80.0];
