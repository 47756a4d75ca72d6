//! The simulated scanner by the yardstick that real scans are measured with.

use crate::DesignError;
use microdiff_domain::{Alloy, Process, ProcessParameters, SpotDiameter, VoxelSize};
use microdiff_imaging::measure::{ScannerStatistics, scanner_statistics};
use microdiff_process::{BitDepth, Case, Nuisance, SimulationRequest, simulate};

/// Measures a simulated scan by the nominal scanner, of a part like the cobalt-chrome one of Kim 2017
/// (NIST) whose scan the scanner is modelled on: 195 W, 1600 mm/s, layers of 20 µm, voxels of 2.4
/// µm; spot and alloy (316L) are assumed, and the hatch is wider than the 100 µm of that part, so
/// that the simulated part too has pores wide enough to have a core.
pub fn nominal_scanner() -> Result<ScannerStatistics, DesignError> {
    let request = SimulationRequest {
        case: Case {
            process: Process::Lpbf,
            alloy: Alloy::Ss316L,
            parameters: ProcessParameters::from_array([195.0, 1600.0, 20.0, 130.0, 80.0])?,
            spot: SpotDiameter::micrometres(100.0)?,
        },
        voxel_size: VoxelSize::micrometres(2.4)?,
        shape: [50, 192, 192],
        seed: 1,
        depth: BitDepth::U16,
        nuisance: Nuisance::nominal(Process::Lpbf),
    };
    let scan = simulate(&request)?.scan;
    Ok(scanner_statistics(scan.data(), scan.shape())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same statistics of a crop of that part's scan (192 x 192 x 50 voxels of 2.4 µm), as the
    /// example `scanner` prints them: what `docs/validation.md` shows beside the simulated ones.
    const REAL: ScannerStatistics = ScannerStatistics {
        noise: 0.0310,
        in_plane: [0.655, 0.199],
        along_z: [0.739, 0.333, 0.114],
        pore_core: Some(0.630),
        edge_width: Some(5.72),
        fall_off: -0.009,
        standing: 0.0010,
    };

    #[test]
    fn noise_blur_and_grey_levels_are_within_a_fifth_of_the_real_scan() {
        let found = nominal_scanner().unwrap();
        let close = |name, found: f64, real: f64| {
            assert!((found / real - 1.0).abs() < 0.2, "{name}: {found} for {real}");
        };
        close("noise", found.noise, REAL.noise);
        for (lag, (found, real)) in found.in_plane.iter().zip(REAL.in_plane).enumerate() {
            close(["1 voxel", "2 voxels"][lag], *found, real);
        }
        for (lag, (found, real)) in found.along_z.iter().zip(REAL.along_z).enumerate() {
            close(["1 slice", "2 slices", "3 slices"][lag], *found, real);
        }
        close("pore core", found.pore_core.unwrap(), REAL.pore_core.unwrap());
        close("edge", found.edge_width.unwrap(), REAL.edge_width.unwrap());
    }
}
