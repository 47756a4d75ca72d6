use microdiff_domain::{Alloy, KnownParameters, Process, SpotDiameter, VoxelSize};
use std::ops::RangeInclusive;

/// What is asked of a scan, beside the scan itself.
#[derive(Debug, Clone, PartialEq)]
pub struct DesignRequest {
    /// Alloy of the part.
    pub alloy: Alloy,
    /// Process that printed it.
    pub process: Process,
    /// Parameters that are known, within the prior of `process` and `alloy`.
    pub known: KnownParameters,
    /// Spot diameter, if known.
    pub spot: Option<SpotDiameter>,
    /// Voxel size, if the file does not say or says it wrongly.
    pub voxel_size: Option<VoxelSize>,
    /// Number of posterior draws, within [`DesignRequest::SAMPLES`].
    pub samples: usize,
    /// Number of sampler steps, within [`DesignRequest::STEPS`].
    pub steps: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl DesignRequest {
    /// Default number of draws.
    pub const DEFAULT_SAMPLES: usize = 4096;
    /// Default number of sampler steps.
    pub const DEFAULT_STEPS: usize = 32;
    /// Draws that may be asked for; the command line and the server refuse others.
    pub const SAMPLES: RangeInclusive<usize> = 16..=100_000;
    /// Sampler steps that may be asked for; the command line and the server refuse others.
    pub const STEPS: RangeInclusive<usize> = 8..=512;

    /// Asks of laser powder bed fusion with nothing known but the alloy.
    pub fn new(alloy: Alloy) -> Self {
        Self {
            alloy,
            process: Process::Lpbf,
            known: KnownParameters::NONE,
            spot: None,
            voxel_size: None,
            samples: Self::DEFAULT_SAMPLES,
            steps: Self::DEFAULT_STEPS,
            seed: 0,
        }
    }
}
