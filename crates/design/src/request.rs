use microdiff_domain::{
    Alloy, DomainError, KnownParameters, Machine, Process, SpotDiameter, VoxelSize,
};
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
    /// Machine, if known; every draw then lies within its limits.
    pub machine: Option<Machine>,
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
            machine: None,
            voxel_size: None,
            samples: Self::DEFAULT_SAMPLES,
            steps: Self::DEFAULT_STEPS,
            seed: 0,
        }
    }

    /// Refuses an alloy the process does not print, a spot outside its prior, and a machine of
    /// another process or one that cannot be set to what is known.
    ///
    /// # Errors
    /// Saying what would have been accepted.
    pub fn check(&self) -> Result<(), DomainError> {
        self.process.check(self.alloy)?;
        let Self { process, known, spot, .. } = self;
        spot.map_or(Ok(()), |spot| process.check_spot(spot))?;
        self.machine.map_or(Ok(()), |machine| machine.check(*process, known, *spot))
    }

    /// Where the spot diameter may lie, µm: as given, else in the machine's range, else in the
    /// process's prior.
    pub(crate) fn spots(&self) -> [f64; 2] {
        let [low, high] = self.process.spot_um();
        match (self.spot, self.machine) {
            (Some(spot), _) => [spot.get(); 2],
            (None, None) => [low, high],
            (None, Some(machine)) => machine.limits().spot_range().map(|um| um.clamp(low, high)),
        }
    }
}
