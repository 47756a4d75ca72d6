use microdiff_domain::{Alloy, ProcessParameters, SpotDiameter, VoxelSize};
use microdiff_process::{BitDepth, Nuisance, SimulationRequest};

/// Ti-6Al-4V at θ = (W, mm/s, µm layer, µm hatch, °C), nominal nuisance, spot 100 µm.
pub fn titanium(theta: [f64; 5], voxel_um: f64, shape: [usize; 3]) -> SimulationRequest {
    SimulationRequest {
        alloy: Alloy::Ti6Al4V,
        parameters: ProcessParameters::from_array(theta).unwrap(),
        spot: SpotDiameter::micrometres(100.0).unwrap(),
        voxel_size: VoxelSize::micrometres(voxel_um).unwrap(),
        shape,
        seed: 7,
        depth: BitDepth::U16,
        nuisance: Nuisance::nominal(),
    }
}

pub const DENSE: [f64; 5] = [280.0, 1200.0, 30.0, 140.0, 80.0];
pub const UNFUSED: [f64; 5] = [100.0, 2500.0, 90.0, 200.0, 25.0];
pub const KEYHOLING: [f64; 5] = [350.0, 300.0, 30.0, 140.0, 80.0];
