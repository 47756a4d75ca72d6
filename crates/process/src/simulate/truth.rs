//! A finished part → what is true of it.

use super::{
    Grid, LABEL_BALLING, LABEL_GAS, LABEL_KEYHOLE, LABEL_LACK_OF_FUSION, SIMULATOR_VERSION,
    SimulationRequest,
};
use crate::melt_pool::MeltPool;
use crate::{Case, Nuisance};
use microdiff_domain::{Alloy, DefectClass, Process, ProcessParameters, SpotDiameter, VoxelSize};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Schema name of [`GroundTruth`] as JSON.
const SCHEMA: &str = "microdiff.truth/1";

/// A part is dense when its process-made porosity (everything but gas) is below this fraction.
///
/// 0.1 % is the density floor parts are sold by (datasheets promise more than 99.9 %), a fifth of the
/// replicate scatter of density measurements (0.5 points), and in the smallest training volume
/// (about 52³ voxels) it is 140 voxels, so a couple of voxels never decide the class.
pub const DENSE_BELOW: f64 = 1e-3;

/// Void volume over scanned volume, by cause, counted in labelled voxels.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct DefectShares {
    /// Space no track melted, without the powder in it.
    pub lack_of_fusion: f64,
    /// Keyhole pores.
    pub keyhole: f64,
    /// Gas pores.
    pub gas: f64,
    /// Space left by balling tracks.
    pub balling: f64,
}

impl DefectShares {
    /// All causes together.
    pub fn total(&self) -> f64 {
        self.lack_of_fusion + self.keyhole + self.gas + self.balling
    }

    /// [`DefectClass::Dense`] while everything but gas is below [`DENSE_BELOW`], else the largest
    /// of lack of fusion, keyhole and balling.
    pub fn class(&self) -> DefectClass {
        let causes = [
            (self.lack_of_fusion, DefectClass::LackOfFusion),
            (self.keyhole, DefectClass::Keyhole),
            (self.balling, DefectClass::Balling),
        ];
        if causes.iter().map(|cause| cause.0).sum::<f64>() < DENSE_BELOW {
            return DefectClass::Dense;
        }
        let largest = |best: (f64, DefectClass), next: (f64, DefectClass)| {
            if next.0 > best.0 { next } else { best }
        };
        causes.into_iter().fold((0.0, DefectClass::Dense), largest).1
    }
}

/// How the layers were scanned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScanPattern {
    /// Direction of the tracks of layer 0 from x towards y, degrees.
    pub start_angle_deg: f64,
    /// Turn from layer to layer, degrees.
    pub rotation_deg: f64,
    /// Height of the surface of layer 0 above the bottom of the volume, in layer thicknesses.
    pub layer_phase: f64,
}

/// What is true of a simulated part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroundTruth {
    /// `microdiff.truth/1`.
    pub schema: String,
    /// Version of the simulator that made the part.
    pub simulator: String,
    /// Process.
    pub process: Process,
    /// Alloy.
    pub alloy: Alloy,
    /// Machine setting.
    pub parameters: ProcessParameters,
    /// Spot diameter, µm.
    pub spot_um: SpotDiameter,
    /// Voxel edge, µm.
    pub voxel_size_um: VoxelSize,
    /// Voxels along (z, y, x).
    pub shape: [usize; 3],
    /// Seed.
    pub seed: u64,
    /// Directions and heights of the layers.
    pub pattern: ScanPattern,
    /// Mean melt pool.
    pub melt_pool: MeltPool,
    /// Void voxels over all voxels; the sum of the shares.
    pub porosity: f64,
    /// Volume without metal over scanned volume, with pores smaller than a voxel.
    pub void_fraction: f64,
    /// Void voxels over all voxels, by cause.
    pub defect_shares: DefectShares,
    /// Dominant cause.
    pub defect_class: DefectClass,
    /// Model error, fluctuation and scanner.
    pub nuisance: Nuisance,
}

impl GroundTruth {
    /// The setting the part was made at.
    pub fn case(&self) -> Case {
        let Self { process, alloy, parameters, spot_um, .. } = *self;
        Case { process, alloy, parameters, spot: spot_um }
    }
}

pub(super) fn measure(
    request: &SimulationRequest,
    pool: &MeltPool,
    pattern: ScanPattern,
    grid: &Grid,
) -> GroundTruth {
    let counts = grid
        .labels
        .par_chunks(1 << 16)
        .map(|chunk| {
            let mut counts = [0u64; 5];
            for &label in chunk {
                counts[usize::from(label.min(4))] += 1;
            }
            counts
        })
        .reduce(|| [0; 5], |a, b| std::array::from_fn(|i| a[i] + b[i]));
    let metal: u64 = grid
        .metal
        .par_chunks(1 << 16)
        .map(|chunk| chunk.iter().map(|&m| u64::from(m)).sum::<u64>())
        .sum();
    let voxels = grid.labels.len() as f64;
    let share = |label: u8| counts[usize::from(label)] as f64 / voxels;
    let defect_shares = DefectShares {
        lack_of_fusion: share(LABEL_LACK_OF_FUSION),
        keyhole: share(LABEL_KEYHOLE),
        gas: share(LABEL_GAS),
        balling: share(LABEL_BALLING),
    };
    GroundTruth {
        schema: SCHEMA.to_owned(),
        simulator: SIMULATOR_VERSION.to_owned(),
        process: request.case.process,
        alloy: request.case.alloy,
        parameters: request.case.parameters,
        spot_um: request.case.spot,
        voxel_size_um: request.voxel_size,
        shape: request.shape,
        seed: request.seed,
        pattern,
        melt_pool: *pool,
        porosity: defect_shares.total(),
        void_fraction: 1.0 - metal as f64 / (255.0 * voxels),
        defect_shares,
        defect_class: defect_shares.class(),
        nuisance: request.nuisance.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gas_alone_is_dense_and_the_largest_process_cause_names_the_class() {
        let gas = DefectShares { gas: 0.01, ..DefectShares::default() };
        assert_eq!(gas.class(), DefectClass::Dense);
        let mixed = DefectShares { lack_of_fusion: 6e-4, keyhole: 7e-4, ..gas };
        assert_eq!(mixed.class(), DefectClass::Keyhole);
        let balled = DefectShares { balling: 0.1, lack_of_fusion: 0.05, ..gas };
        assert_eq!(balled.class(), DefectClass::Balling);
    }
}
